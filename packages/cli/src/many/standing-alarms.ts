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

/** Messages that are told of one code and database. */
const messagesShown = 5;

/** Makes an empty set of alarms. Those of the same code and database stand as one, with the words of all of them. */
export function createStandingAlarms(teller: FleetTeller, now: () => number = Date.now): StandingAlarms {
  let standing: ReadonlyMap<string, TimedAlarm> = new Map();
  const keyOf = ({ code, database = "" }: ToldAlarm) => `${code}\n${database}`;
  return {
    keep(alarms) {
      const next = new Map<string, TimedAlarm>();
      for (const [key, [first, ...others]] of Map.groupBy(alarms, keyOf)) {
        if (first === undefined) continue;
        const message = messageOf([first, ...others].map((one) => one.message));
        next.set(key, { ...first, message, sinceMs: standing.get(key)?.sinceMs ?? now() });
      }
      for (const [key, alarm] of standing) if (!next.has(key)) teller.cleared(alarm);
      for (const [key, alarm] of next) if (standing.get(key)?.message !== alarm.message) teller.raised(alarm);
      standing = next;
    },
  };
}

function messageOf(messages: readonly string[]): string {
  const more = messages.length - messagesShown;
  return `${messages.slice(0, messagesShown).join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
}
