// What must be read, beyond names, before a target can be planned: indexes of packs, and commit times of Go-made segments, whose names
// hold none. Pure; archive-reader.ts reads what is asked for here, and asks again.

import type { ArchiveListing, RangeObject } from "./archive-listing.ts";
import { type Ancestor, lineage } from "./lineage.ts";
import { reachOf } from "./points.ts";
import type { RestoreTarget } from "./restore-plan.ts";
import { type Edge, endsIn } from "./restore-route.ts";
import type { TxId } from "./txid.ts";

/** What to read next; both empty: the plan can be made. */
export interface MissingFacts {
  /** Packs whose index is needed. */
  readonly packs: readonly RangeObject[];
  /** Segments whose header is needed, for its time. */
  readonly stamps: readonly RangeObject[];
}

const nothing: MissingFacts = { packs: [], stamps: [] };

/** What a plan of `target` would have to know and does not. Times are searched by halving, so few objects are read. */
export function missingFacts(listing: ArchiveListing, target: RestoreTarget): MissingFacts {
  const ancestors = lineage(listing, target.generation);
  const seams = seamPacks(listing, ancestors, target);
  if (seams.length > 0) return { packs: seams, stamps: [] };
  if (target.txId === undefined && target.timestampMs === undefined) return nothing;
  for (const ancestor of ancestors) {
    const { isFound, missing } =
      target.txId === undefined
        ? missingForTime(listing, ancestor, target.timestampMs as number)
        : missingForTransaction(listing, ancestor, target.txId);
    if (isFound || missing.packs.length + missing.stamps.length > 0) return missing;
  }
  return nothing;
}

/**
 * A bridge may begin inside of a pack of the parent: whether that is a point only its index tells. It matters to what no snapshot of the
 * child's own lies below.
 */
function seamPacks(
  listing: ArchiveListing,
  ancestors: readonly Ancestor[],
  { txId, timestampMs }: RestoreTarget,
): RangeObject[] {
  return ancestors.flatMap(({ index, leftAt }, at) => {
    const base = ancestors[at - 1]?.index.snapshots[0];
    const isBelow =
      base === undefined ||
      (txId !== undefined && txId < base.txId) ||
      (timestampMs !== undefined && timestampMs < base.stampMs);
    if (leftAt === null || !isBelow || endsAt(listing, index, leftAt)) return [];
    return unreadPacks(index.ranges, leftAt, leftAt);
  });
}

function endsAt(listing: ArchiveListing, index: Ancestor["index"], id: TxId): boolean {
  return endsIn(reachOf(listing, index).edges, id) || endsIn(index.snapshots, id);
}

interface Answer {
  /** The target lies in this generation: no need to look into its parents. */
  readonly isFound: boolean;
  readonly missing: MissingFacts;
}

function missingForTransaction(listing: ArchiveListing, { index, leftAt }: Ancestor, id: TxId): Answer {
  // Above the point at which it was left it is another history: an older generation may hold the transaction in this one.
  if (endsAt(listing, index, id)) {
    // What leads to it may lie inside of a pack that goes beyond it.
    const { txIds } = reachOf(listing, index);
    const below = txIds.findLast((reached) => reached <= id);
    const packs = below === id ? [] : unreadPacks(index.ranges, below ?? (0n as TxId), id);
    return { isFound: leftAt === null || id <= leftAt, missing: { packs, stamps: [] } };
  }
  return { isFound: false, missing: { packs: unreadPacks(index.ranges, id, id), stamps: [] } };
}

/** Packs whose index was not read, and that may hold a point in [from, to] other than their end. */
function unreadPacks(ranges: readonly RangeObject[], from: TxId, to: TxId): RangeObject[] {
  return ranges.filter(
    (range) =>
      range.kind === "pack" && range.points === undefined && range.parentTxId < to && range.txId > from,
  );
}

/** Stamps never fall from one transaction to the next, so the boundary of a time is found by halving. */
function missingForTime(listing: ArchiveListing, { index, leftAt }: Ancestor, timestampMs: number): Answer {
  const stamped = stampedEnds(listing, index).filter(({ txId }) => leftAt === null || txId <= leftAt);
  const before = stamped.findLastIndex((end) => end.stampMs !== null && end.stampMs <= timestampMs);
  const found = stamped.findIndex((end, at) => at > before && end.stampMs !== null);
  const after = found === -1 ? stamped.length : found;
  const oldest = reachOf(listing, index).txIds[0];
  const isFound = before !== -1 && oldest !== undefined && oldest <= (stamped[before] as StampedEnd).txId;
  const unknown = after - before - 1;
  if (unknown > 0) {
    const middle = stamped[before + Math.ceil(unknown / 2)]?.edge;
    if (middle !== undefined) return { isFound, missing: { packs: [], stamps: [middle.object] } };
  }
  const from = stamped[before]?.txId;
  // Where a child left it inside of a pack, the points before that are still in it.
  const to = stamped[after]?.txId ?? (leftAt === null ? undefined : leftAt + 1n);
  if (to === undefined) return { isFound, missing: nothing };
  return {
    isFound,
    missing: { packs: unreadPacks(index.ranges, from ?? (0n as TxId), (to - 1n) as TxId), stamps: [] },
  };
}

interface StampedEnd {
  readonly txId: TxId;
  readonly stampMs: number | null;
  readonly edge: Edge | undefined;
}

/** Each end of a range or snapshot once, ascending, with the best known time and, where that is unknown, an object to ask. */
function stampedEnds(listing: ArchiveListing, index: Ancestor["index"]): StampedEnd[] {
  const { edges } = reachOf(listing, index);
  const ends: StampedEnd[] = [];
  const add = (end: StampedEnd): void => {
    const last = ends.at(-1);
    if (last?.txId !== end.txId) ends.push(end);
    else if (last.stampMs === null) ends[ends.length - 1] = end;
  };
  let snapshotAt = 0;
  // Of one transaction the edge comes first: both lists ascend.
  for (const edge of edges) {
    for (let one = index.snapshots[snapshotAt]; one !== undefined && one.txId < edge.txId; ) {
      add({ txId: one.txId, stampMs: one.stampMs, edge: undefined });
      one = index.snapshots[++snapshotAt];
    }
    add({ txId: edge.txId, stampMs: edge.stampMs, edge });
  }
  for (const { txId, stampMs } of index.snapshots.slice(snapshotAt)) add({ txId, stampMs, edge: undefined });
  return ends;
}
