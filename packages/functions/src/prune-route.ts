// Within one generation: the cheapest objects that lead to all points that stay. Pure arithmetic on txids, in one sweep from the oldest kept
// point to the newest; prune-plan.ts gives it meaning.

import type { Edge, RangeObject, SnapshotObject, TxId } from "@pageferry/format";

export interface KeptRouteOptions {
  /** Ascending by txid. */
  readonly edges: readonly Edge[];
  /** Ascending by txid. */
  readonly snapshots: readonly SnapshotObject[];
  /** Where the generation begins in its parent's history, if it does. */
  readonly bridge: TxId | null;
  /** The points that stay, ascending. Each must be within reach. */
  readonly kept: readonly TxId[];
  /** Whether an object stays in any case. */
  readonly isFree: (object: RangeObject | SnapshotObject) => boolean;
}

export interface KeptRoute {
  readonly objects: ReadonlySet<RangeObject | SnapshotObject>;
  /** Whether some point is reached from the parent generation alone. */
  readonly usesBridge: boolean;
  /** Points without a way: none, if each is within reach. */
  readonly lost: readonly TxId[];
}

/** A way to a state: what it costs since its base, which of these objects came last, and what was before it. */
interface Way {
  readonly txId: TxId;
  readonly cost: number;
  readonly object: RangeObject | SnapshotObject | undefined;
  readonly before: Way | undefined;
}

/** An object costs its bytes, and as much as so many more for being asked for: a thousand tiny ones are no bargain. */
const objectCostBytes = 64 * 1024;

/** A way through the parent is taken only where there is no other: it would keep the parent's objects as well. */
const bridgeCost = 2 ** 52;

/**
 * Goes from each kept point to the next by the cheapest ranges, or begins anew from a snapshot, whichever is less: a snapshot is weighed against
 * all ranges since the last one, so that no point is ever further from its base than a snapshot's worth of bytes.
 */
export function cheapestRoute(options: KeptRouteOptions): KeptRoute {
  const { edges, snapshots, bridge, kept } = options;
  const objects = new Set<RangeObject | SnapshotObject>();
  const lost: TxId[] = [];
  let usesBridge = false;
  let start: Way | undefined =
    bridge === null ? undefined : { txId: bridge, cost: bridgeCost, object: undefined, before: undefined };
  const costOf = (object: RangeObject | SnapshotObject): number =>
    objects.has(object) || options.isFree(object) ? 0 : object.size + objectCostBytes;
  const bridged = start;
  let edgeAt = 0;
  let snapshotAt = 0;
  for (const target of kept) {
    const ahead = createAhead(start);
    let reached: Way | undefined = start?.txId === target ? start : undefined;
    for (;;) {
      const [edge, snapshot] = [edges[edgeAt], snapshots[snapshotAt]];
      const txId = lower(edge?.txId, snapshot?.txId);
      if (txId === undefined || txId > target) break;
      let best: Way | undefined;
      for (let one = snapshot; one?.txId === txId; one = snapshots[++snapshotAt]) {
        best = cheaper(best, { txId, cost: costOf(one), object: one, before: undefined });
      }
      for (let one = edge; one?.txId === txId; one = edges[++edgeAt]) {
        const before = ahead.from(one.parentTxId);
        if (before === undefined) continue;
        best = cheaper(best, { txId, cost: before.cost + costOf(one.object), object: one.object, before });
      }
      if (best !== undefined) ahead.push(best);
      reached = best;
    }
    if (reached?.txId !== target) {
      lost.push(target);
      continue;
    }
    let way: Way | undefined = reached;
    let base: Way = reached;
    for (; way !== undefined && way !== start; way = way.before) {
      base = way;
      if (way.object !== undefined) objects.add(way.object);
    }
    if (way !== undefined && way === bridged) usesBridge = true;
    // A snapshot is the base: what is weighed against the next one is only what came since.
    const baseCost = way === undefined ? base.cost : way === bridged ? bridgeCost : 0;
    start = { txId: target, cost: reached.cost - baseCost, object: undefined, before: undefined };
  }
  return { objects, usesBridge, lost };
}

function lower(a: TxId | undefined, b: TxId | undefined): TxId | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a < b ? a : b;
}

function cheaper(best: Way | undefined, way: Way): Way {
  return best !== undefined && best.cost <= way.cost ? best : way;
}

/** Ways to states between two kept points, of which each is the cheapest of all that begin at or above it. */
function createAhead(start: Way | undefined) {
  const ways: Way[] = start === undefined ? [] : [start];
  return {
    push(way: Way): void {
      // An earlier one that costs as much serves no range that this one does not serve.
      for (let last = ways.at(-1); last !== undefined && last.cost >= way.cost; last = ways.at(-1))
        ways.pop();
      ways.push(way);
    },
    /** The cheapest way to a state that a range from `parentTxId` can be applied to. */
    from(parentTxId: TxId): Way | undefined {
      let low = 0;
      let high = ways.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((ways[middle] as Way).txId < parentTxId) low = middle + 1;
        else high = middle;
      }
      return ways[low];
    },
  };
}
