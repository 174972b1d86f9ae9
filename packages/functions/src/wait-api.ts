// The HTTP side of waiting: `GET …/wait` answers when so many replicas can restore a transaction, or that they cannot yet.

import type { Hono } from "hono";
import { keepLineFor } from "./access.ts";
import type { Parsed } from "./parsed.ts";
import { addRoute } from "./serve-route.ts";
import type { WaitFor } from "./wait.ts";
import { waitRoute } from "./wait-schema.ts";

export interface WaitApiOptions {
  readonly waitFor: WaitFor;
  /** Ends with the host. */
  readonly closing: AbortSignal;
}

export function addWaitRoutes(
  app: Hono,
  { waitFor, closing }: WaitApiOptions,
  { known }: Pick<Parsed, "known">,
): void {
  addRoute(app, waitRoute, async ({ context, query, signal: hungUp }) => {
    const { txid, timeout: timeoutMs, listedWithin: listedWithinMs, ...more } = query;
    keepLineFor(context, timeoutMs);
    const signal = AbortSignal.any([hungUp, closing]);
    const state = await waitFor(await known(context), {
      ...more,
      listedWithinMs,
      txId: txid,
      timeoutMs,
      signal,
    });
    return context.json(state, 200, { "cache-control": "no-store" });
  });
}
