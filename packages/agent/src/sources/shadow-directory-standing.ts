// Is a generation that was not followed so far of the process that wrote ours? What it has up to our state must be, file for file, what we
// took, and its snapshots what those led to. One that went back to write an old transaction anew has another past.
import { readFileSync } from "node:fs";
import { type Generation, type StateHash, type TxId, txId } from "@pageferry/format";
import {
  hasSegment,
  type ListedGeneration,
  type ListedSnapshot,
  segmentPath,
} from "./shadow-directory-listing.ts";
import type { Reading } from "./shadow-directory-readings.ts";

/** What a generation's past is compared with. */
export interface Past {
  readonly directory: string;
  /** Those of the history that is followed. */
  readonly ours: readonly ListedGeneration[];
  /** State hashes of its transactions, as far as they are remembered. */
  readonly states: ReadonlyMap<TxId, StateHash>;
  readonly reading: (snapshot: ListedSnapshot) => Reading;
}

/** `ours`: nothing contradicts. Else the snapshot that is to be read first, or `other`: its past is not ours, or cannot be shown to be. */
export type Standing = "ours" | "other" | ListedSnapshot;

/** A fork of a running process has few transactions that another generation has, too; a longer one is a process of its own. */
const forkSegmentsMax = 100;

/** How a generation that has the transaction `next` stands to a history that is before it. */
export function standingOf(past: Past, generation: ListedGeneration, next: TxId): Standing {
  for (const snapshot of generation.snapshots) {
    if (snapshot.txId >= next) continue;
    const state = past.states.get(snapshot.txId);
    if (state === undefined) return "other";
    const reading = past.reading(snapshot);
    if (reading === "unread") return snapshot;
    if (reading !== state) return "other";
  }
  const before = generation.txIds.filter((id) => id < next);
  if (before.length > forkSegmentsMax) return "other";
  const isTwin = (id: bigint) => hasTwin(past.directory, generation, past.ours, txId(id));
  return before.every(isTwin) ? "ours" : "other";
}

/** Whether one of ours has, byte for byte, the same transaction: the same process wrote it at the same moment. */
export function hasTwin(
  directory: string,
  stranger: ListedGeneration,
  ours: readonly ListedGeneration[],
  id: TxId,
): boolean {
  const path = (generation: Generation) => segmentPath(directory, generation, id);
  return ours.some(
    (one) => hasSegment(one, id) && isSameFile(path(stranger.generation), path(one.generation)),
  );
}

function isSameFile(a: string, b: string): boolean {
  try {
    return readFileSync(a).equals(readFileSync(b));
  } catch {
    return false;
  }
}
