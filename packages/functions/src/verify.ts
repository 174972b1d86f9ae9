// Verifies the replicas of a database, each by itself: restores an older point and the newest into scratch, checks them whole, compares what
// came of them across replicas, and says in five words how each stands. See docs/operations.md#verify.

import { formatTxId, isPageferryError, openArchive, parseGeneration, parseTxId } from "@pageferry/format";
import { putEvidence } from "./evidence.ts";
import type { KnownPoint } from "./missing.ts";
import { whyOf } from "./repair-copy.ts";
import type { Replica } from "./replica.ts";
import { formatTime } from "./replica-state.ts";
import type { RetentionPolicy } from "./retention.ts";
import type { CallOptions } from "./store.ts";
import { type Verdict, worst } from "./verdicts.ts";
import { checkNewestCompanions } from "./verify-companions.ts";
import { choosePoints } from "./verify-plan.ts";
import { type Drill, type DrillOptions, drillPoint } from "./verify-point.ts";
import type {
  ReplicaVerdict,
  VerifiedPoint,
  VerifyCursor,
  VerifyDepth,
  VerifyReport,
} from "./verify-report.ts";
import {
  type CapturedPoint,
  chainSides,
  checkObjects,
  createSide,
  judgeListings,
  onSide,
  readSides,
  stateRemaining,
  type VerifySide,
} from "./verify-sides.ts";

/** A commit that is younger may be on its way. */
const lateMsDefault = 60_000;

export interface VerifyOptions extends CallOptions {
  readonly database: string;
  /** All replicas of the database: each is compared with the others. */
  readonly replicas: readonly Replica[];
  /** Whether a replica is to be verified; the others are listed only. Default: all are. */
  readonly isTarget?: ((replica: Replica) => boolean) | undefined;
  /** Default `drill`. */
  readonly depth?: VerifyDepth | undefined;
  /** Where databases are put together, one at a time, and removed. */
  readonly scratchDir: string;
  /** A database and its objects above this many bytes together are not restored: its objects are read to their ends. Default: none is too large. */
  readonly bytesMax?: number | undefined;
  /** After this long no further point or object is begun; the report says where to go on. Default: all is done. */
  readonly budgetMs?: number | undefined;
  readonly cursor?: VerifyCursor | undefined;
  /** Writes evidence into each replica, of each point. Default false. */
  readonly evidence?: boolean | undefined;
  /** The newest commit that is known to have been captured. */
  readonly newestCaptured?: CapturedPoint | undefined;
  /** By a replica's name: what it held, for the chain, besides its own evidence. */
  readonly known?: ReadonlyMap<string, readonly KnownPoint[]> | undefined;
  /** How old a commit must be to be late. Default a minute. */
  readonly lateMs?: number | undefined;
  /** What retention keeps: what it removed is not lost. Absent: everything. */
  readonly retention?: RetentionPolicy | undefined;
  readonly now?: (() => number) | undefined;
  /** In [0, 1). */
  readonly random?: (() => number) | undefined;
  /** Silence after which a replica is given up, ms. Default two minutes. */
  readonly stallMs?: number | undefined;
  readonly onProgress?: DrillOptions["onProgress"];
}

