// What a host does with its archives as time goes by: merges windows, builds snapshots, lets go of what nobody keeps. By itself, on schedules,
// and by hand. One thing at a time on one archive; everything is safe to be done by two hosts at once. See docs/operations.md#time.

import { type Config, counted, type DatabaseName, PageferryError } from "@pageferry/format";
import type { Alarms } from "./alarms.ts";
import { type CompactReport, compactReplica } from "./compact.ts";
import { type Compacted, compactDue, compactLookMs } from "./compact-due.ts";
import { type CompactMemory, createCompactMemory } from "./compact-memory.ts";
import { createExclusive } from "./exclusive.ts";
import type { PruneReport } from "./prune.ts";
import type { Replica } from "./replica.ts";
import { type RetentionPolicy, retentionPolicy } from "./retention.ts";
import type { ScheduledTask } from "./schedule.ts";
import { buildSnapshots, type SnapshotBuild } from "./snapshot-build.ts";
import type { CallOptions, Retained } from "./store.ts";
import type { Target } from "./targets.ts";
import type { Place, Upkeep } from "./upkeep.ts";
import { withWorkLease } from "./work-lease.ts";

const minuteMs = 60_000;

/** How often it is looked whether a snapshot is due: a plan over names in memory. */
const snapshotLookMs = 5 * minuteMs;

export interface TimekeeperOptions {
  readonly targets: readonly Target[];
  readonly alarms: Alarms;
  readonly config: Partial<Pick<Config, "retention" | "snapshotIntervalMs" | "compaction">>;
  /** Told of what was done. */
  readonly upkeep?: Pick<Upkeep, "compacted" | "snapshots" | "pruned"> | undefined;
  /** Where snapshots are put together. */
  readonly scratchDir: string;
  /** A word of this host's own, for leases. */
  readonly holder: string;
  readonly now: () => number;
}

/** What is asked for by hand. */
export interface TimeRequest extends CallOptions {
  /** Only this replica, as the status names it. `not-found` for one that is not configured. */
  readonly replica?: string | undefined;
  /** Only says what would be done. */
  readonly dryRun?: boolean;
}

export interface PruneRequest extends TimeRequest {
  /** How long what may go is marked before it goes, ms. Default 15 min. */
  readonly graceMs?: number | undefined;
}

/** What was done with one database. A replica that could not be worked on is in `failures`. */
export interface TimeReport<Row> {
  readonly database: DatabaseName;
  readonly replicas: readonly Row[];
  readonly failures: readonly { readonly replica: string; readonly why: string }[];
}

/** Of one replica: windows that were merged, and snapshots that were built. */
export interface CompactRow extends CompactReport {
  readonly snapshots: readonly SnapshotBuild[];
}

export interface Timekeeper {
  compact(database: DatabaseName, request?: TimeRequest): Promise<TimeReport<CompactRow>>;
  prune(database: DatabaseName, request?: PruneRequest): Promise<TimeReport<PruneReport>>;
  /** What is done without being asked. */
  readonly tasks: readonly ScheduledTask[];
  /** The same for one database, where others keep the time and store meanwhile. Errors: what the first replica threw, at the end. */
  readonly turns: {
    compact(database: DatabaseName, call: CallOptions): Promise<void>;
    prune(database: DatabaseName, call: CallOptions): Promise<void>;
  };
}

interface State {
  readonly options: TimekeeperOptions;
  readonly policy: RetentionPolicy | undefined;
  readonly levelsMs: readonly number[];
  readonly exclusive: ReturnType<typeof createExclusive>;
  readonly memories: WeakMap<Replica, CompactMemory>;
  readonly rested: WeakMap<Replica, string>;
  readonly compacted: WeakMap<Replica, Compacted>;
}

export function createTimekeeper(options: TimekeeperOptions): Timekeeper {
  const { config } = options;
  const policy = retentionPolicy(config);
  const state: State = {
    options,
    policy,
    levelsMs: config.compaction?.levelsMs ?? [],
    exclusive: createExclusive(),
    memories: new WeakMap(),
    rested: new WeakMap(),
    compacted: new WeakMap(),
  };
  return {
    async compact(database, request = {}) {
      return byHand(state, database, request, async (replica, place) => {
        const report = await compactOne(state, replica, place, request);
        const snapshots = request.dryRun === true ? [] : await snapshotsOf(state, replica, place, request);
        return { ...report, snapshots };
      });
    },
    async prune(database, request = {}) {
      if (policy === undefined) throw new PageferryError("bad-config", "retention: nothing says what stays");
      return byHand(state, database, request, (replica, place) =>
        pruneOne(state, replica, place, { ...request, policy }),
      );
    },
    tasks: [...compactTasks(state), ...pruneTasks(state)],
    turns: {
      compact: (database, call) =>
        eachReplicaOf(state, database, async (replica, place) => {
          await replica.refresh(call);
          await compactWhenDue(state, replica, place, call);
          await snapshotWhenDue(state, replica, place, call);
        }),
      prune: (database, call) =>
        eachReplicaOf(state, database, (replica, place) => pruneWhenAlone(state, replica, place, call)),
    },
  };
}

