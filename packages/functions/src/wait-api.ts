// The HTTP side of waiting: `GET …/wait` answers when so many replicas can restore a transaction, or that they cannot yet.

import type { DatabaseName } from "@pageferry/format";
import type { Context, Hono } from "hono";
import { keepLineFor } from "./access.ts";
import { parsedQuery } from "./query.ts";
import type { WaitFor } from "./wait.ts";
import { waitQuerySchema } from "./wait-schema.ts";

export interface WaitApiOptions {
  readonly waitFor: WaitFor;
  /** Ends with the host. */
  readonly closing: AbortSignal;
}

/** What the rest of the API knows of a request. */
interface Parsed {
  /** The database in the path; throws `not-found` for one that is not backed up here. */
  readonly known: (context: Context) => Promise<DatabaseName>;
}

export function addWaitRoutes(app: Hono, { waitFor, closing }: WaitApiOptions, { known }: Parsed): void {
  app.get("/v1/databases/:database/wait", async (context) => {
    const { txid, timeout: timeoutMs, ...query } = parsedQuery(waitQuerySchema, context);
    keepLineFor(context, timeoutMs);
    const signal = AbortSignal.any([context.req.raw.signal, closing]);
    const request = { ...query, txId: txid, timeoutMs, signal };
    const state = await waitFor(await known(context), request);
    return context.json(state, 200, { "cache-control": "no-store" });
  });
}
