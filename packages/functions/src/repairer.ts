// The host's repairs: by hand for one database, by themselves every hour, and soon after a replica came back or its lane let something go.
// One at a time for a database; a replica whose lanes still bring it what it lacks is left to them.

import { setTimeout as sleep } from "node:timers/promises";
import { type Config, counted, type DatabaseName, PageferryError } from "@pageferry/format";
import type { Alarms } from "./alarms.ts";
import type { Repairs } from "./behind.ts";
import { untilAborted, withDeadline } from "./deadline.ts";
import type { DurableQueue } from "./queue.ts";
import { type RepairReport, type ReplicaRepair, repairDatabase } from "./repair.ts";
import { whyOf } from "./repair-copy.ts";
import type { Replica } from "./replica.ts";
import { retentionPolicy } from "./retention.ts";
import type { CallOptions } from "./store.ts";
import type { Target } from "./targets.ts";
import type { Upkeep } from "./upkeep.ts";

/** How often everything is compared. */
const allIntervalMs = 60 * 60_000;

/** The first time is soon after the start: what a crash left behind waits no hour. */
const firstAfterMs = 10_000;

const turnMsDefault = 5000;

/** What failed is tried again after this long. */
const againMs = 60_000;

/** So is what was all right but for a replica that could not be listed; it is sooner where that one is seen to come back. */
const unlistedAgainMs = 10 * 60_000;

/** A replica that does not say for so long whose archive it is, is left out. */
const openMs = 60_000;

/** A lane that is never empty keeps a repair from its replica no longer: what both bring is stored once. */
const busyMsDefault = 5 * 60_000;

export interface RepairerOptions {
  readonly targets: readonly Target[];
  /** What lanes let go of. */
  readonly repairs: Pick<Repairs, "needsRepair" | "repaired">;
  readonly queue: Pick<DurableQueue, "depths">;
  readonly databases: () => Promise<readonly DatabaseName[]>;
  readonly alarms: Alarms;
  /** Told of what was done. */
  readonly upkeep?: Pick<Upkeep, "repaired"> | undefined;
  readonly config: Partial<Pick<Config, "retention" | "snapshotIntervalMs" | "compaction">>;
  readonly now: () => number;
  /** How often it is looked whether something is due. Default 5 s. */
  readonly turnMs?: number;
  /** How long what is due waits for a lane to be empty. Default 5 minutes. */
  readonly busyMs?: number;
}

/** What is asked for by hand. */
export interface RepairRequest extends CallOptions {
  /** Only this replica is repaired; the others give. `not-found` for one that is not configured. */
  readonly replica?: string | undefined;
  readonly verify?: boolean;
  readonly dryRun?: boolean;
}

export interface Repairer {
  /** Repairs a database now. Errors: those of `repairDatabase`, `not-found`. */
  repair(database: DatabaseName, request?: RepairRequest): Promise<RepairReport>;
  /** Ends what is under way; it goes on where it was at the next start. */
  stop(): Promise<void>;
}

type IsTarget = (target: Target) => boolean;

type Run = (database: DatabaseName, request: RepairRequest, isTarget: IsTarget) => Promise<RepairReport>;

/** Begins to repair by itself. */
export function startRepairer(options: RepairerOptions): Repairer {
  const stopping = new AbortController();
  const { run, ...repairer } = repairerOf(options, stopping);
  const loop = everyTurn(options, run, stopping.signal);
  return {
    ...repairer,
    async stop() {
      await Promise.all([repairer.stop(), loop]);
    },
  };
}

/** Repairs when it is asked to, and never by itself. */
export function createRepairer(options: OnDemandOptions): Repairer {
  const { run: _, ...repairer } = repairerOf(options, new AbortController());
  return repairer;
}

type OnDemandOptions = Pick<RepairerOptions, "targets" | "alarms" | "upkeep" | "config" | "now">;

