// Whether a database is well enough for its heartbeat: a pure decision over its status. In doubt it is not: a heartbeat that
// stops is looked at, one that lies is not.

import type { DatabaseStatus } from "./status.ts";

/** Agents send a heartbeat every 20 s. */
const heardMsMax = 60_000;

/** Alarms of the host as a whole that concern every database: a queue that fails, a replica that is away, nobody who watches. */
const sharedCodes: ReadonlySet<string> = new Set(["queue", "unavailable", "maintenance-alarms"]);

export interface HealthOptions {
  readonly nowMs: number;
  /** How far behind a replica may be. */
  readonly lagMsMax: number;
}

/** What ails a database, as one line; `undefined` while it is healthy. */
export function ailmentOf(
  { lastHeard, parted, replicas, alarms }: DatabaseStatus,
  { nowMs, lagMsMax }: HealthOptions,
): string | undefined {
  if (parted !== null) return "it is no longer backed up";
  if (lastHeard === null || !(nowMs - Date.parse(lastHeard) <= heardMsMax))
    return "its agent is not heard of";
  if (replicas.length === 0) return "it has no replica";
  const behind = replicas.find(({ lagMs }) => lagMs === null || lagMs > lagMsMax);
  if (behind !== undefined) {
    return behind.lagMs === null ? `${behind.name}: it is not known how it stands` : `${behind.name}: lags`;
  }
  const alarm = alarms.find(({ code, database }) => database !== undefined || sharedCodes.has(code));
  return alarm === undefined ? undefined : `alarm ${alarm.code}`;
}
