// How much each database takes in each replica, counted from what the host knows of their listings, and the alarm when it is
// more than the configuration allows.

import type { DatabaseName } from "@pageferry/format";
import type { Alarms } from "./alarms.ts";
import type { Target } from "./targets.ts";

export interface Storage {
  /** Counts anew, and raises or clears `storage`. To be called about once a minute: it adds up every object. */
  count(): void;
  /** As last counted; `undefined` until then. */
  bytesOf(database: DatabaseName, replica: string): number | undefined;
}

export interface StorageOptions {
  readonly targets: readonly Pick<Target, "set">[];
  readonly alarms: Alarms;
  /** Of one database in one replica; 0: no ceiling. */
  readonly bytesMax: number;
}

export function createStorage({ targets, alarms, bytesMax }: StorageOptions): Storage {
  const counted = new Map<string, Map<DatabaseName, number>>();
  return {
    bytesOf: (database, replica) => counted.get(replica)?.get(database),
    count() {
      for (const { set } of targets) {
        const own = counted.get(set.name) ?? new Map<DatabaseName, number>();
        counted.set(set.name, own);
        for (const [database, replica] of set.opened()) {
          // More names than are kept in memory: what was counted last stands, which was close below that.
          const objects = replica.holdingsNow()?.objects;
          if (objects !== undefined) own.set(database, sum(objects.values()));
          watch({ database, replica: set.name }, own.get(database) ?? 0, bytesMax, alarms);
        }
      }
    },
  };
}

function sum(sizes: Iterable<number>): number {
  let total = 0;
  for (const size of sizes) total += size;
  return total;
}

interface Place {
  readonly database: DatabaseName;
  readonly replica: string;
}

function watch(place: Place, bytes: number, bytesMax: number, alarms: Alarms): void {
  const alarm = { code: "storage", ...place };
  if (bytesMax === 0 || bytes <= bytesMax) alarms.clear(alarm);
  else {
    alarms.raise({
      ...alarm,
      message: `${place.database} takes ${mebibytes(bytes)} MiB in ${place.replica}, which is more than the ${mebibytes(bytesMax)} MiB of storageBytesMax`,
      hint: "Keep less (`retention`), or raise `storageBytesMax`. Nothing is removed, and nothing is refused, because of it.",
    });
  }
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
