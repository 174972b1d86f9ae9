// The alarms of the fleet itself, told when they come and when they are over: what stands is what the newest change left.

import type { ToldAlarm } from "../log.ts";

/** An alarm with the time since when it stands. */
export type TimedAlarm = ToldAlarm & { readonly sinceMs: number };

/** Who tells of them. */
export interface FleetTeller {
  raised(alarm: TimedAlarm): void;
  cleared(alarm: TimedAlarm): void;
  /** Nobody looks any more whether what stands of this database is over. */
  letGo(database: string): void;
}

/** Which alarms stand. */
export interface StandingAlarms {
  /** These stand, and no others. */
  keep(alarms: readonly ToldAlarm[]): void;
}

/** Makes an empty set of alarms. One of the same code and database stands once, with its newest words. */
export function createStandingAlarms(teller: FleetTeller, now: () => number = Date.now): StandingAlarms {
  let standing: ReadonlyMap<string, TimedAlarm> = new Map();
  const keyOf = ({ code, database = "" }: ToldAlarm) => `${code}\n${database}`;
  return {
    keep(alarms) {
      const next = new Map<string, TimedAlarm>();
      for (const alarm of alarms) {
        const before = standing.get(keyOf(alarm));
        if (!next.has(keyOf(alarm))) next.set(keyOf(alarm), { ...alarm, sinceMs: before?.sinceMs ?? now() });
      }
      for (const [key, alarm] of standing) if (!next.has(key)) teller.cleared(alarm);
      for (const [key, alarm] of next) if (standing.get(key)?.message !== alarm.message) teller.raised(alarm);
      standing = next;
    },
  };
}