async function byHand<Row>(
  { options: { targets } }: State,
  database: DatabaseName,
  { replica: wanted, signal }: TimeRequest,
  work: (replica: Replica, place: Place) => Promise<Row>,
): Promise<TimeReport<Row>> {
  const chosen = targets.filter(({ name }) => wanted === undefined || name === wanted);
  if (chosen.length === 0) {
    const hint = `There are ${targets.map(({ name }) => name).join(", ")}.`;
    throw new PageferryError("not-found", `replica ${wanted?.slice(0, 200)} is not configured`, { hint });
  }
  const done = await Promise.allSettled(
    chosen.map(async ({ set, name }) => work(await set.of(database), { database, replica: name })),
  );
  signal?.throwIfAborted();
  const failures = done.flatMap((one, at) =>
    one.status === "rejected" ? [{ replica: chosen[at]?.name ?? "", why: wordsOf(one.reason) }] : [],
  );
  const replicas = done.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  return { database, replicas, failures };
}

function wordsOf(error: unknown): string {
  if (error instanceof PageferryError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}

async function compactOne(
  state: State,
  replica: Replica,
  place: Place,
  { signal, dryRun = false }: TimeRequest,
): Promise<CompactReport> {
  const { levelsMs, options } = state;
  const { now, upkeep } = options;
  const report = await state.exclusive(replica.name, () =>
    compactReplica(replica, { levelsMs, now, memory: memoryOf(state, replica), dryRun, signal }),
  );
  upkeep?.compacted(place, report);
  return report;
}

/** Merging twice is cheaper than saying so; building a snapshot is not. */
async function snapshotsOf(
  state: State,
  replica: Replica,
  place: Place,
  { signal }: CallOptions,
): Promise<SnapshotBuild[]> {
  const { levelsMs, options } = state;
  const { scratchDir, config, holder, now } = options;
  const snapshotIntervalMs = config.snapshotIntervalMs ?? Number.POSITIVE_INFINITY;
  const memory = memoryOf(state, replica);
  // One file of the size of a database at a time, whosever it is.
  const builds = await state.exclusive("snapshot", () =>
    buildSnapshots(replica, {
      ...{ scratchDir, snapshotIntervalMs, levelsMs, memory, signal, nowMs: now() },
      unlessOthersDo: (work) =>
        withWorkLease(replica.objects, { task: "snapshot", holder, now, signal }, work),
    }),
  );
  options.upkeep?.snapshots(place, builds);
  return builds;
}

async function pruneOne(
  state: State,
  replica: Replica,
  place: Place,
  { policy, dryRun = false, graceMs, signal }: PruneRequest & { readonly policy: RetentionPolicy },
): Promise<PruneReport> {
  const grace = graceMs === undefined ? {} : { graceMs };
  const report = await state.exclusive(replica.name, () =>
    replica.prune(undefined, policy, { dryRun, ...grace, signal }),
  );
  state.options.upkeep?.pruned(place, report);
  return report;
}

function memoryOf({ memories }: State, replica: Replica): CompactMemory {
  const memory = memories.get(replica) ?? createCompactMemory();
  memories.set(replica, memory);
  return memory;
}

function compactTasks(state: State): ScheduledTask[] {
  const { levelsMs, options } = state;
  const [finestMs] = levelsMs;
  const compact: ScheduledTask[] =
    finestMs === undefined
      ? []
      : [
          {
            name: "compact",
            intervalMs: compactLookMs(finestMs),
            run: (signal) =>
              eachReplica(state, signal, (replica, place) =>
                compactWhenDue(state, replica, place, { signal }),
              ),
          },
        ];
  if (options.config.snapshotIntervalMs === undefined) return compact;
  const snapshot: ScheduledTask = {
    name: "snapshot",
    intervalMs: snapshotLookMs,
    firstAfterMs: minuteMs,
    run: (signal) =>
      eachReplica(state, signal, (replica, place) => snapshotWhenDue(state, replica, place, { signal })),
  };
  return [...compact, snapshot];
}

async function snapshotWhenDue(
  state: State,
  replica: Replica,
  place: Place,
  call: CallOptions,
): Promise<void> {
  const { config, alarms } = state.options;
  if (config.snapshotIntervalMs === undefined) return;
  watchSnapshots(replica, await snapshotsOf(state, replica, place, call), alarms);
}

/** What came to rest is left alone: nothing was stored since the last time, and its windows are all closed. */
async function compactWhenDue(
  state: State,
  replica: Replica,
  place: Place,
  { signal }: CallOptions,
): Promise<void> {
  const { now } = state.options;
  const [finestMs] = state.levelsMs;
  if (finestMs === undefined) return;
  const { objects, generations } = await replica.holdings({ signal });
  const newestMs = Math.max(0, ...[...generations.values()].map(({ newestStampMs }) => newestStampMs ?? 0));
  const due = compactDue(state.compacted.get(replica), { newestMs, nowMs: now(), finestMs });
  if (due === undefined) return;
  state.compacted.set(replica, due);
  const isOver = now() > newestMs + 2 * (state.levelsMs.at(-1) ?? 0);
  const mark = `${objects?.size ?? "many"} ${isOver}`;
  if (objects !== undefined && isOver && state.rested.get(replica) === mark) return;
  const { left, merged, isPartial } = await compactOne(state, replica, place, { signal });
  watchLeft(replica, left, state.options.alarms);
  if (merged.length === 0 && left.length === 0 && !isPartial) state.rested.set(replica, mark);
}

function pruneTasks(state: State): ScheduledTask[] {
  const { policy, options } = state;
  const { retention } = options.config;
  if (policy === undefined || retention === undefined) return [];
  const run = (signal: AbortSignal) =>
    eachReplica(state, signal, (replica, place) => pruneWhenAlone(state, replica, place, { signal }));
  // Soon after the start, so that what was marked before a restart does not wait for a whole turn.
  return [{ name: "prune", intervalMs: retention.checkIntervalMs, firstAfterMs: 2 * minuteMs, run }];
}

async function pruneWhenAlone(state: State, replica: Replica, place: Place, { signal }: CallOptions) {
  const { policy, options } = state;
  if (policy === undefined) return;
  const { holder, now, alarms } = options;
  const prune = () => pruneOne(state, replica, place, { policy, signal });
  const report = await withWorkLease(replica.objects, { task: "prune", holder, now, signal }, prune);
  if (report !== undefined) watchRetained(place.replica, replica, report.retained, alarms);
}

/** All replicas of one database at once. Throws what the first of them threw, at the end. */
async function eachReplicaOf(
  { options: { targets } }: State,
  database: DatabaseName,
  work: (replica: Replica, place: Place) => Promise<void>,
): Promise<void> {
  const done = await Promise.allSettled(
    targets.map(async ({ set, name }) => work(await set.of(database), { database, replica: name })),
  );
  const failed = done.find((one) => one.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

/**
 * All replicas at once, the databases of one after the other: one that hangs or fails holds up no other, one that is left alone is passed over.
 * Throws what the first of them threw, at the end.
 */
async function eachReplica(
  { options: { targets } }: State,
  signal: AbortSignal,
  work: (replica: Replica, place: Place) => Promise<void>,
): Promise<void> {
  const there = targets.filter((target) => target.health().state === "closed");
  const done = await Promise.allSettled(
    there.map(async (target) => {
      const failures: unknown[] = [];
      for (const [database, replica] of target.set.opened()) {
        try {
          await work(replica, { database, replica: target.name });
        } catch (error) {
          signal.throwIfAborted();
          failures.push(error);
        }
      }
      if (failures.length > 0) throw failures[0];
    }),
  );
  const failed = done.find((one) => one.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

function watchLeft(replica: Replica, left: CompactReport["left"], alarms: Alarms): void {
  const alarm = { code: "compact", replica: replica.name };
  const [first] = left;
  if (first === undefined) {
    alarms.clear(alarm);
    return;
  }
  alarms.raise({
    ...alarm,
    message: `${replica.name}: ${counted(left.length, "window")} could not be merged, the first: ${first.why}`,
    hint: "Look with `pageferry repair --verify`; everything that was there stays as it is.",
  });
}

function watchSnapshots(replica: Replica, builds: readonly SnapshotBuild[], alarms: Alarms): void {
  const alarm = { code: "snapshot", replica: replica.name };
  const failed = builds.find(({ failure }) => failure !== null);
  if (failed === undefined) {
    alarms.clear(alarm);
    return;
  }
  alarms.raise({
    ...alarm,
    message: `${replica.name}: ${failed.name} could not be built: ${failed.failure}`,
    hint: "It is tried again in some minutes; if none is built for long, the agent is asked for one.",
  });
}

/** What prune could not free is paid for, until somebody does something about it. */
function watchRetained(name: string, replica: Replica, retained: readonly Retained[], alarms: Alarms): void {
  const alarm = { code: "retained", replica: replica.name };
  if (retained.length === 0) {
    alarms.clear(alarm);
    return;
  }
  const locked = retained.filter(({ reason }) => reason === "locked").length;
  alarms.raise({
    ...alarm,
    message: `${name} keeps ${counted(retained.length, "object")} that nothing needs: ${locked} locked, ${counted(retained.length - locked, "older version")}`,
    hint: "Locked objects can go when their lock ends; a lifecycle rule of the bucket removes older versions.",
  });
}
