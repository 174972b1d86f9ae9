// Time, in the single-process host: the timekeeper over its targets, its schedule, pins and leases.

import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Config, DatabaseName } from "@pageferry/format";
import { createLeases } from "../leases.ts";
import type { Lease } from "../manifest-api.ts";
import { createPins } from "../pin-replicas.ts";
import type { WantedPoint } from "../retention.ts";
import { type Schedule, startSchedule } from "../schedule.ts";
import { sweepScratch } from "../scratch.ts";
import type { TimeApiOptions } from "../time-api.ts";
import { createTimekeeper, type Timekeeper, type TimekeeperOptions } from "../timekeeper.ts";
import type { Upkeep } from "../upkeep.ts";
import { createVerifier, type Verifier, type VerifierOptions } from "../verifier.ts";
import { verifyTask } from "../verify-schedule.ts";
import { type GrowthWatchOptions, growthTask } from "../watch-growth.ts";

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
  return {
    timekeeper,
    verifier,
    pins: createPins({ targets, now }),
    lease: createLeases({ targets, now }),
    async stop() {
      await Promise.all([schedule.stop(), verifier.stop()]);
    },
  };
}

function verifyTasks(options: LocalTimeOptions, { verify }: Verifier) {
  const { verifyIntervalMs: intervalMs = 0 } = options.config;
  return intervalMs === 0 ? [] : [verifyTask({ ...options, intervalMs, verify })];
}
