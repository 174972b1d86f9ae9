// The HTTP side of the host itself: whether it is well, and what it is measured by.

import type { DatabaseName } from "@pageferry/format";
import type { Hono } from "hono";
import { healthRoute, metricsRoute } from "./health-schema.ts";
import type { MetricsText } from "./metrics.ts";
import { addRoute } from "./serve-route.ts";
import type { AlarmStatus, DatabaseStatus } from "./status.ts";

/** How old the answer about everybody's health may be. */
const healthAgeMsDefault = 1000;

export interface HealthApiOptions {
  readonly databases: () => Promise<readonly DatabaseName[]>;
  readonly status: (database: DatabaseName) => Promise<DatabaseStatus>;
  readonly alarms: () => readonly AlarmStatus[];
  /** What it is measured by; without it there is no `/metrics`. */
  readonly metrics?: () => Promise<MetricsText>;
  /** How old the answer about everybody's health may be, where it costs something. Default 1 s. */
  readonly healthAgeMs?: number;
}

export function addHealthRoutes(app: Hono, options: HealthApiOptions): void {
  const { healthAgeMs = healthAgeMsDefault } = options;
  let asked: { readonly atMs: number; readonly states: Promise<DatabaseStatus[]> } | undefined;
  // Anybody may ask, and the answer costs a look at every database.
  const states = (): Promise<DatabaseStatus[]> => {
    if (asked === undefined || performance.now() - asked.atMs > healthAgeMs) {
      const found = options.databases().then((databases) => Promise.all(databases.map(options.status)));
      asked = { atMs: performance.now(), states: found };
    }
    return asked.states;
  };
  addRoute(app, healthRoute, async ({ context, query: { maxLag = Number.POSITIVE_INFINITY } }) => {
    const all = await states();
    const behind = all.filter(({ lagMs }) => lagMs !== null && lagMs > maxLag).length;
    const isWell = behind === 0 && !options.alarms().some(({ code }) => code === "queue");
    // Without a token it says how many, not which.
    const body = {
      status: isWell ? "ok" : "behind",
      databases: all.length,
      behind,
      alarms: options.alarms().length,
    };
    return context.json(body, isWell ? 200 : 503);
  });
  const { metrics } = options;
  if (metrics === undefined) return;
  addRoute(app, metricsRoute, async () => {
    const { contentType, body } = await metrics();
    return new Response(body, { headers: { "content-type": contentType, "cache-control": "no-store" } });
  });
}