function repairerOf(options: OnDemandOptions, stopping: AbortController): Repairer & { readonly run: Run } {
  const { targets, alarms } = options;
  const { signal } = stopping;
  const running = new Map<DatabaseName, Promise<unknown>>();
  const run: Run = async (database, request, isTarget) => {
    const until = request.signal === undefined ? signal : AbortSignal.any([request.signal, signal]);
    const work = () => repairTargets(database, options, { ...request, signal: until }, isTarget);
    const mine = (running.get(database) ?? Promise.resolve()).then(work, work);
    running.set(database, mine);
    try {
      return await mine;
    } finally {
      if (running.get(database) === mine) running.delete(database);
    }
  };
  return {
    run,
    async repair(database, request = {}) {
      const { replica } = request;
      const isNamed = (target: Target) => replica === undefined || target.name === replica;
      if (!targets.some(isNamed)) {
        const hint = `There are ${targets.map(({ name }) => name).join(", ")}.`;
        throw new PageferryError("not-found", `replica ${replica?.slice(0, 200)} is not configured`, {
          hint,
        });
      }
      const report = await run(database, request, isNamed);
      options.upkeep?.repaired(report);
      if (!report.dryRun) tell(report, alarms);
      return report;
    },
    async stop() {
      stopping.abort();
      await Promise.allSettled([...running.values()]);
    },
  };
}

/** Looks every few seconds what is due, and repairs it. */
async function everyTurn(options: RepairerOptions, run: Run, signal: AbortSignal): Promise<void> {
  // With one replica there is nobody to copy from.
  if (options.targets.length < 2) return;
  const agenda = createAgenda(options);
  while (!signal.aborted) {
    await sleep(options.turnMs ?? turnMsDefault, undefined, { signal, ref: false }).catch(() => undefined);
    const databases = signal.aborted ? [] : await untilAborted(options.databases(), signal).catch(() => []);
    agenda.look(databases);
    for (const database of databases) {
      const due = agenda.take(database);
      if (due.length === 0) continue;
      try {
        const report = await run(database, {}, (target) => due.some((one) => one.target === target));
        for (const one of due) {
          const isDone = rowsOf(report, one.target).every((row) => row.error === null && row.failures === 0);
          const isListed = report.unlisted.length === 0;
          if (isDone && isListed && one.need !== undefined) options.repairs.repaired(one.need);
          if (!isDone) agenda.again(one.target, database);
          else if (!isListed) agenda.again(one.target, database, unlistedAgainMs);
        }
        options.upkeep?.repaired(report);
        tell(report, options.alarms);
      } catch (error) {
        if (signal.aborted) return;
        for (const one of due) agenda.again(one.target, database);
        const message = `${database} could not be repaired: ${whyOf(error)}`;
        options.alarms.raise({ code: "repair", database, message, hint: "It is tried again by itself." });
      }
    }
  }
}

/** What is due for whom. */
function createAgenda({ targets, queue, repairs, busyMs = busyMsDefault }: RepairerOptions) {
  /** Since when a lane has kept from a repair that is due. */
  const keptSinceMs = new Map<string, number>();
  const wasDown = new Set<Target>();
  /** When, by replica and database. */
  const dueMs = new Map<string, number>();
  let allDueMs = performance.now() + firstAfterMs;
  const wordOf = (target: Target, database: string): string => `${target.name}\n${database}`;
  const hasWaiting = (target: Target, database: string): boolean =>
    queue
      .depths(database)
      .some(({ lane, messages }) => messages > 0 && (lane === target.lane || lane === target.copyLane));
  const isBusy = (target: Target, database: string, nowMs: number): boolean => {
    if (target.health().failures > 0) return true;
    const word = wordOf(target, database);
    if (!hasWaiting(target, database)) return false;
    const sinceMs = keptSinceMs.get(word) ?? nowMs;
    keptSinceMs.set(word, sinceMs);
    return nowMs - sinceMs < busyMs;
  };
  return {
    /** Notes who came back, and that the hour is over. */
    look(databases: readonly DatabaseName[]): void {
      const nowMs = performance.now();
      const isAllDue = nowMs >= allDueMs;
      if (isAllDue) allDueMs = nowMs + allIntervalMs;
      const back = targets.filter((target) => wasDown.has(target) && target.health().failures === 0);
      for (const target of targets) {
        if (target.health().failures > 0) wasDown.add(target);
        else wasDown.delete(target);
        // Who comes back may have what another lacks.
        if (back.length === 0 && !isAllDue) continue;
        for (const database of databases) dueMs.set(wordOf(target, database), nowMs);
      }
    },
    /** Whom to repair now. */
    take(database: DatabaseName) {
      const nowMs = performance.now();
      return targets.flatMap((target) => {
        const word = wordOf(target, database);
        const need = repairs.needsRepair(target.name, database);
        const atMs = dueMs.get(word) ?? (need === undefined ? Number.POSITIVE_INFINITY : 0);
        if (atMs > nowMs || isBusy(target, database, nowMs)) return [];
        dueMs.delete(word);
        keptSinceMs.delete(word);
        return [{ target, need }];
      });
    },
    again(target: Target, database: DatabaseName, afterMs: number = againMs): void {
      dueMs.set(wordOf(target, database), performance.now() + afterMs);
    },
  };
}

