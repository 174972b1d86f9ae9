// The points of an archive: every (generation, txid) that can be restored, with its time. Pure. See docs/format.md#points.

import type { ArchiveListing, GenerationIndex } from "./archive-listing.ts";
import { generationsNewestFirst } from "./lineage.ts";
import type { Generation } from "./names.ts";
import { type Edge, edgesOf, firstAbove, reachableTxIds } from "./restore-route.ts";
import type { TxId } from "./txid.ts";

/** A state that can be restored. */
export interface Point {
  readonly generation: Generation;
  readonly txId: TxId;
  /** Commit stamp, milliseconds since the epoch; null where neither a name nor anything read tells it. */
  readonly stampMs: number | null;
  /** When the host took it, milliseconds; null where nothing read tells it. */
  readonly receivedMs: number | null;
  /** What kind of object ends here; a snapshot is named before a segment. */
  readonly kind: "snapshot" | "segment" | "pack";
  /** That object. */
  readonly name: string;
  readonly size: number;
}

/** What can be reached in a generation. */
export interface Reach {
  /** Ascending. */
  readonly edges: readonly Edge[];
  /** The points of the generation that can be restored, ascending. */
  readonly txIds: readonly TxId[];
  /** The point of the parent generation that this one begins at, where it begins with a bridge. */
  readonly bridge: { readonly generation: Generation; readonly txId: TxId } | null;
}

/** What a listing leads to does not change, and a plan asks for it several times. */
const reaches = new WeakMap<GenerationIndex, Reach>();

/** What can be reached in a generation, from its snapshots and through its bridge. */
export function reachOf(listing: ArchiveListing, index: GenerationIndex): Reach {
  return reachGuarded(listing, index, new Set());
}

function reachGuarded(listing: ArchiveListing, index: GenerationIndex, open: Set<Generation>): Reach {
  const known = reaches.get(index);
  if (known !== undefined) return known;
  open.add(index.generation);
  const edges = edgesOf(index);
  const bases = index.snapshots.map((snapshot) => snapshot.txId);
  const bridge = bridgeOf(listing, index, open);
  const all = reachableTxIds(edges, bridge === null ? bases : [...bases, bridge.txId]);
  const reach = { edges, bridge, txIds: bridge === null ? all : all.filter((id) => id > bridge.txId) };
  open.delete(index.generation);
  reaches.set(index, reach);
  return reach;
}

/**
 * A generation begins with a bridge when nothing in it lies below its parent's point, and a range begins exactly there. Anything that
 * reaches below shows that its own history passes that txid, with a state of its own.
 */
function bridgeOf(listing: ArchiveListing, index: GenerationIndex, open: Set<Generation>): Reach["bridge"] {
  const parent = index.link?.parent ?? null;
  if (parent === null || open.has(parent.generation)) return null;
  const begins = index.ranges.some((range) => range.parentTxId === parent.txId);
  const reachesBelow =
    index.ranges.some((range) => range.parentTxId < parent.txId) ||
    index.snapshots.some((snapshot) => snapshot.txId <= parent.txId);
  if (!begins || reachesBelow) return null;
  const parentIndex = listing.generations.get(parent.generation);
  if (parentIndex === undefined) return null;
  return hasTxId(reachGuarded(listing, parentIndex, open).txIds, parent.txId) ? parent : null;
}

/** Whether an ascending list holds a transaction. A generation may have a million of them, and thousands of children. */
function hasTxId(txIds: readonly TxId[], id: TxId): boolean {
  let low = 0;
  let high = txIds.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((txIds[middle] as TxId) < id) low = middle + 1;
    else high = middle;
  }
  return txIds[low] === id;
}

/** The points of one generation that can be restored, ascending. */
export function pointsOf(listing: ArchiveListing, index: GenerationIndex): Point[] {
  return pointsIn(index, reachOf(listing, index));
}

function pointsIn(index: GenerationIndex, reach: Pick<Reach, "edges" | "txIds">): Point[] {
  const points: Point[] = [];
  // Of one point of a million the others are not looked at.
  const below = (reach.txIds[0] ?? 0n) - 1n;
  let edgeAt = firstAbove(reach.edges, below);
  let snapshotAt = firstAbove(index.snapshots, below);
  for (const id of reach.txIds) {
    let stampMs: number | null = null;
    let receivedMs: number | null = null;
    let ends: { readonly kind: Point["kind"]; readonly name: string; readonly size: number } | undefined;
    for (
      let edge = reach.edges[edgeAt];
      edge !== undefined && edge.txId <= id;
      edge = reach.edges[++edgeAt]
    ) {
      if (edge.txId !== id) continue;
      stampMs ??= edge.stampMs;
      receivedMs ??= edge.receivedMs;
      ends ??= edge.object;
    }
    let snapshot = index.snapshots[snapshotAt];
    for (; snapshot !== undefined && snapshot.txId <= id; snapshot = index.snapshots[++snapshotAt]) {
      if (snapshot.txId !== id) continue;
      stampMs ??= snapshot.stampMs;
      ends = snapshot;
    }
    if (ends === undefined) continue;
    points.push({
      generation: index.generation,
      txId: id,
      stampMs,
      receivedMs,
      kind: ends.kind,
      name: ends.name,
      size: ends.size,
    });
  }
  return points;
}

/** One point of a generation; undefined where it cannot be restored, or is none. */
export function pointAt(listing: ArchiveListing, index: GenerationIndex, id: TxId): Point | undefined {
  const { edges, txIds } = reachOf(listing, index);
  return hasTxId(txIds, id) ? pointsIn(index, { edges, txIds: [id] })[0] : undefined;
}

/**
 * Every point that can be restored, newest generation first and newest transaction first. Points inside packs are there once the packs'
 * indexes were read (`readPoints`).
 */
export function points(listing: ArchiveListing): Point[] {
  return generationsNewestFirst(listing).flatMap((index) => pointsOf(listing, index).reverse());
}
