// The timeline of an archive: per generation, from when to when it can be restored, how finely, and what lies out of reach. Pure. See
// docs/format.md#points.

import type { ArchiveListing, GenerationIndex } from "./archive-listing.ts";
import { generationsNewestFirst } from "./lineage.ts";
import type { Generation } from "./names.ts";
import { type Point, pointsOf, type Reach, reachOf } from "./points.ts";
import { type Edge, earliestStart } from "./restore-route.ts";
import type { TxId } from "./txid.ts";

/** How far points lie apart. */
export interface Granularity {
  /** For people: "every commit", "1 s", "5 min", "one point", "unknown". */
  readonly word: string;
  /** The median distance of neighbours, ms; null where fewer than two times are known. */
  readonly ms: number | null;
  /** The median distance of neighbours in transactions; null where there is one point. */
  readonly txIds: number | null;
}

/** Points that follow one another about as closely as each other. */
export interface Stretch {
  readonly from: Point;
  readonly to: Point;
  readonly points: number;
  /** Snapshots among them. */
  readonly snapshots: number;
  /** Bytes of the objects that end in it. */
  readonly bytes: number;
  readonly granularity: Granularity;
  /** Whether it goes on from the stretch before it; false: transactions between the two are no points. */
  readonly follows: boolean;
}

/** Transactions that cannot be restored, between two points or beyond the last. */
export interface Hole {
  /** The last point before it; null: nothing can be restored below it. */
  readonly after: TxId | null;
  /** The first point above it; null: nothing can be restored beyond it. */
  readonly before: TxId | null;
  /** (from, to] is missing: with it, what lies beyond could be reached. */
  readonly missing: { readonly from: TxId; readonly to: TxId };
  /** Ends of objects that are there and cannot be reached; 0: nothing lies between, as where a snapshot was taken anew. */
  readonly unreachable: number;
}

/** One generation in time. */
export interface GenerationTimeline {
  readonly generation: Generation;
  readonly parent: { readonly generation: Generation; readonly txId: TxId } | null;
  /** Null: the Go implementation wrote it, or its generation.json is no use. */
  readonly epoch: number | null;
  readonly points: number;
  readonly bytes: number;
  /** Newest first. */
  readonly stretches: readonly Stretch[];
  /** Newest first. */
  readonly holes: readonly Hole[];
}

/** Distances from here on are called by the nearest of these. */
const ladder: readonly (readonly [ms: number, word: string])[] = [
  [1000, "1 s"],
  [5000, "5 s"],
  [10_000, "10 s"],
  [30_000, "30 s"],
  [60_000, "1 min"],
  [300_000, "5 min"],
  [900_000, "15 min"],
  [1_800_000, "30 min"],
  [3_600_000, "1 h"],
  [21_600_000, "6 h"],
  [43_200_000, "12 h"],
  [86_400_000, "1 d"],
  [604_800_000, "7 d"],
  [2_592_000_000, "30 d"],
];

/** Classes of distances, ms: what is merged by seconds, by minutes, by hours and by days are stretches of their own. */
const classesMs = [10_000, 120_000, 1_200_000, 10_800_000, 172_800_000] as const;

/** So many distances in a row of another class begin a new stretch: fewer are an idle or a busy moment. */
const classRunMin = 16;

/** The timeline, newest generation first. Points inside packs count once the packs' indexes were read (`readPoints`). */
export function timelineOf(listing: ArchiveListing): GenerationTimeline[] {
  return generationsNewestFirst(listing).map((index) => {
    const reach = reachOf(listing, index);
    const points = pointsOf(listing, index);
    const runs = joinSnapshots(runsOf(points, reach)).flatMap(byClass);
    return {
      generation: index.generation,
      parent: index.link?.parent ?? null,
      epoch: index.link?.epoch ?? null,
      points: points.length,
      bytes: [...index.ranges, ...index.snapshots].reduce((sum, { size }) => sum + size, 0),
      stretches: stretchesOf(runs, index).reverse(),
      holes: holesOf(points, reach).reverse(),
    };
  });
}

interface Run {
  readonly points: readonly Point[];
  readonly follows: boolean;
}

/** Cuts where a point is not reached from the one before it. */
function runsOf(points: readonly Point[], { edges, bridge }: Reach): Run[] {
  const runs: Run[] = [];
  let begin = 0;
  let at = 0;
  let before = bridge?.txId;
  for (const [index, { txId }] of points.entries()) {
    let isReached = false;
    for (let edge = edges[at]; edge !== undefined && edge.txId <= txId; edge = edges[++at]) {
      if (edge.txId === txId && before !== undefined && edge.parentTxId <= before) isReached = true;
    }
    if (!isReached && index > begin) {
      runs.push({ points: points.slice(begin, index), follows: false });
      begin = index;
    }
    before = txId;
  }
  if (points.length > begin) runs.push({ points: points.slice(begin), follows: false });
  return runs;
}

