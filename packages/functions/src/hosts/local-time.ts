// Time, in the single-process host: the timekeeper over its targets, its schedule, pins and leases.

import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import {
  type Config,
  type DatabaseName,
  formatTxId,
  PageferryError,
  type RestoreTarget,
} from "@pageferry/format";
import { withDeadline } from "../deadline.ts";
import type { Lease } from "../manifest-api.ts";
import { pinPoint, pinsOf, unpinPoint } from "../pins.ts";
import type { Replica } from "../replica.ts";
import type { WantedPoint } from "../retention.ts";
import { type Schedule, startSchedule } from "../schedule.ts";
import { sweepScratch } from "../scratch.ts";
import type { TimeApiOptions } from "../time-api.ts";
import { createTimekeeper, type Timekeeper, type TimekeeperOptions } from "../timekeeper.ts";
import type { Upkeep } from "../upkeep.ts";
import { createVerifier, type Verifier, type VerifierOptions } from "../verifier.ts";
import { verifyTask } from "../verify-schedule.ts";
import { addLease } from "../wanted-points.ts";
import { type GrowthWatchOptions, growthTask } from "../watch-growth.ts";

/** A replica that does not take a lease by then is not waited for: what a restore needs is safe for the grace of a prune anyway. */
const leaseWaitMs = 2000;

export interface LocalTimeOptions
  extends Omit<TimekeeperOptions, "scratchDir" | "holder" | "config" | "upkeep">,
    Pick<VerifierOptions, "sources" | "verified"> {
  readonly config: TimekeeperOptions["config"] & Partial<Pick<Config, "verifyIntervalMs">>;
  readonly dataDir: string;
  readonly databases: () => Promise<readonly DatabaseName[]>;
  /** Where samples of growth are kept from one start to the next. */
  readonly queue: GrowthWatchOptions["notes"];
  readonly random: () => number;
  readonly upkeep?: Upkeep | undefined;
}

export interface LocalTime {
  readonly timekeeper: Timekeeper;
  readonly verifier: Verifier;
  readonly pins: TimeApiOptions["pins"];
  lease(database: DatabaseName, point: WantedPoint): Promise<Lease | undefined>;
  stop(): Promise<void>;
}

/** Begins to do what is due as time goes by. */
export async function startLocalTime(options: LocalTimeOptions): Promise<LocalTime> {
  const { targets, dataDir, now, alarms, random } = options;
  const scratchDir = join(dataDir, "scratch");
  // The queue's lock says that no other host works here.
  await sweepScratch(scratchDir, false, now());
  await rm(join(scratchDir, "verify"), { recursive: true, force: true });
  const holder = `${hostname()} ${randomUUID()}`;
  const timekeeper = createTimekeeper({ ...options, scratchDir, holder });
  const verifier = createVerifier({ ...options, scratchDir: join(scratchDir, "verify") });
  const growth = growthTask({ targets, alarms, now, notes: options.queue });
  const tasks = [...timekeeper.tasks, growth, ...verifyTasks(options, verifier)];
  const schedule: Schedule = startSchedule(tasks, { alarms, random });
  const openingOf = (database: DatabaseName): Promise<Replica>[] =>
    targets.map(({ set }) => set.of(database));
  const replicasOf = (database: DatabaseName): Promise<Replica[]> => Promise.all(openingOf(database));
  const pins: TimeApiOptions["pins"] = {
    list: (database, call) => pinsOf(openingOf(database), call),
    add: async (database, target, call) =>
      pinPoint(database, await replicasOf(database), target, { ...call, now }),
    async remove(database, target, call) {
      const replicas = await replicasOf(database);
      return unpinPoint(database, replicas, await pinnedPoint(openingOf(database), target, call), call);
    },
  };
  return {
    timekeeper,
    verifier,
    pins,
    async lease(database, point) {
      const id = randomUUID();
      const nowMs = now();
      const taken = await Promise.allSettled(
        targets
          .filter((target) => target.health().state === "closed")
          .map(({ set }) =>
            withDeadline(leaseWaitMs, undefined, async (signal) =>
              addLease((await set.of(database)).objects, point, id, nowMs, { signal }),
            ),
          ),
      );
      const expiresAtMs = taken.find((one) => one.status === "fulfilled")?.value;
      return expiresAtMs === undefined ? undefined : { id, expiresAtMs };
    },
    async stop() {
      await Promise.all([schedule.stop(), verifier.stop()]);
    },
  };
}

function verifyTasks(options: LocalTimeOptions, { verify }: Verifier) {
  const { verifyIntervalMs: intervalMs = 0 } = options.config;
  return intervalMs === 0 ? [] : [verifyTask({ ...options, intervalMs, verify })];
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