/** A row's replica is the configured one's, with the database below it or without. */
function rowsOf(report: RepairReport, target: Target): ReplicaRepair[] {
  return report.replicas.filter(
    ({ replica }) => replica === target.name || replica.startsWith(`${target.name}/`),
  );
}

async function repairTargets(
  database: DatabaseName,
  { targets, config, now }: OnDemandOptions,
  request: RepairRequest,
  isTarget: IsTarget,
): Promise<RepairReport> {
  const byHealth = targets.toSorted((a, b) => a.health().failures - b.health().failures);
  const opened = await Promise.allSettled(byHealth.map((target) => openTarget(target, database, request)));
  const replicas: Replica[] = [];
  const repaired = new Set<Replica>();
  const missed: ReplicaRepair[] = [];
  const unopened: string[] = [];
  for (const [at, result] of opened.entries()) {
    const target = byHealth[at] as Target;
    if (result.status === "fulfilled") {
      replicas.push(result.value);
      if (isTarget(target)) repaired.add(result.value);
    } else {
      unopened.push(target.name);
      if (isTarget(target)) missed.push(missedRow(target.name, request, result.reason));
    }
  }
  const report = await repairDatabase({
    ...{ database, replicas, retention: retentionPolicy(config), now, signal: request.signal },
    ...{ verify: request.verify ?? false, dryRun: request.dryRun ?? false },
    isTarget: (replica) => repaired.has(replica),
  });
  const isWhole = report.isWhole && unopened.length === 0;
  const unlisted = [...report.unlisted, ...unopened];
  return { ...report, isWhole, unlisted, replicas: [...report.replicas, ...missed] };
}

/** One that is left alone is not asked: it would only make the others wait. */
async function openTarget(target: Target, database: DatabaseName, request: RepairRequest): Promise<Replica> {
  const { state, waitMs, error } = target.health();
  // Somebody else is finding out whether it is back; who names it wants to know now.
  const isAsked = state === "half-open" && request.replica !== target.name;
  if (waitMs > 0 || isAsked)
    throw new PageferryError("unavailable", `${target.name} is left alone for now: ${error}`);
  return withDeadline(openMs, request.signal, () => target.set.of(database));
}

function missedRow(replica: string, { verify }: RepairRequest, error: unknown): ReplicaRepair {
  return {
    replica,
    copied: 0,
    bytes: 0,
    healed: 0,
    checked: verify === true ? 0 : null,
    broken: [],
    failed: [],
    failures: 0,
    error: whyOf(error),
  };
}

/** One that cannot be reached has an alarm already; what no other replica could give needs somebody. */
function tell({ database, replicas }: RepairReport, alarms: Alarms): void {
  alarms.clear({ code: "repair", database });
  for (const { replica, failures, failed, error } of replicas) {
    const alarm = { code: "repair", database, replica };
    if (error !== null) continue;
    if (failures === 0) alarms.clear(alarm);
    else {
      const [first] = failed;
      const message = `${replica} could not be given ${counted(failures, "object")} of ${database}, the first: ${first?.object}: ${first?.why}`;
      const hint =
        "Look with `pageferry repair --verify --dry-run`; what depends on them cannot be restored from it alone.";
      alarms.raise({ ...alarm, message, hint });
    }
  }
}
