// The fewest objects to copy so that every replica of a database can restore what any of them can, or all of them together: a pure decision
// over listings. It compares points, not names: what retention no longer keeps, and what a replica holds merged into a longer range, was
// removed on purpose and does not come back. See docs/operations.md#repair.

import {
  type ArchiveFacts,
  type ArchiveListing,
  edgesOf,
  type Generation,
  type GenerationIndex,
  generationJsonName,
  indexArchive,
  type ListedObject,
  parseObjectName,
  reachOf,
  type TxId,
  withoutObjects,
} from "@pageferry/format";
import { type PrunePolicy, planPrune } from "./prune-plan.ts";
import { planRoute, type RouteObject } from "./repair-route.ts";

/** An object to copy. */
export interface RepairCopy {
  /** Index of the replica that lacks it. */
  readonly to: number;
  readonly name: string;
  readonly size: number;
  /** Indexes of the replicas that have it, in their order. */
  readonly from: readonly number[];
}

export interface RepairPlan {
  /** Per replica generation.json first, then snapshots, then ranges, oldest first: what was copied so far is always of use. */
  readonly copies: readonly RepairCopy[];
  /** Points that all replicas together can restore, within retention. */
  readonly points: number;
}

export interface RepairPlanOptions {
  /** What names do not tell, of all objects. */
  readonly facts?: ArchiveFacts;
  /** What retention keeps; absent: everything. */
  readonly policy?: PrunePolicy | undefined;
  readonly nowMs: number;
}

/** Plans the repair of one database. `holdings`: what each replica lists, without objects that are known to be broken. */
export function planRepair(
  holdings: readonly (readonly ListedObject[])[],
  options: RepairPlanOptions,
): RepairPlan {
  const union = indexArchive(holdings.flat(), options.facts);
  const { policy, nowMs } = options;
  const removals = policy === undefined ? [] : planPrune(union, policy, nowMs).doomed;
  const doomed = new Set(removals.map(({ name }) => name));
  const kept = withoutObjects(union, doomed);
  const bridges = bridgePoints(kept);
  const sizes = holdings.map((objects) => new Map(objects.map(({ name, size }) => [name, size])));
  const copies: RepairCopy[] = [];
  let points = 0;
  for (const index of union.generations.values()) {
    const { generation } = index;
    const keptIndex = kept.generations.get(generation) as GenerationIndex;
    const { txIds, bridge } = reachOf(kept, keptIndex);
    points += txIds.length;
    for (const [to, own] of sizes.entries()) {
      const isUsable = ({ name }: ListedObject): boolean => own.has(name) || !doomed.has(name);
      const usable = {
        ...index,
        ranges: index.ranges.filter(isUsable),
        snapshots: index.snapshots.filter(isUsable),
      };
      const wanted = new Set(txIds);
      const mergedOver = mergedOverOn(usable, own, wanted);
      const added = planRoute({
        edges: edgesOf(usable),
        snapshots: usable.snapshots,
        own: (name) => own.has(name),
        required: new Set(txIds.filter((id) => !mergedOver(id) || bridges.get(generation)?.has(id) === true)),
        bridge: bridge?.txId,
      });
      // Nobody is given the beginning of a generation that is about to go.
      const isGone = doomed.has(generationJsonName(generation));
      for (const name of inOrder(generation, added, usable, own, isGone ? [] : sizes)) {
        const from = sizes.flatMap((held, at) => (held.has(name) ? [at] : []));
        copies.push({ to, name, size: sizes[from[0] as number]?.get(name) ?? 0, from });
      }
    }
  }
  return { copies: copies.sort((a, b) => a.to - b.to), points };
}

/** Points that other generations begin at: without them these cannot be restored, whatever a replica holds around them. */
function bridgePoints(kept: ArchiveListing): Map<Generation, Set<TxId>> {
  const points = new Map<Generation, Set<TxId>>();
  for (const index of kept.generations.values()) {
    const { bridge } = reachOf(kept, index);
    if (bridge === null) continue;
    const known = points.get(bridge.generation) ?? new Set();
    points.set(bridge.generation, known.add(bridge.txId));
  }
  return points;
}

/**
 * Whether a replica holds a range that passes over a point on the way to a wanted one: compaction merged it. To be asked ascending.
 */
function mergedOverOn(
  index: GenerationIndex,
  own: ReadonlyMap<string, number>,
  wanted: ReadonlySet<TxId>,
): (id: TxId) => boolean {
  const spans = index.ranges
    .filter(({ name }) => own.has(name))
    .flatMap((range) => {
      const ends = (range.points ?? [range]).map(({ txId }) => txId);
      return ends.map((txId, at) => ({ parentTxId: ends[at - 1] ?? range.parentTxId, txId }));
    })
    .filter(({ txId }) => wanted.has(txId))
    .sort((a, b) => (a.parentTxId < b.parentTxId ? -1 : 1));
  let next = 0;
  let farthest: TxId | undefined;
  return (id) => {
    for (let span = spans[next]; span !== undefined && span.parentTxId < id; span = spans[++next]) {
      if (farthest === undefined || span.txId > farthest) farthest = span.txId;
    }
    return farthest !== undefined && farthest > id;
  };
}

/** Puts what is added in order, and before it the generation.json of a generation that the replica has or will have something of. */
function inOrder(
  generation: Generation,
  added: ReadonlySet<string>,
  index: GenerationIndex,
  own: ReadonlyMap<string, number>,
  all: readonly ReadonlyMap<string, number>[],
): string[] {
  const objects: readonly RouteObject[] = [...index.snapshots, ...index.ranges];
  const names = objects.map(({ name }) => name).filter((name) => added.has(name));
  const begin = generationJsonName(generation);
  const hasAny = names.length > 0 || objects.some(({ name }) => own.has(name));
  const isMissing = hasAny && !own.has(begin) && all.some((held) => held.has(begin));
  return isMissing ? [begin, ...names] : names;
}

/** Whether a name is one of those that points are made of; repair leaves all others alone. */
export function isStateName(name: string): boolean {
  const kind = parseObjectName(name)?.kind;
  return kind === "segment" || kind === "pack" || kind === "snapshot" || kind === "generation";
}
