// From an archive's listing and a wish to the objects that rebuild one point, oldest first. Pure: the decision is here, the deed in
// restore.ts. See docs/format.md#restore.

import {
  type ArchiveListing,
  byBigInt,
  type GenerationIndex,
  type SnapshotObject,
  withoutObjects,
} from "./archive-listing.ts";
import { PageferryError } from "./errors.ts";
import { type Ancestor, generationIn, highestTxId, lineage } from "./lineage.ts";
import type { Generation } from "./names.ts";
import { pointAt, pointsOf, type Reach, reachOf } from "./points.ts";
import { earliestStart, endsIn, type RouteStep, shortestRoute } from "./restore-route.ts";
import type { StateHash } from "./state-hash.ts";
import { formatTxId, type TxId } from "./txid.ts";

/** What is wanted: the newest point, or that of a transaction or a time; in the newest generation and its parents, or in one. */
export interface RestoreTarget {
  readonly txId?: TxId;
  /** Milliseconds since the epoch: the newest point that is not later. Not together with `txId`. */
  readonly timestampMs?: number;
  readonly generation?: Generation;
}

/** A segment or pack to apply to the state `from`, up to the state `to`. */
export interface PlanStep {
  readonly kind: "segment" | "pack";
  readonly name: string;
  readonly size: number;
  readonly generation: Generation;
  /** The range that the object's name tells. */
  readonly parentTxId: TxId;
  readonly lastTxId: TxId;
  readonly from: TxId;
  readonly to: TxId;
  readonly stampMs: number | null;
}

/** The objects that rebuild one point. */
export interface RestorePlan {
  /** The point: this generation at this transaction. */
  readonly generation: Generation;
  readonly txId: TxId;
  /** Its commit stamp; null where nothing read tells it. */
  readonly stampMs: number | null;
  /**
   * The generation that goes on from here by being this very state, as after a restore: what belongs to the newest of it that is no page, its
   * companion files, is there. Absent: none does, on the way that was asked for.
   */
  readonly heir?: Generation | undefined;
  /** Of the generation: higher is newer. Absent where nothing read tells it. */
  readonly epoch?: number | undefined;
  /** The state it must have, where the plan came with one (a manifest's); else the objects themselves tell it. */
  readonly stateHash?: StateHash | undefined;
  readonly snapshot: SnapshotObject;
  /** Oldest first. A change of generation between two steps is a bridge. */
  readonly steps: readonly PlanStep[];
  /** Bytes to fetch. */
  readonly bytes: number;
  /** What a person should hear: newer objects that cannot be used, and why. */
  readonly warnings: readonly string[];
  /** By object: the names of the readers whose listing showed it. Absent: nobody knows, and each is asked. */
  readonly holders?: ReadonlyMap<string, readonly string[]> | undefined;
  /** By an object's name: its size in each of them, where copies may differ. Absent: as planned, everywhere. */
  readonly sizes?: ReadonlyMap<string, ReadonlyMap<string, number>> | undefined;
}

/** How to plan. */
export interface PlanOptions {
  /** Names of objects that turned out to be missing or broken: plan around them. */
  readonly without?: ReadonlySet<string>;
}

/**
 * Plans the restore of a target. Throws `not-found` (no such point; the neighbours are named), `gap` (there is one, but something
 * on the way is missing; it is named), `bad-request` (no telling which generation is the newest).
 */
export function planRestore(
  listing: ArchiveListing,
  target: RestoreTarget = {},
  options: PlanOptions = {},
): RestorePlan {
  if (target.txId !== undefined && target.timestampMs !== undefined) {
    throw new PageferryError("bad-request", "a restore goes to a transaction or to a time, not to both");
  }
  const usable = withoutObjects(listing, options.without ?? new Set());
  const ancestors = lineage(usable, target.generation);
  if (target.txId !== undefined) return planTransaction(usable, ancestors, target.txId);
  if (target.timestampMs !== undefined) return planTime(usable, ancestors, target.timestampMs);
  return planNewest(usable, ancestors);
}

function planTransaction(listing: ArchiveListing, ancestors: readonly Ancestor[], id: TxId): RestorePlan {
  const holding = ancestors.filter(({ index }) => endsAt(listing, index, id));
  const [own] = holding.filter((ancestor) => isInHistory(ancestor, id));
  if (own !== undefined) return withHeir(planPoint(listing, own.index, id, []), ancestors);
  const [other] = holding;
  // Who names the very transaction may have it; it is said that it is not of the history that goes on.
  if (other !== undefined) return planPoint(listing, other.index, id, [otherHistory(other, id)]);
  throw new PageferryError(
    "not-found",
    `transaction ${formatTxId(id)} is not a point: ${neighbours(listing, ancestors, id)}`,
  );
}

