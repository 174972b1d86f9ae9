// Restores while compaction, snapshots, prune and fan-out run flat out on the same replica: each restore must give exactly the state it was asked
// for. Time is the model's: a commit is ten seconds, so that minutes of retention pass in moments.
import { setImmediate as pause } from "node:timers/promises";
import {
  executeRestore,
  inlineWorkbench,
  isPageferryError,
  memorySink,
  openArchive,
  planFromArchive,
  readPoints,
  type TxId,
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
const graceMs = 20 * minuteMs;

export interface UnderFireReport {
  readonly restores: number;
  /** Points that retention had let go between the listing and the plan: no restore had begun. */
  readonly gone: number;
  readonly replans: number;
  readonly commits: number;
  readonly merged: number;
  readonly snapshots: number;
  readonly removed: number;
  readonly objects: number;
}

/** Runs until so many restores are done. Throws what the first of the loops throws, and where a restored state is another. */
export async function restoreUnderFire(
  store: Store,
  restores: number,
  chance: Chance,
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
    replans: 0,
    commits: 0,
    merged: 0,
    snapshots: 0,
    removed: 0,
    objects: 0,
  };
  let isOver = false;
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
  };
  const restore = async (): Promise<void> => {
    if (await restoreOne(replica, line, chance, { now, onReplan: () => (report.replans += 1) }))
      report.restores += 1;
    else report.gone += 1;
    // Until something goes, nothing is proved.
    const isProved = report.removed > 20 || report.restores >= 5 * restores;
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
  readonly onReplan: () => void;
}

/** As a restore by the host goes: planned without what is marked, leased, carried out. False: the point went before it was planned. */
async function restoreOne(
  replica: Replica,
  { model, generation }: ModelLine,
  chance: Chance,
  { now, onReplan }: Restoring,
): Promise<boolean> {
  const isNewest = chance.below(2) === 0;
  const listed = await openArchive([replica.reader]);
  const points = await readPoints(listed).catch((error: unknown) => passedOver(error));
  if (points === undefined) return false;
  const chosen = isNewest ? undefined : points[chance.below(points.length)]?.txId;
  const target = chosen === undefined ? {} : { generation, txId: chosen };
  const plan = async (without?: ReadonlySet<string>) => {
    const archive = await openArchive([replica.reader]);
    const [all, due] = withoutMarked(await markedNames(archive), graceMs, now());
    const planWithout = (names: ReadonlySet<string>) =>
      planFromArchive(archive, target, { without: new Set([...(without ?? []), ...names]) });
    return planWithout(all).catch(() => planWithout(due));
  };
  const planned = await plan().catch((error: unknown) => passedOver(error));
  if (planned === undefined) return false;
  await addLease(replica.objects, planned, `r${chance.below(1_000_000)}`, now());
  const sink = memorySink();
  await executeRestore({
    ...{
      plan: planned,
      readers: [replica.reader],
      sink,
      workbench: inlineWorkbench(sink),
      integrity: "full" as const,
    },
    async replan(without, point) {
      onReplan();
      const archive = await openArchive([replica.reader]);
      return planFromArchive(archive, { generation, txId: point.txId }, { without });
    },
  });
  const image = sink.bytes();
  const id = Number(planned.txId as TxId);
  if (image === undefined || !holdsState(image, model, id))
    throw new Error(`transaction ${id}: another state came back`);
  return true;
}

/** A pack or a point may go between a listing and what is read of it; nothing was planned yet. */
function passedOver(error: unknown): undefined {
  if (isPageferryError(error, "not-found") || isPageferryError(error, "gap")) return undefined;
  throw error;
}
