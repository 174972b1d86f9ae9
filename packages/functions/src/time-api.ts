// The HTTP side of time: compaction, prune and pins of one database, by hand. Answers that may take hours come as late-answer.ts gives them.

import { type DatabaseName, formatTxId, parseDuration, type RestoreTarget } from "@pageferry/format";
import type { Context, Hono } from "hono";
import { answerInTheEnd } from "./late-answer.ts";
import type { PinnedPoint, PinReport } from "./pins.ts";
import type { PruneReport } from "./prune.ts";
import type { CallOptions } from "./store.ts";
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

/** What the rest of the API knows of a request. */
interface Parsed {
  /** The database in the path; throws `not-found` for one that is not backed up here. */
  readonly known: (context: Context) => Promise<DatabaseName>;
  readonly targetOf: (context: Context) => RestoreTarget;
}

export function addTimeRoutes(app: Hono, options: TimeApiOptions, { known, targetOf }: Parsed): void {
  app.post("/v1/databases/:database/compact", async (context) => {
    const { replica, dryRun } = context.req.query();
    const { signal } = context.req.raw;
    const request = { replica, dryRun: dryRun === "true", signal };
    return answerInTheEnd(options.compact(await known(context), request), signal);
  });
  app.post("/v1/databases/:database/prune", async (context) => {
    const { replica, confirm, grace } = context.req.query();
    const { signal } = context.req.raw;
    const graceMs = grace === undefined ? undefined : parseDuration(grace);
    const request = { replica, dryRun: confirm !== "true", graceMs, signal };
    return answerInTheEnd(options.prune(await known(context), request).then(pruneJson), signal);
  });
  app.get("/v1/databases/:database/pins", async (context) => {
    const pins = await options.pins.list(await known(context), { signal: context.req.raw.signal });
    return context.json({ pins: pins.map(pinJson) });
  });
  app.post("/v1/databases/:database/pins", async (context) => {
    const { note } = context.req.query();
    const { signal } = context.req.raw;
    const call = { signal, ...(note === undefined ? {} : { note }) };
    return context.json(pinJson(await options.pins.add(await known(context), targetOf(context), call)), 201);
  });
  app.delete("/v1/databases/:database/pins", async (context) => {
    const { signal } = context.req.raw;
    return context.json(
      pinJson(await options.pins.remove(await known(context), targetOf(context), { signal })),
    );
  });
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
