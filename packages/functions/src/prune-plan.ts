// Which objects of an archive may go: a pure decision over names. A generation keeps what its kept points need, its newest
// point always, and the points other generations begin at. Whole generations are never dropped here.

import type {
  ArchiveListing,
  Generation,
  GenerationIndex,
  RangeObject,
  SnapshotObject,
  TxId,
} from "@pageferry/format";
import { type Point, points } from "@pageferry/format";
import { createCoverage } from "./coverage.ts";

export interface PrunePolicy {
  /** Every point younger than this is kept. */
  readonly snapshotRetentionMs: number;
  /** The least distance of kept snapshots; 0 keeps all. A snapshot goes only where segments lead to its point as well. */
  readonly snapshotIntervalMs: number;
  /** Points that somebody is reading, or has pinned. */
  readonly keep?: readonly { readonly generation: Generation; readonly txId: TxId }[];
  /** Only this generation. */
  readonly generation?: Generation;
}

/** The names to remove, those nothing can miss first: an interrupted prune leaves every kept point whole. */
export function planPrune(listing: ArchiveListing, policy: PrunePolicy, nowMs: number): string[] {
  const doomed: string[] = [];
  const byGeneration = Map.groupBy(points(listing), (point) => point.generation);
  for (const index of listing.generations.values()) {
    if (policy.generation !== undefined && index.generation !== policy.generation) continue;
    const oldest = oldestNeeded(listing, byGeneration.get(index.generation) ?? [], policy, nowMs);
    if (oldest !== undefined) doomed.push(...planGeneration(index, oldest, policy));
  }
  return doomed;
}

function planGeneration(index: GenerationIndex, oldest: TxId, policy: PrunePolicy): string[] {
  // What is reached from an older snapshot passes this one, or ends in it: every later point is reached from here as well.
  const base = index.snapshots.findLast((snapshot) => snapshot.txId <= oldest);
  // Its oldest points come through the bridge from its parent: everything is needed.
  if (base === undefined) return [];
  const isNeeded = (object: RangeObject | SnapshotObject) => object.txId >= base.txId;
  const ranges = index.ranges.filter((range) => range.txId <= base.txId);
  const snapshots = index.snapshots.filter((snapshot) => !isNeeded(snapshot));
  const kept = index.snapshots.filter(isNeeded);
  return [...thinned(index, kept, policy.snapshotIntervalMs), ...ranges, ...snapshots].map(
    (object) => object.name,
  );
}

/** The oldest transaction of a generation that must stay restorable; `undefined` where nothing can be restored at all. */
function oldestNeeded(
  listing: ArchiveListing,
  newestFirst: readonly Point[],
  policy: PrunePolicy,
  nowMs: number,
): TxId | undefined {
  const newest = newestFirst[0];
  if (newest === undefined) return undefined;
  const { generation } = newest;
  const cutoffMs = nowMs - policy.snapshotRetentionMs;
  const young =
    newestFirst.findLast((point) => point.stampMs === null || point.stampMs >= cutoffMs) ?? newest;
  const others = [...listing.generations.values()].map((other) => other.link?.parent ?? null);
  const read = [...others, ...(policy.keep ?? [])].filter((point) => point?.generation === generation);
  const needed = [newest.txId, young.txId, ...read.flatMap((point) => (point === null ? [] : [point.txId]))];
  let [oldest] = needed as [TxId];
  for (const id of needed) if (id < oldest) oldest = id;
  return oldest;
}

/** Snapshots closer than the interval to the kept one before them, whose very point segments lead to as well. */
function thinned(
  index: GenerationIndex,
  kept: readonly SnapshotObject[],
  intervalMs: number,
): SnapshotObject[] {
  const gone: SnapshotObject[] = [];
  let last = kept[0];
  if (intervalMs <= 0 || last === undefined) return gone;
  const edges = index.ranges.flatMap((range) =>
    (range.points ?? [range]).map((point) => ({ parentTxId: range.parentTxId, txId: point.txId })),
  );
  edges.sort((a, b) => (a.txId < b.txId ? -1 : 1));
  // Only ranges that end at or before a snapshot can lead to it: one that goes beyond would skip its point.
  const coverage = createCoverage();
  let added = 0;
  for (const snapshot of kept.slice(1, -1)) {
    for (let edge = edges[added]; edge !== undefined && edge.txId <= snapshot.txId; edge = edges[++added]) {
      coverage.add(edge.parentTxId, edge.txId);
    }
    const isClose = snapshot.stampMs - last.stampMs < intervalMs;
    if (isClose && coverage.reachFrom(last.txId) === snapshot.txId) gone.push(snapshot);
    else last = snapshot;
  }
  return gone;
}
