// Which contiguous objects become one: for each window of time that is closed, one range from the state before it to its last point. A pure
// decision over names. Windows are cut where windows.ts says, so that every replica is compacted alike, whoever does it, and twice is once.

import {
  type ArchiveListing,
  type Edge,
  edgesOf,
  type Generation,
  type GenerationIndex,
  type PlanStep,
  type RouteStep,
  segmentName,
  shortestRoute,
  type TxId,
} from "@pageferry/format";
import { endsWindow, isWindowOver } from "./windows.ts";

/** A range to make out of others. */
export interface Merge {
  readonly generation: Generation;
  readonly level: number;
  /** The name of the result, which says all that it holds. */
  readonly name: string;
  readonly parentTxId: TxId;
  readonly txId: TxId;
  readonly stampMs: number;
  /** Two or more objects, oldest first; or one pack. */
  readonly sources: readonly PlanStep[];
}

export interface CompactPolicy {
  /** Windows, finest first. */
  readonly levelsMs: readonly number[];
  readonly nowMs: number;
}

/** The merges of one level that are due, oldest first. Those of the finer levels are to be carried out before, and are its sources. */
export function planMerges(listing: ArchiveListing, level: number, policy: CompactPolicy): Merge[] {
  return [...listing.generations.values()].flatMap((index) => mergesIn(index, level, policy));
}

/** A point, and the edges that end in it. */
interface End {
  readonly txId: TxId;
  readonly stampMs: number | null;
  /** Where its edges lie among all: from `first` to `last`, exclusive. */
  readonly first: number;
  readonly last: number;
}

function mergesIn(index: GenerationIndex, level: number, policy: CompactPolicy): Merge[] {
  // Without a time in its name an object is of another hand, and stays as it is.
  const edges = edgesOf(index).filter(({ stampMs }) => stampMs !== null);
  const ends = endsOf(edges);
  const merges: Merge[] = [];
  const isLast = level === policy.levelsMs.length - 1;
  let before: End | undefined;
  let first = 0;
  for (const [at, end] of ends.entries()) {
    const next = ends[at + 1];
    const isEnd = next === undefined || endsWindow(end, next, level, policy.levelsMs);
    if (!isEnd) continue;
    const isClosed = next !== undefined || isWindowOver(end, level, policy.levelsMs, policy.nowMs);
    const within = edges.slice(ends[first]?.first, end.last);
    const isAlone = within.length < 2 && !(isLast && within[0]?.object.kind === "pack");
    if (isClosed && !isAlone)
      merges.push(...mergesOf(index.generation, { level, isLast }, within, before?.txId));
    before = end;
    first = at + 1;
  }
  return merges;
}

function endsOf(edges: readonly Edge[]): End[] {
  const ends: End[] = [];
  for (let first = 0; first < edges.length; ) {
    const { txId, stampMs } = edges[first] as Edge;
    let last = first + 1;
    while (last < edges.length && edges[last]?.txId === txId) last += 1;
    ends.push({ txId, stampMs, first, last });
    first = last;
  }
  return ends;
}

/**
 * What joins the edges of one window; a hole in it stays a hole, with a range on each side of it. A pack is one object, and no range: it holds
 * every page of its segments, and the Go implementation's readers know none. The last level makes a range of it.
 */
function mergesOf(
  generation: Generation,
  { level, isLast }: { readonly level: number; readonly isLast: boolean },
  edges: readonly Edge[],
  before: TxId | undefined,
): Merge[] {
  const merges: Merge[] = [];
  for (const { from, to } of stretchesOf(edges, before)) {
    const isJoined = edges.some(
      ({ parentTxId, txId, object }) =>
        txId === to && parentTxId <= from && (object.kind === "segment" || !isLast),
    );
    const route = isJoined ? undefined : shortestRoute(edges, from, to);
    if (route === undefined || (route.length < 2 && !isLast)) continue;
    const stampMs = route.at(-1)?.edge.stampMs as number;
    const name = segmentName({ generation, parentTxId: from, txId: to, stampMs });
    merges.push({ generation, level, name, parentTxId: from, txId: to, stampMs, sources: stepsOf(route) });
  }
  return merges;
}

interface Stretch {
  readonly from: TxId;
  readonly to: TxId;
}

/** Contiguous stretches of the edges, ascending; the first begins at `before` where an edge leads on from there. */
function stretchesOf(edges: readonly Edge[], before: TxId | undefined): Stretch[] {
  const ascending = edges.toSorted((a, b) =>
    a.parentTxId < b.parentTxId ? -1 : a.parentTxId > b.parentTxId ? 1 : 0,
  );
  const stretches: { from: TxId; to: TxId }[] = [];
  for (const { parentTxId, txId } of ascending) {
    const from = before !== undefined && parentTxId < before ? before : parentTxId;
    const open = stretches.at(-1);
    if (open === undefined || from > open.to) stretches.push({ from, to: txId });
    else if (txId > open.to) open.to = txId;
  }
  return stretches;
}

function stepsOf(route: readonly RouteStep[]): PlanStep[] {
  return route.map(({ from, edge }) => {
    const { kind, name, size, generation, parentTxId, txId: lastTxId } = edge.object;
    return { kind, name, size, generation, parentTxId, lastTxId, from, to: edge.txId, stampMs: edge.stampMs };
  });
}
