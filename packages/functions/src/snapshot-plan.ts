// Is it time for a snapshot that nobody has to send? A pure decision over names: when the newest one is old, or far away in bytes or objects, or
// when a generation began without one. The point is the end of a window, so that every replica builds the same one.

import {
  type ArchiveListing,
  type Generation,
  type GenerationIndex,
  type Point,
  planRestore,
  pointAt,
  pointsOf,
  type RestorePlan,
  type StateHash,
} from "@pageferry/format";
import { endsWindow, isWindowOver } from "./windows.ts";

export interface SnapshotPolicy {
  /** How old the newest snapshot may become. */
  readonly snapshotIntervalMs: number;
  /** Windows of compaction, finest first. */
  readonly levelsMs: readonly number[];
  readonly nowMs: number;
}

/** A snapshot to build. */
export interface SnapshotDue {
  readonly generation: Generation;
  /** How to restore the point that it is made of. */
  readonly plan: RestorePlan;
  /** The state that it must be, where the point is another generation's. */
  readonly stateHash?: StateHash;
  readonly why: "the generation has none" | "the newest is old" | "the way from the newest is long";
}

/** Bytes since the newest snapshot, as a multiple of its size: about there a restore takes twice as long. */
const wayBytesFactor = 2;

/** A small database is restored in no time, however long the way. */
const wayBytesMin = 64 * 1024 * 1024;

/** Each object is a request of the restore. */
const wayObjectsMax = 1000;

/** The snapshot that is due in a generation, if one is. */
export function snapshotDue(
  listing: ArchiveListing,
  index: GenerationIndex,
  policy: SnapshotPolicy,
): SnapshotDue | undefined {
  const points = pointsOf(listing, index);
  if (points.length === 0) return beginningDue(listing, index);
  const point = windowEnd(points, policy) ?? (index.snapshots.length === 0 ? points.at(-1) : undefined);
  const newest = index.snapshots.findLast(({ txId }) => point !== undefined && txId <= point.txId);
  if (point === undefined || newest?.txId === point.txId) return undefined;
  const plan = planRestore(listing, { generation: index.generation, txId: point.txId });
  const due = (why: SnapshotDue["why"]) => ({ generation: index.generation, plan, why });
  if (index.snapshots.length === 0) return due("the generation has none");
  const ageMs = (point.stampMs ?? 0) - (newest?.stampMs ?? 0);
  if (ageMs >= policy.snapshotIntervalMs) return due("the newest is old");
  const wayBytes = plan.bytes - plan.snapshot.size;
  const isLong = wayBytes > Math.max(wayBytesMin, wayBytesFactor * plan.snapshot.size);
  if (isLong || plan.steps.length > wayObjectsMax) return due("the way from the newest is long");
  return undefined;
}

/**
 * A file that was restored, and that nobody has written since, is the point it was restored to: its generation gets a snapshot of that, and
 * stands by itself from then on. Only the newest: another has taken the place of the others.
 */
function beginningDue(
  listing: ArchiveListing,
  { generation, link, snapshots }: GenerationIndex,
): SnapshotDue | undefined {
  const { parent = null, parentStateHash: stateHash, epoch = 0 } = link ?? {};
  if (parent === null || stateHash === undefined || snapshots.length > 0) return undefined;
  for (const other of listing.generations.values()) if ((other.link?.epoch ?? 0) > epoch) return undefined;
  const from = listing.generations.get(parent.generation);
  if (from === undefined || pointAt(listing, from, parent.txId) === undefined) return undefined;
  const { generation: parentGeneration, txId } = parent;
  const plan = planRestore(listing, { generation: parentGeneration, txId });
  return { generation, plan, stateHash, why: "the generation has none" };
}

/** The newest point after which a window of the finest level has ended: by the point that follows, or by the clock where the database rests. */
function windowEnd(points: readonly Point[], { levelsMs, nowMs }: SnapshotPolicy): Point | undefined {
  if (levelsMs.length === 0) return points.at(-1);
  return points.findLast((point, at) => {
    const next = points[at + 1];
    return next === undefined
      ? isWindowOver(point, 0, levelsMs, nowMs)
      : endsWindow(point, next, 0, levelsMs);
  });
}
