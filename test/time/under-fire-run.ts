// Restores while compaction, snapshots, prune and fan-out run flat out on the same replica: each restore must give exactly the state it was asked
// for. Time is the model's: a commit is ten seconds, so that minutes of retention pass in moments.
import { setImmediate as pause } from "node:timers/promises";
import {
  type ArchiveReader,
  executeRestore,
  type Generation,
  inlineWorkbench,
  isPageferryError,
  memorySink,
  openArchive,
  planFromArchive,
  pointsIn,
  type RestorePlan,
  type RestoreTarget,
} from "@pageferry/format";
import {
  buildSnapshots,
  compactReplica,
  createReplica,
  type Replica,
  type RetentionPolicy,
  type Store,
} from "@pageferry/functions";
import { markedNames, withoutMarked } from "../../packages/functions/src/marks.ts";
import { addLease } from "../../packages/functions/src/wanted-points.ts";
import {
  firstLine,
  holdsState,
  type ModelLine,
  packItem,
  segmentItem,
  snapshotItem,
} from "../../packages/functions/testing/bolt-archive.ts";
import { createBoltModel } from "../../packages/functions/testing/bolt-model.ts";
import type { Chance } from "../temporary.ts";

const minuteMs = 60_000;
const commitMs = 10_000;
const levelsMs = [minuteMs, 10 * minuteMs, 60 * minuteMs];

const policy: RetentionPolicy = {
  ...{
    segmentRetentionMs: 3 * minuteMs,
    keepWithinMs: 60 * minuteMs,
    snapshotSpacingMs: 20 * minuteMs,
    levelsMs,
  },
  ...{ keepHourly: 2, keepDaily: 2, keepWeekly: 0, keepMonthly: 0, supersededRetentionMs: 60 * minuteMs },
};

/** So long what may go is marked: a restore that was planned before has a lease by then. */
const graceMsDefault = 2 * minuteMs;

/** One restore of so many is so slow that the archive is pruned twice, and ages by more than the grace, before it reads on. */
const slowOneIn = 4;

export interface UnderFireReport {
  readonly restores: number;
  /** Points that retention had let go between the listing and the plan: no restore had begun. */
  readonly gone: number;
  /** Points that retention let go under a restore, where there is no grace, and so no lease that counts. */
  readonly letGo: number;
  /** Restores that the archive was pruned under. */
  readonly slow: number;
  readonly replans: number;
  readonly prunes: number;
  readonly commits: number;
  readonly merged: number;
  readonly snapshots: number;
  readonly removed: number;
  readonly objects: number;
}

/**
 * Runs until so many restores are done. Throws what the first of the loops throws, and where a restored state is another. A grace of 0 is harsher
 * than life: objects go while they are read, so that restores must find another way to the same point.
 */
export async function restoreUnderFire(
  store: Store,
  restores: number,
  chance: Chance,
  graceMs = graceMsDefault,
): Promise<UnderFireReport> {
  const model = createBoltModel({ hasFreelist: true });
  const beginMs = Date.UTC(2026, 5, 1);
  const line = firstLine(model, "f1", (id) => beginMs + id * commitMs);
  const { generation } = line;
  const clock = { nowMs: beginMs + commitMs };
  const now = () => clock.nowMs;
  const replica = createReplica(store, { root: "app", now });
  await replica.begin(line.begin, beginMs);
  await replica.putAll(generation, [await snapshotItem(line, 1)]);
  const report = {
    restores: 0,
    gone: 0,
    letGo: 0,
    slow: 0,
    replans: 0,
    prunes: 0,
    commits: 0,
    merged: 0,
    snapshots: 0,
    removed: 0,
    objects: 0,
  };
  let isOver = false;
  /** When those that are between listing and lease began. */
  const planning = new Set<{ readonly sinceMs: number }>();
  const isAhead = () =>
    planning.values().some(({ sinceMs }) => graceMs > 0 && clock.nowMs > sinceMs + graceMs / 4);
  const until = async (turn: () => Promise<void>): Promise<void> => {
    try {
      while (!isOver) {
        await turn();
        await pause();
      }
    } finally {
      isOver = true;
    }
  };
  const fanOut = async (): Promise<void> => {
    // That a plan takes less than the grace is what the grace is for.
    if (isAhead()) return;
    const from = model.newest();
    const count = 1 + chance.below(4);
    for (let at = 0; at < count; at += 1) {
      model.commit([{ key: chance.below(6), letter: chance.below(3), overflow: chance.below(4) }]);
    }
    clock.nowMs = line.stampMs(model.newest()) + 300;
    const ids = Array.from({ length: count + 1 }, (_, at) => from + at);
    const items =
      count > 2 && chance.below(2) === 0
        ? [packItem(line, ids)]
        : ids.slice(1).map((id) => ({ ...segmentItem(line, id - 1, id), receivedAtMs: clock.nowMs }));
    for (const { kind } of await replica.putAll(generation, items))
      if (kind !== "stored" && kind !== "present") throw new Error(`fan-out: ${kind}`);
    report.commits += count;
  };
  const compact = async (): Promise<void> => {
    const { merged, left } = await compactReplica(replica, { levelsMs, now });
    report.merged += merged.length;
    const [failed] = left.filter(({ why }) => !why.startsWith("not-found"));
    if (failed !== undefined) throw new Error(`compaction: ${failed.why}`);
  };
  const snapshot = async (scratchDir: string): Promise<void> => {
    for (const { failure } of await buildSnapshots(replica, {
      ...{ scratchDir, snapshotIntervalMs: 20 * minuteMs, levelsMs, nowMs: now(), threads: 0 },
    })) {
      if (failure === null) report.snapshots += 1;
    }
  };
  const prune = async (): Promise<void> => {
    report.removed += (await replica.prune(undefined, policy, { graceMs })).removed.length;
    report.prunes += 1;
  };
  const untilPruned = async (): Promise<void> => {
    const [prunes, sinceMs] = [report.prunes, clock.nowMs];
    report.slow += 1;
    while (!isOver && (report.prunes < prunes + 2 || clock.nowMs <= sinceMs + graceMs)) await pause();
  };
  const restore = async (): Promise<void> => {
    const onReplan = () => (report.replans += 1);
    const restoring = { now, graceMs, planning, untilPruned, onReplan };
    report[await restoreOne(replica, line, chance, restoring)] += 1;
    // Until everything has been at work, and without a grace something went under a restore, nothing is proved.
    const { merged, snapshots, removed, slow, replans } = report;
    const isAtWork = merged > 10 && snapshots > 0 && removed > 20 && slow > 0;
    const isHit = isAtWork && (graceMs > 0 || replans > 0);
    const isProved = isHit || report.restores >= 5 * restores;
    if (report.restores >= restores && isProved) isOver = true;
  };
  const scratch = process.env.TMPDIR ?? "/tmp";
  await Promise.all([
    ...[fanOut, compact, prune, restore, restore].map(until),
    until(() => snapshot(`${scratch}/pageferry-under-fire-${process.pid}`)),
  ]);
  report.objects = (await Array.fromAsync(replica.reader.list())).length;
  return report;
}