/** Snapshots alone, as the daily ones that retention keeps, are one stretch. */
function joinSnapshots(runs: readonly Run[]): Run[] {
  const joined: Point[][] = [];
  let isOpen = false;
  for (const { points } of runs) {
    const last = joined.at(-1);
    const isAlone = points.length === 1;
    if (isAlone && isOpen && last !== undefined) last.push(points[0] as Point);
    else joined.push([...points]);
    isOpen = isAlone;
  }
  return joined.map((points) => ({ points, follows: false }));
}

/** Cuts where points begin to lie clearly closer together or farther apart, and stay so. */
function byClass({ points }: Run): Run[] {
  const runs: Run[] = [];
  let begin = 0;
  let current: number | undefined;
  let other: number | undefined;
  let otherFrom = 0;
  for (let at = 1; at < points.length; at += 1) {
    const found = classOf(points[at - 1] as Point, points[at] as Point);
    current ??= found;
    if (found === current) {
      other = undefined;
      continue;
    }
    if (found !== other) [other, otherFrom] = [found, at];
    if (at - otherFrom + 1 < classRunMin) continue;
    // What began before the new class showed itself for good is its own; a stretch of one point would say nothing.
    if (otherFrom - begin > 1) {
      runs.push({ points: points.slice(begin, otherFrom), follows: begin > 0 });
      begin = otherFrom;
    }
    [current, other] = [found, undefined];
  }
  runs.push({ points: points.slice(begin), follows: begin > 0 });
  return runs;
}

/** -1: every commit is a point. */
function classOf(a: Point, b: Point): number {
  if (b.txId - a.txId === 1n) return -1;
  if (a.stampMs === null || b.stampMs === null) return classesMs.length + 1;
  const ms = b.stampMs - a.stampMs;
  const found = classesMs.findIndex((bound) => ms < bound);
  return found === -1 ? classesMs.length : found;
}

function stretchesOf(runs: readonly Run[], index: GenerationIndex): Stretch[] {
  let rangeAt = 0;
  let snapshotAt = 0;
  return runs.map(({ points, follows }) => {
    const [from, to] = [points[0] as Point, points.at(-1) as Point];
    let bytes = 0;
    let snapshots = 0;
    for (let range = index.ranges[rangeAt]; range !== undefined && range.txId <= to.txId; ) {
      bytes += range.size;
      range = index.ranges[++rangeAt];
    }
    for (let one = index.snapshots[snapshotAt]; one !== undefined && one.txId <= to.txId; ) {
      bytes += one.size;
      if (one.txId >= from.txId) snapshots += 1;
      one = index.snapshots[++snapshotAt];
    }
    return { from, to, points: points.length, snapshots, bytes, granularity: granularityOf(points), follows };
  });
}

function granularityOf(points: readonly Point[]): Granularity {
  if (points.length === 1) return { word: "one point", ms: null, txIds: null };
  const txIds: number[] = [];
  const times: number[] = [];
  for (let at = 1; at < points.length; at += 1) {
    const [a, b] = [points[at - 1] as Point, points[at] as Point];
    txIds.push(Number(b.txId - a.txId));
    if (a.stampMs !== null && b.stampMs !== null) times.push(b.stampMs - a.stampMs);
  }
  const isEvery = txIds.every((distance) => distance === 1);
  const ms = times.length === 0 ? null : median(times);
  return { word: isEvery ? "every commit" : wordOf(ms), ms, txIds: median(txIds) };
}

function wordOf(ms: number | null): string {
  if (ms === null) return "unknown";
  if (ms < 750) return "below 1 s";
  const distance = (at: number): number => Math.abs(Math.log(ms / (ladder[at]?.[0] ?? 1)));
  let best = 0;
  for (let at = 1; at < ladder.length; at += 1) if (distance(at) < distance(best)) best = at;
  return ladder[best]?.[1] ?? "unknown";
}

function median(values: number[]): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[sorted.length >> 1] as number;
}

/** Between two points that do not follow one another, below the first, and beyond the last. */
function holesOf(points: readonly Point[], { edges, bridge }: Reach): Hole[] {
  const holes: Hole[] = [];
  const add = (after: TxId | null, before: TxId | null, lost: readonly Edge[]): void => {
    const [first] = lost;
    const to = first === undefined ? before : earliestStart(edges, first.txId);
    if (to === null) return;
    const missing = { from: after ?? (0n as TxId), to };
    holes.push({ after, before, missing, unreachable: new Set(lost.map(({ txId }) => txId)).size });
  };
  let at = 0;
  let after = bridge?.txId ?? null;
  for (const { txId } of points) {
    const lost: Edge[] = [];
    let isReached = false;
    for (let edge = edges[at]; edge !== undefined && edge.txId <= txId; edge = edges[++at]) {
      if (edge.txId < txId) lost.push(edge);
      else if (after !== null && edge.parentTxId <= after) isReached = true;
    }
    // Below the first point nothing is missing but where something lies there that cannot be reached; what a range passes over was merged.
    if (!isReached && (after !== null || lost.length > 0)) add(after, txId, lost);
    after = txId;
  }
  const beyond = edges.slice(at);
  if (beyond.length > 0) add(after, null, beyond);
  return holes;
}