function planTime(listing: ArchiveListing, ancestors: readonly Ancestor[], timestampMs: number): RestorePlan {
  let oldestMs: number | undefined;
  const warnings: string[] = [];
  const isNotLater = ({ stampMs }: { readonly stampMs: number | null }): boolean =>
    stampMs !== null && stampMs <= timestampMs;
  for (const ancestor of ancestors) {
    const { index, leftAt } = ancestor;
    const reach = reachOf(listing, index);
    const all = pointsOf(listing, index);
    const points = leftAt === null ? all : all.filter(({ txId }) => txId <= leftAt);
    const left = leftAt === null ? undefined : all.findLast(isNotLater);
    if (left !== undefined && !isInHistory(ancestor, left.txId))
      warnings.push(otherHistory(ancestor, left.txId));
    const point = points.findLast(isNotLater);
    if (point !== undefined) {
      const edge = reach.edges.findLast(
        (candidate) => isNotLater(candidate) && isInHistory(ancestor, candidate.txId),
      );
      if (edge !== undefined && edge.txId > point.txId)
        warnings.push(beyond(listing, index, reach, edge.txId));
      return withHeir(planPoint(listing, index, point.txId, warnings), ancestors);
    }
    oldestMs = points.find((candidate) => candidate.stampMs !== null)?.stampMs ?? oldestMs;
  }
  const wanted = formatTime(timestampMs);
  const found =
    oldestMs === undefined
      ? "no point of this archive has a known time"
      : `the oldest is of ${formatTime(oldestMs)}`;
  throw new PageferryError("not-found", `no point at or before ${wanted}: ${found}`);
}

/** Whether some object of a generation ends at a transaction; it may be out of reach all the same. */
function endsAt(listing: ArchiveListing, index: GenerationIndex, id: TxId): boolean {
  return endsIn(index.snapshots, id) || endsIn(reachOf(listing, index).edges, id);
}

/** What a parent holds above the point at which its child left it is another history, not the one that goes on. */
function isInHistory({ leftAt }: Ancestor, id: TxId): boolean {
  return leftAt === null || id <= leftAt;
}

function otherHistory({ index: { generation }, leftAt }: Ancestor, id: TxId): string {
  return `${formatTxId(id)} of generation ${generation} is of another history: the one that goes on left it at ${formatTxId(leftAt as TxId)}; --generation ${generation} chooses it`;
}

function planNewest(listing: ArchiveListing, ancestors: readonly Ancestor[]): RestorePlan {
  const warnings: string[] = [];
  for (const { index, leftAt } of ancestors) {
    const reach = reachOf(listing, index);
    const newest = leftAt === null ? reach.txIds.at(-1) : reach.txIds.findLast((id) => id <= leftAt);
    if (newest !== undefined) {
      const highest = highestTxId(index) as TxId;
      if (leftAt === null && highest > newest) warnings.push(beyond(listing, index, reach, highest));
      const plan = withHeir(planPoint(listing, index, newest, warnings), ancestors);
      const [first] = ancestors;
      // Nothing is lacking where the point is all that the newest generation is so far.
      const isAll = first !== undefined && plan.heir === first.index.generation && isEmpty(first.index);
      return isAll ? { ...plan, warnings: [] } : plan;
    }
    warnings.push(`generation ${index.generation} has nothing that can be restored yet: its parent is taken`);
  }
  const { index } = ancestors[0] as Ancestor;
  const highest = highestTxId(index);
  if (highest === null)
    throw new PageferryError("gap", `generation ${index.generation} holds no snapshot and no segment`);
  return planPoint(listing, index, highest, []);
}

function isEmpty({ ranges, snapshots }: GenerationIndex): boolean {
  return ranges.length === 0 && snapshots.length === 0;
}

/** The plan with the youngest of those that are its very point. */
function withHeir(plan: RestorePlan, ancestors: readonly Ancestor[]): RestorePlan {
  let at = ancestors.findIndex(({ index }) => index.generation === plan.generation);
  let heir: Generation | undefined;
  for (; at > 0 && ancestors[at]?.leftAt === plan.txId; at -= 1) {
    const child = ancestors[at - 1]?.index;
    if (child?.link?.parentStateHash === undefined) break;
    heir = child.generation;
  }
  return heir === undefined ? plan : { ...plan, heir };
}

