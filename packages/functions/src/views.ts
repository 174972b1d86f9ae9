// What a caller sees of the state of things: a token for some databases hears nothing of the others, not even that they exist.

import type { LagHistory } from "./lag-history.ts";
import { covers, type Grant } from "./scopes.ts";
import type { AlarmStatus, DatabaseStatus } from "./status.ts";

/** Without the alarms of the whole host for those who may not see all of it: their words may name anything. */
export function alarmsFor(grant: Grant, alarms: readonly AlarmStatus[]): readonly AlarmStatus[] {
  if (grant.databases === "*") return alarms;
  return alarms.filter(({ database }) => database !== undefined && covers(grant, database));
}

/** The same of one database. A replica's last error came from any of its databases; its state remains. */
export function statusFor(grant: Grant, status: DatabaseStatus): DatabaseStatus {
  if (grant.databases === "*") return status;
  const replicas = status.replicas.map((replica) => ({ ...replica, error: null }));
  return { ...status, replicas, alarms: alarmsFor(grant, status.alarms) };
}

/** With each replica's lag in the last hour, where that is asked for. */
export function withHistory(
  status: DatabaseStatus,
  historyOf: ((database: string, replica: string) => LagHistory) | undefined,
): DatabaseStatus {
  if (historyOf === undefined) return status;
  const replicas = status.replicas.map((one) => ({ ...one, history: historyOf(status.name, one.name) }));
  return { ...status, replicas };
}
