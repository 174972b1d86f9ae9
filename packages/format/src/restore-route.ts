// Which states of one generation can be reached, and with the fewest objects. Ranges (P, T] may overlap: one may be applied to any
// state in [P, T). Pure arithmetic on txids; restore-plan.ts gives it meaning. See docs/format.md#ranges.

import { byBigInt, type GenerationIndex, type RangeObject } from "./archive-listing.ts";
import type { TxId } from "./txid.ts";

/** One way forward: to `txId` from any state in [parentTxId, txId). */
export interface Edge {
  readonly parentTxId: TxId;
  readonly txId: TxId;
  readonly stampMs: number | null;
  /** When the host took what ends here, where a pack tells it. */
  readonly receivedMs: number | null;
  readonly object: RangeObject;
}

/** An edge as it is used: from the state `from`. */
export interface RouteStep {
  readonly from: TxId;
  readonly edge: Edge;
}

/**
 * All edges of a generation, ascending by txid. A pack whose index is known gives one for each of its points, since it can be
 * applied up to any of them; a pack whose index is not known leads to its end only.
 */
export function edgesOf(index: GenerationIndex): Edge[] {
  const edges: Edge[] = [];
  for (const object of index.ranges) {
    const { parentTxId } = object;
    if (object.points === undefined) {
      edges.push({ parentTxId, txId: object.txId, stampMs: object.stampMs, receivedMs: null, object });
      continue;
    }
    for (const { txId, stampMs, receivedMs = null } of object.points)
      edges.push({ parentTxId, txId, stampMs, receivedMs, object });
  }
  return edges.sort((a, b) => byBigInt(a.txId, b.txId) || byBigInt(a.parentTxId, b.parentTxId));
}

/** Every state that edges (ascending) lead to from one of the bases, the bases included, ascending. */
export function reachableTxIds(edges: readonly Edge[], bases: Iterable<TxId>): TxId[] {
  const starts = [...new Set(bases)].sort(byBigInt);
  const reached: TxId[] = [];
  let below: TxId | undefined;
  let newest: TxId | undefined;
  let nextStart = 0;
  const add = (id: TxId): void => {
    if (id === newest) return;
    below = newest;
    newest = id;
    reached.push(id);
  };
  for (const edge of edges) {
    for (
      let start = starts[nextStart];
      start !== undefined && start <= edge.txId;
      start = starts[++nextStart]
    )
      add(start);
    const from = newest === edge.txId ? below : newest;
    if (from !== undefined && from >= edge.parentTxId) add(edge.txId);
  }
  for (; nextStart < starts.length; nextStart += 1) add(starts[nextStart] as TxId);
  return reached;
}

/** Where, in a list that ascends by txid, the first one above `id` is. There may be a million. */
export function firstAbove(list: readonly { readonly txId: TxId }[], id: bigint): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle] as { readonly txId: TxId }).txId > id) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Whether one of a list that ascends by txid is at `id`. */
export function endsIn(list: readonly { readonly txId: TxId }[], id: TxId): boolean {
  return list[firstAbove(list, id) - 1]?.txId === id;
}

/** The oldest state from which edges (ascending) lead to `target`: any state between the two does as well. */
export function earliestStart(edges: readonly Edge[], target: TxId): TxId {
  let earliest = target;
  for (let at = firstAbove(edges, target) - 1; at >= 0; at -= 1) {
    const edge = edges[at] as Edge;
    if (edge.txId < earliest) break;
    if (edge.parentTxId < earliest) earliest = edge.parentTxId;
  }
  return earliest;
}

/**
 * The fewest edges from one state to a later one: always the one that leads farthest, and of these the smallest object. Undefined
 * where there is no way.
 */
export function shortestRoute(edges: readonly Edge[], from: TxId, to: TxId): RouteStep[] | undefined {
  const ahead = edges.slice(firstAbove(edges, from), firstAbove(edges, to));
  ahead.sort((a, b) => byBigInt(a.parentTxId, b.parentTxId));
  const route: RouteStep[] = [];
  let reached = from;
  let next = 0;
  let best: Edge | undefined;
  while (reached < to) {
    for (let edge = ahead[next]; edge !== undefined && edge.parentTxId <= reached; edge = ahead[++next]) {
      if (best === undefined || isBetter(edge, best)) best = edge;
    }
    if (best === undefined || best.txId <= reached) return undefined;
    route.push({ from: reached, edge: best });
    reached = best.txId;
  }
  return route;
}

function isBetter(edge: Edge, than: Edge): boolean {
  return edge.txId > than.txId || (edge.txId === than.txId && edge.object.size < than.object.size);
}