/** Verifies the replicas of one database. What does not hold, and what fails, is in the report; throws only the signal's reason. */
export async function verifyDatabase(options: VerifyOptions): Promise<VerifyReport> {
  const {
    database,
    replicas,
    signal,
    depth = "drill",
    cursor,
    now = Date.now,
    random = Math.random,
  } = options;
  const endMs = performance.now() + (options.budgetMs ?? Number.POSITIVE_INFINITY);
  const shared = {
    signal,
    random,
    nowMs: now(),
    lateMs: options.lateMs ?? lateMsDefault,
    stallMs: options.stallMs,
  };
  const sides = replicas.map((replica) => createSide(replica, options.isTarget?.(replica) ?? true, shared));
  await readSides(sides, { ...shared, hasAllPacks: depth !== "drill" });
  signal?.throwIfAborted();
  const targets = sides.filter(({ isTarget }) => isTarget);
  if (cursor === undefined) {
    await judgeListings(sides, {
      ...shared,
      retention: options.retention,
      newestCaptured: options.newestCaptured,
    });
    if (depth !== "drill") await chainSides(sides, { ...shared, known: options.known });
  }
  let done = 0;
  // Something is done in each call, or it would never end.
  const isOver = (): boolean => done++ > 0 && performance.now() >= endMs;
  const drills = await drillAll(targets, { ...options, ...shared, depth, random, isOver });
  if (depth === "drill" && cursor === undefined) await checkNewestCompanions(targets, { signal });
  const left = depth === "full" ? await readObjects(targets, { signal, cursor, isOver }) : {};
  compare(targets, [...(cursor?.hashes ?? []), ...drills.hashes]);
  if (options.evidence === true) await keepEvidence(targets, { signal, now });
  const next =
    drills.left.length + Object.keys(left).length === 0 ? null : cursorOf(targets, drills, left, cursor);
  for (const side of targets) conclude(side, cursor);
  const unlisted = sides.filter(({ archive }) => archive === undefined).map(({ row }) => row.replica);
  const isSound =
    next === null &&
    unlisted.length === 0 &&
    targets.every(({ row }) => row.verdict === "FOUND" && row.error === null);
  return { database, depth, isSound, replicas: targets.map(({ row }) => row), unlisted, next };
}

type PointTask = VerifyCursor["points"][number];
type Hashes = VerifyCursor["hashes"][number];

interface Drills {
  readonly left: readonly PointTask[];
  readonly hashes: readonly Hashes[];
}

interface DrillAllOptions extends VerifyOptions {
  readonly depth: VerifyDepth;
  readonly random: () => number;
  readonly isOver: () => boolean;
}

/** One point after the other: scratch holds one database at a time. At least one is done in each call. */
async function drillAll(targets: readonly VerifySide[], options: DrillAllOptions): Promise<Drills> {
  const { depth, cursor, random, signal, isOver } = options;
  const chosen = (): PointTask[] =>
    choosePoints(targets, random).map(({ side, generation, txId }) => ({
      ...{ replica: targets[side]?.row.replica ?? "", generation, txid: formatTxId(txId) },
    }));
  const tasks = depth === "chain" ? [] : (cursor?.points ?? chosen());
  const hashes: Hashes[] = [];
  for (const [at, task] of tasks.entries()) {
    if (isOver()) return { left: tasks.slice(at), hashes };
    const side = targets.find(({ row }) => row.replica === task.replica);
    if (side === undefined || side.row.error !== null) continue;
    await onSide(side, { signal }, async () => {
      const point = await drillSide(side, task, options);
      if (point === undefined) return;
      side.row.points.push(point);
      const { generation, txid, stateHash, logicalHash } = point;
      if (point.verdict === "FOUND")
        hashes.push({ replica: task.replica, generation, txid, stateHash, logicalHash });
    });
  }
  return { left: [], hashes };
}

/** Undefined: the point is gone, as by a prune. */
async function drillSide(
  side: VerifySide,
  task: PointTask,
  options: DrillAllOptions,
): Promise<VerifiedPoint | undefined> {
  const point = { generation: parseGeneration(task.generation), txId: parseTxId(task.txid) };
  const { reader } = side;
  let failure: unknown;
  // What was merged or pruned since it was listed is found again in a new listing.
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const archive =
      attempt === 0 && side.archive !== undefined
        ? side.archive
        : await openArchive([reader], { signal: options.signal });
    try {
      return pointOf(side, task, await drillPoint({ archive, reader }, point, options));
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!isPageferryError(error, "not-found") && !isPageferryError(error, "gap")) throw error;
      failure = error;
    }
  }
  // An object that is listed and not there is no matter of a prune: a listing shows what was stored before.
  if (isPageferryError(failure, "not-found") && /is not a point/.test(failure.message)) return undefined;
  side.add({ verdict: "LOST", object: null, why: `${task.generation} at ${task.txid}: ${whyOf(failure)}` });
  return undefined;
}

