// Removes from a shadow directory what is stored: whole prefixes, below a snapshot that was read and found sound.
import { readdirSync, rmdirSync, statSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { type Generation, type TxId, txId } from "@pageferry/format";
import { type ListedGeneration, type ListedSnapshot, segmentPath } from "./shadow-directory-listing.ts";

/** A generation's directory lies still for this long before it is removed: a writer that has just made it is about to write. */
const emptyMs = 60_000;

/** Removes the segments that `snapshot` stands for, and the snapshots before it. Answers how many files went. */
export function trimBelow(
  directory: string,
  generations: readonly ListedGeneration[],
  snapshot: ListedSnapshot,
): number {
  let removed = 0;
  for (const { generation, txIds, snapshots } of generations) {
    for (const id of txIds) {
      if (id > snapshot.txId) break;
      removed += remove(segmentPath(directory, generation, txId(id)));
    }
    for (const older of snapshots) if (older.txId < snapshot.txId) removed += remove(older.path);
  }
  return removed;
}

/** Whether `trimBelow` would remove anything. */
export function hasBelow(generations: readonly ListedGeneration[], snapshot: ListedSnapshot): boolean {
  return generations.some(
    ({ txIds, snapshots }) =>
      (txIds[0] ?? snapshot.txId + 1n) <= snapshot.txId ||
      snapshots.some(({ txId: older }) => older < snapshot.txId),
  );
}

/** Removes what these generations have up to a transaction, their snapshots too. Answers how many files went. */
export function trimUpTo(directory: string, generations: readonly ListedGeneration[], upTo: TxId): number {
  let removed = 0;
  for (const { generation, txIds, snapshots } of generations) {
    for (const id of txIds) {
      if (id > upTo) break;
      removed += remove(segmentPath(directory, generation, txId(id)));
    }
    for (const snapshot of snapshots) if (snapshot.txId <= upTo) removed += remove(snapshot.path);
  }
  return removed;
}

function remove(path: string): number {
  try {
    unlinkSync(path);
    return 1;
  } catch {
    // Gone already, or we may not: then it stays, and is tried again with the next.
    return 0;
  }
}

/** Removes the directory of a generation if it is empty, and was for a while. */
export function removeEmpty(directory: string, generation: Generation, nowMs: number): void {
  const path = join(directory, generation);
  try {
    for (const name of ["segments", "snapshots"]) {
      const inner = statSync(join(path, name), { throwIfNoEntry: false });
      if (inner === undefined) continue;
      if (nowMs - inner.mtimeMs < emptyMs || readdirSync(join(path, name)).length > 0) return;
    }
    for (const name of ["segments", "snapshots"]) rmdirQuietly(join(path, name));
    rmdirQuietly(path);
  } catch {
    // Something is in it again.
  }
}

function rmdirQuietly(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // Not there, or not empty.
  }
}
