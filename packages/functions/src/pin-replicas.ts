// Pins as the API has them: over all replicas of a host, which are opened for it.

import { type DatabaseName, formatTxId, PageferryError, type RestoreTarget } from "@pageferry/format";
import { pinPoint, pinsOf, unpinPoint } from "./pins.ts";
import type { Replica } from "./replica.ts";
import type { WantedPoint } from "./retention.ts";
import type { Target } from "./targets.ts";
import type { TimeApiOptions } from "./time-api.ts";

export interface PinsOptions {
  readonly targets: readonly Pick<Target, "set">[];
  readonly now: () => number;
}

export function createPins({ targets, now }: PinsOptions): TimeApiOptions["pins"] {
  const openingOf = (database: DatabaseName): Promise<Replica>[] =>
    targets.map(({ set }) => set.of(database));
  const replicasOf = (database: DatabaseName): Promise<Replica[]> => Promise.all(openingOf(database));
  return {
    list: (database, call) => pinsOf(openingOf(database), call),
    add: async (database, target, call) =>
      pinPoint(database, await replicasOf(database), target, { ...call, now }),
    async remove(database, target, call) {
      const replicas = await replicasOf(database);
      return unpinPoint(database, replicas, await pinnedPoint(openingOf(database), target, call), call);
    },
  };
}

/** What is pinned need not be restorable any more: a pin is found by its own words. */
async function pinnedPoint(
  replicas: readonly Promise<Replica>[],
  { generation, txId }: RestoreTarget,
  call: Parameters<TimeApiOptions["pins"]["list"]>[1],
): Promise<WantedPoint> {
  const pins = await pinsOf(replicas, call);
  const found = pins.find((pin) => {
    return pin.txId === txId && (generation === undefined || pin.generation === generation);
  });
  if (found !== undefined) return found;
  const hint = `Pinned are ${pins.map((pin) => `${formatTxId(pin.txId)} of ${pin.generation}`).join(", ") || "none"}.`;
  throw new PageferryError(
    "not-found",
    `transaction ${txId === undefined ? "?" : formatTxId(txId)} is not pinned`,
    { hint },
  );
}
