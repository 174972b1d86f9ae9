// The HTTP side of time: compaction, prune and pins of one database, by hand. Answers that may take hours come as late-answer.ts gives them.

import { type DatabaseName, formatTxId, type RestoreTarget } from "@pageferry/format";
import type { Hono } from "hono";
import type { Parsed } from "./parsed.ts";
import type { PinnedPoint, PinReport } from "./pins.ts";
import type { PruneReport } from "./prune.ts";
import { targetOf } from "./route.ts";
import { addRoute } from "./serve-route.ts";
import type { CallOptions } from "./store.ts";
import { compactRoute, pinRoute, pinsRoute, pruneRoute, unpinRoute } from "./time-schema.ts";
import type { CompactRow, PruneRequest, TimeReport, TimeRequest } from "./timekeeper.ts";

export interface TimeApiOptions {
  readonly compact: (database: DatabaseName, request: TimeRequest) => Promise<TimeReport<CompactRow>>;
  readonly prune: (database: DatabaseName, request: PruneRequest) => Promise<TimeReport<PruneReport>>;
  readonly pins: {
    list(database: DatabaseName, call: CallOptions): Promise<readonly PinnedPoint[]>;
    add(
      database: DatabaseName,
      target: RestoreTarget,
      call: CallOptions & { readonly note?: string },
    ): Promise<PinReport>;
    remove(database: DatabaseName, target: RestoreTarget, call: CallOptions): Promise<PinReport>;
  };
}

export function addTimeRoutes(app: Hono, options: TimeApiOptions, { known }: Parsed): void {
  addRoute(app, compactRoute, async ({ context, query, signal }) => {
    const database = await known(context);
    return { inTheEnd: options.compact(database, { ...query, signal }) };
  });
  addRoute(app, pruneRoute, async ({ context, query: { replica, confirm, grace }, signal }) => {
    const database = await known(context);
    const request = { replica, dryRun: !confirm, graceMs: grace, signal };
    return { inTheEnd: options.prune(database, request).then(pruneJson) };
  });
  addRoute(app, pinsRoute, async ({ context, signal }) => {
    const pins = await options.pins.list(await known(context), { signal });
    return { pins: pins.map(pinJson) };
  });
  addRoute(app, pinRoute, async ({ context, query, signal }) => {
    const { note } = query;
    const call = { signal, ...(note === undefined ? {} : { note }) };
    return pinJson(await options.pins.add(await known(context), targetOf(query), call));
  });
  addRoute(app, unpinRoute, async ({ context, query, signal }) =>
    pinJson(await options.pins.remove(await known(context), targetOf(query), { signal })),
  );
}

/** Transaction ids as the rest of the API writes them. */
function pinJson<Point extends { readonly txId: PinReport["txId"] }>({ txId, ...rest }: Point) {
  return { ...rest, txid: formatTxId(txId) };
}

/** A report for JSON, which knows no bigint. */
function pruneJson(report: TimeReport<PruneReport>) {
  const replicas = report.replicas.map((row) => ({
    ...row,
    kept: row.kept.map(({ txId, ...point }) => ({ ...point, txid: formatTxId(txId) })),
  }));
  return { ...report, replicas };
}
