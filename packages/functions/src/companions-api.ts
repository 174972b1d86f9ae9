// The HTTP side of companion files: their list. The versions themselves are objects as all others: docs/operations.md#companion-files.

import { formatTxId } from "@pageferry/format";
import type { Hono } from "hono";
import { companionsRoute } from "./companions-schema.ts";
import type { ArchiveParsed } from "./manifest-api.ts";
import { formatTime } from "./replica-state.ts";
import { addRoute } from "./serve-route.ts";

export function addCompanionRoutes(app: Hono, { placeOf, archive }: ArchiveParsed): void {
  addRoute(app, companionsRoute, async ({ context, query, signal }) => {
    const versions = await archive.companionVersions(await placeOf(context, query.replica), { signal });
    return {
      versions: versions.map(({ name, generation, txId, stampMs, size }) => {
        return { name, generation, txid: formatTxId(txId), time: formatTime(stampMs), bytes: size };
      }),
    };
  });
}