interface Restoring {
  readonly now: () => number;
  readonly graceMs: number;
  readonly planning: Set<{ readonly sinceMs: number }>;
  readonly untilPruned: () => Promise<void>;
  readonly onReplan: () => void;
}

/** As a restore by the host goes: planned without what is marked, leased, carried out. */
async function restoreOne(
  replica: Replica,
  { model, generation }: ModelLine,
  chance: Chance,
  { now, graceMs, planning, untilPruned, onReplan }: Restoring,
): Promise<"restores" | "gone" | "letGo"> {
  const begun = { sinceMs: now() };
  planning.add(begun);
  const planned = await planOne(replica, generation, chance, { now, graceMs }).finally(() =>
    planning.delete(begun),
  );
  if (planned === undefined) return "gone";
  const point = { generation, txId: planned.txId };
  const sink = memorySink();
  let isSlow = chance.below(slowOneIn) === 0;
  const get: ArchiveReader["get"] = async (name, range) => {
    if (isSlow) await untilPruned();
    isSlow = false;
    return replica.reader.get(name, range);
  };
  const options = {
    ...{ plan: planned, readers: [{ ...replica.reader, get }], sink },
    workbench: inlineWorkbench(sink),
  };
  const replan = async (without: ReadonlySet<string>): Promise<RestorePlan> => {
    onReplan();
    return planFromArchive(await openArchive([replica.reader]), point, { without });
  };
  try {
    await executeRestore({ ...options, integrity: "full", parallelism: 2, replan });
  } catch (error) {
    if (graceMs > 0 || passedOver(error) || (await isRestorable(replica, point))) throw error;
    return "letGo";
  }
  const image = sink.bytes();
  const id = Number(planned.txId);
  if (image === undefined || !holdsState(image, model, id))
    throw new Error(`transaction ${id}: another state came back`);
  return "restores";
}

/**
 * The plan of the newest point, which is always one, or of any other, with a lease on it where there is a grace. Undefined: retention let it go
 * since it was listed.
 */
async function planOne(
  replica: Replica,
  generation: Generation,
  chance: Chance,
  { now, graceMs }: Pick<Restoring, "now" | "graceMs">,
): Promise<RestorePlan | undefined> {
  const { points } = await pointsIn(await openArchive([replica.reader]));
  const chosen = chance.below(2) === 0 ? undefined : points[chance.below(points.length)]?.txId;
  const target = chosen === undefined ? {} : { generation, txId: chosen };
  const archive = await openArchive([replica.reader]);
  const [all, due] = withoutMarked(await markedNames(archive), graceMs, now());
  const plan = await planFromArchive(archive, target, { without: all })
    .catch(() => planFromArchive(archive, target, { without: due }))
    .catch((error: unknown) => {
      if (chosen === undefined) throw error;
      return passedOver(error);
    });
  if (plan === undefined) return undefined;
  if (graceMs > 0) await addLease(replica.objects, plan, `r${chance.below(1_000_000)}`, now());
  return plan;
}

/** Whether a point is one still. */
async function isRestorable(replica: Replica, point: RestoreTarget): Promise<boolean> {
  const plan = await planFromArchive(await openArchive([replica.reader]), point).catch(passedOver);
  return plan !== undefined;
}

/** A point may go between its listing and its plan. */
function passedOver(error: unknown): undefined {
  if (isPageferryError(error, "not-found") || isPageferryError(error, "gap")) return undefined;
  throw error;
}
