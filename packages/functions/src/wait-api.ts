// The HTTP side of waiting: `GET …/wait` answers when so many replicas can restore a transaction, or that they cannot yet.

import { type DatabaseName, PageferryError } from "@pageferry/format";
import type { Context, Hono } from "hono";
import type { z } from "zod";
import { keepLineFor } from "./access.ts";
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

/** The query as a schema reads it. Errors: `bad-request`, which names what does not parse. */
export function parsedQuery<Schema extends z.ZodType>(schema: Schema, { req }: Context): z.infer<Schema> {
  const { data, error } = schema.safeParse(req.query());
  if (error === undefined) return data as z.infer<Schema>;
  const [first] = error.issues;
  throw new PageferryError("bad-request", `${first?.path.join(".") ?? "query"}: ${first?.message ?? ""}`);
}
