// When each database is verified without being asked: as long after its last drill as the configuration says, by evidence, so that a host that is
// restarted every day verifies all the same.

import type { DatabaseName } from "@pageferry/format";
import type { ScheduledTask } from "./schedule.ts";
import type { CallOptions } from "./store.ts";
import type { Target } from "./targets.ts";
import type { Verified } from "./verified.ts";

/** How often it is looked. The first time evidence is only asked for, the next time it is there. */
const lookMs = 5 * 60_000;

/** What could not be verified, because a replica is away, is tried again after this. */
const againMs = 60 * 60_000;

export interface VerifyScheduleOptions {
  /** How long after a verification the next one is due. */
  readonly intervalMs: number;
  readonly databases: () => Promise<readonly DatabaseName[]>;
  readonly targets: readonly Target[];
  readonly verified: Pick<Verified, "of">;
  readonly verify: (database: DatabaseName, call: CallOptions) => Promise<unknown>;
  readonly now: () => number;
  /** For waits, which no clock that is set can move. */
  readonly monotonic?: () => number;
}

/** The task that looks what is due, and verifies one database after the other. */
export function verifyTask(options: VerifyScheduleOptions): ScheduledTask {
  const { intervalMs, targets, verified, now, monotonic = () => performance.now() } = options;
  const triedMs = new Map<DatabaseName, number>();
  const known = new Set<DatabaseName>();
  const isDue = (database: DatabaseName): boolean => {
    const times = targets.map((target) => verified.of(target, database)?.time);
    if (!known.has(database)) {
      known.add(database);
      return false;
    }
    const sinceMs = monotonic() - (triedMs.get(database) ?? Number.NEGATIVE_INFINITY);
    if (sinceMs < Math.min(againMs, intervalMs)) return false;
    return times.some((time) => {
      const agoMs = time === undefined ? Number.POSITIVE_INFINITY : now() - Date.parse(time);
      return agoMs >= intervalMs || agoMs < 0;
    });
  };
  return {
    name: "verify",
    intervalMs: Math.min(lookMs, intervalMs),
    async run(signal) {
      for (const database of await options.databases()) {
        if (!isDue(database)) continue;
        triedMs.set(database, monotonic());
        await options.verify(database, { signal });
        signal.throwIfAborted();
      }
    },
  };
}
