// What is wrong right now, per origin and code: raised once, told once, cleared once.
import { type ErrorCode, errorTable, PageferryError } from "@pageferry/format";

/** A code of the error table, or `lag`: commits wait for longer than they may. */
export type AlarmCode = ErrorCode | "lag";

/** Something that is wrong and needs somebody, until it is cleared. */
export interface Alarm {
  readonly code: AlarmCode;
  /** What is wrong, with which value, where. */
  readonly message: string;
  /** What to do. */
  readonly hint: string;
  /** Milliseconds since the epoch. */
  readonly sinceMs: number;
}

/** The part of the agent that an alarm comes from. Each clears only its own. */
export type AlarmOrigin =
  | "source"
  | "shadow"
  | "room"
  | "upkeep"
  | "snapshot"
  | "sender"
  | "host"
  | "heartbeat"
  | "needs"
  | "history"
  | "lag"
  | "stored"
  | "files"
  | "files-kept"
  | "files-sent";

/** The alarms of one database. */
export interface Alarms {
  raise(origin: AlarmOrigin, alarm: Omit<Alarm, "sinceMs">): void;
  raiseError(origin: AlarmOrigin, error: unknown): void;
  /** Clears one code of an origin, or all of them. */
  clear(origin: AlarmOrigin, code?: AlarmCode): void;
  list(): readonly Alarm[];
}

/** Told when something becomes wrong, and when it is over. */
export interface AlarmListener {
  raised(alarm: Alarm): void;
  cleared(alarm: Alarm): void;
}

/** Makes the alarms of one database. */
export function createAlarms(now: () => number, listener: AlarmListener): Alarms {
  const standing = new Map<string, Alarm>();

  function raise(origin: AlarmOrigin, alarm: Omit<Alarm, "sinceMs">): void {
    const key = `${origin}/${alarm.code}`;
    const known = standing.get(key);
    const current = { ...alarm, sinceMs: known?.sinceMs ?? now() };
    standing.set(key, current);
    if (known === undefined) listener.raised(current);
  }

  return {
    raise,
    raiseError(origin, error) {
      raise(origin, alarmOf(error));
    },
    clear(origin, code) {
      for (const [key, alarm] of standing) {
        if (key === `${origin}/${alarm.code}` && (code === undefined || alarm.code === code)) {
          standing.delete(key);
          listener.cleared(alarm);
        }
      }
    },
    list: () => [...standing.values()],
  };
}

function alarmOf(error: unknown): Omit<Alarm, "sinceMs"> {
  if (error instanceof PageferryError) {
    return { code: error.code, message: error.message, hint: error.hint };
  }
  // Not an error of the world but of this program; it is told, because nothing is silent.
  const message = error instanceof Error ? error.message : String(error);
  return { code: "unavailable", message: `unexpected: ${message}`, hint: errorTable.unavailable.hint };
}