function pointOf(side: VerifySide, { generation, txid }: PointTask, drill: Drill): VerifiedPoint {
  const { broken, stampMs, ...found } = drill;
  for (const { object, why } of broken) {
    const told = object === null ? `${generation} at ${txid}: ${why}` : why;
    side.add({ verdict: "CORRUPT", object, why: told });
  }
  side.row.bytesRead += drill.bytes;
  const time = stampMs === null ? null : formatTime(stampMs);
  return { generation, txid, time, verdict: broken.length === 0 ? "FOUND" : "CORRUPT", ...found };
}

async function readObjects(
  targets: readonly VerifySide[],
  {
    signal,
    cursor,
    isOver,
  }: CallOptions & { readonly cursor: VerifyCursor | undefined; readonly isOver: () => boolean },
): Promise<Record<string, string>> {
  const left: Record<string, string> = {};
  for (const side of targets) {
    const { replica } = side.row;
    const after = cursor === undefined ? "" : cursor.objects[replica];
    if (after === undefined || side.row.error !== null) continue;
    await onSide(side, { signal }, async () => {
      const last = await checkObjects(side, after, { signal, isOver });
      if (last !== undefined) left[replica] = last;
    });
  }
  return left;
}

/** One point gives one state, wherever it is restored from. */
function compare(targets: readonly VerifySide[], hashes: readonly Hashes[]): void {
  for (const side of targets) {
    for (const mine of hashes.filter(({ replica }) => replica === side.row.replica)) {
      const other = hashes.find(
        (one) =>
          one.generation === mine.generation &&
          one.txid === mine.txid &&
          (differ(one.stateHash, mine.stateHash) || differ(one.logicalHash, mine.logicalHash)),
      );
      if (other === undefined) continue;
      const what = differ(other.stateHash, mine.stateHash) ? "state" : "content";
      const why = `${mine.generation} at ${mine.txid}: ${other.replica} gives another ${what}`;
      side.add({ verdict: "FORK", object: null, why });
      const point = side.row.points.find(
        ({ generation, txid }) => generation === mine.generation && txid === mine.txid,
      );
      if (point !== undefined) point.verdict = "FORK";
    }
  }
}

function differ(a: string | null, b: string | null): boolean {
  return a !== null && b !== null && a !== b;
}

async function keepEvidence(
  targets: readonly VerifySide[],
  { signal, now }: CallOptions & { readonly now: () => number },
): Promise<void> {
  for (const { row, store } of targets) {
    for (const { generation, txid, time, verdict, stateHash, logicalHash, ms, bytes, mode } of row.points) {
      try {
        const point = { generation: parseGeneration(generation), txId: parseTxId(txid) };
        const stampMs = time === null ? null : Date.parse(time);
        const found = { verdict, stateHash, logicalHash, ms, bytes, mode };
        const document = {
          version: 1,
          replica: row.replica,
          ...point,
          stampMs,
          verifiedAtMs: now(),
          ...found,
        } as const;
        await putEvidence(store, document, { signal });
      } catch (error) {
        signal?.throwIfAborted();
        if (!isPageferryError(error)) throw error;
        row.warnings.push(`evidence could not be written: ${whyOf(error)}`);
      }
    }
  }
}

function cursorOf(
  targets: readonly VerifySide[],
  drills: Drills,
  objects: Readonly<Record<string, string>>,
  before: VerifyCursor | undefined,
): VerifyCursor {
  const verdicts = targets.map(({ row }) => [row.replica, verdictOf(row, before)] as const);
  return {
    points: drills.left,
    objects,
    verdicts: Object.fromEntries(verdicts),
    hashes: [...(before?.hashes ?? []), ...drills.hashes],
  };
}

function verdictOf({ verdict, replica }: ReplicaVerdict, before: VerifyCursor | undefined): Verdict {
  return worst([before?.verdicts[replica] ?? "FOUND", verdict ?? "FOUND"]);
}

/** A replica of which nothing is known has no verdict; one that was seen broken has, whatever came afterwards. */
function conclude(side: VerifySide, cursor: VerifyCursor | undefined): void {
  const { row } = side;
  stateRemaining(side);
  const verdict = verdictOf(row, cursor);
  row.verdict = row.error !== null && verdict === "FOUND" ? null : verdict;
}