function planPoint(
  listing: ArchiveListing,
  index: GenerationIndex,
  id: TxId,
  warnings: readonly string[],
): RestorePlan {
  const { snapshot, steps } = routeTo(listing, index, id);
  const stamp = pointAt(listing, index, id)?.stampMs ?? null;
  return {
    generation: index.generation,
    txId: id,
    stampMs: stamp,
    ...(index.link === null ? {} : { epoch: index.link.epoch }),
    snapshot,
    steps,
    bytes: steps.reduce((sum, step) => sum + step.size, snapshot.size),
    warnings,
  };
}

/** The newest snapshot from which the point is reached, and the way; through the bridge into the parent where there is none. */
function routeTo(
  listing: ArchiveListing,
  index: GenerationIndex,
  id: TxId,
): { readonly snapshot: SnapshotObject; readonly steps: readonly PlanStep[] } {
  const reach = reachOf(listing, index);
  const earliest = earliestStart(reach.edges, id);
  const snapshot = index.snapshots.findLast((candidate) => candidate.txId <= id);
  if (snapshot !== undefined && snapshot.txId >= earliest) {
    return { snapshot, steps: stepsOf(shortestRoute(reach.edges, snapshot.txId, id)) };
  }
  const { bridge } = reach;
  if (bridge !== null && bridge.txId >= earliest && id > bridge.txId) {
    const parent = routeTo(listing, generationIn(listing, bridge.generation), bridge.txId);
    const own = stepsOf(shortestRoute(reach.edges, bridge.txId, id));
    return { snapshot: parent.snapshot, steps: [...parent.steps, ...own] };
  }
  throw new PageferryError("gap", `${beyond(listing, index, reach, id)}`);
}

function stepsOf(route: readonly RouteStep[] | undefined): PlanStep[] {
  // routeTo asked earliestStart first, so there is a way.
  return (route as readonly RouteStep[]).map(({ from, edge }) => {
    const { kind, name, size, generation, parentTxId, txId } = edge.object;
    return {
      kind,
      name,
      size,
      generation,
      parentTxId,
      lastTxId: txId,
      from,
      to: edge.txId,
      stampMs: edge.stampMs,
    };
  });
}

/** Why `id`, the end of some object of the generation, cannot be reached: the missing range and both its shores. */
function beyond(listing: ArchiveListing, index: GenerationIndex, reach: Reach, id: TxId): string {
  const earliest = earliestStart(reach.edges, id);
  const last = reach.txIds.findLast((reached) => reached < earliest);
  const name = `generation ${index.generation}`;
  const missing = `${formatTxId(id)} cannot be reached in ${name}`;
  if (last !== undefined) {
    const range = `(${formatTxId(last)}, ${formatTxId(earliest)}]`;
    const next = reach.txIds.find((reached) => reached > id);
    const after = next === undefined ? "" : `, ${formatTxId(next)} the first after ${formatTxId(id)}`;
    return `${missing}: ${range} is missing; ${formatTxId(last)} is the last point before it${after}`;
  }
  const parent = index.link?.parent ?? null;
  if (parent !== null && parent.txId === earliest) {
    const where = listing.generations.has(parent.generation)
      ? "cannot be restored"
      : "is not in this archive";
    return `${missing}: it begins at ${formatTxId(earliest)} of generation ${parent.generation}, which ${where}`;
  }
  return `${missing}: no snapshot at or below ${formatTxId(earliest)}, so all of (0000000000000000, ${formatTxId(earliest)}] is missing`;
}

function neighbours(listing: ArchiveListing, ancestors: readonly Ancestor[], id: TxId): string {
  const all = ancestors
    .flatMap((ancestor) => reachOf(listing, ancestor.index).txIds.filter((one) => isInHistory(ancestor, one)))
    .sort(byBigInt);
  const below = all.findLast((candidate) => candidate < id) ?? null;
  const above = all.find((candidate) => candidate > id) ?? null;
  if (below === null && above === null) return "this archive has no point that can be restored";
  if (below === null) return `the oldest is ${formatTxId(above as TxId)}`;
  if (above === null) return `the newest is ${formatTxId(below)}`;
  return `its neighbours are ${formatTxId(below)} and ${formatTxId(above)}`;
}

function formatTime(ms: number): string {
  return new Date(ms).toISOString();
}
