// What a restore of the newest point would read, and how long that would take. Pure. An estimate before anybody waits for it, not a promise.

import { type Generation, predictRestore, type ReaderSpeed } from "@pageferry/format";
import type { Holdings, Tally } from "./holdings.ts";

/** A near disk: what is read there waits for being applied. */
const near: ReaderSpeed = { latencyMs: 0.5, bytesPerMs: 500_000 };

export interface RestoreStatus {
  /** Predicted. */
  readonly ms: number;
  /** What is read for it. */
  readonly bytes: number;
  readonly objects: number;
}

/** Of the newest point; null where nothing can be restored, or too much is there to be counted. */
export function estimateRestore(
  replica: string,
  holdings: Holdings,
  generation: Generation,
): RestoreStatus | null {
  const read = readBy(holdings, generation);
  if (read === null) return null;
  const seconds = predictRestore(read, replica.startsWith("file:") ? near : undefined);
  return { ms: Math.round(seconds * 1000), ...read };
}

/** A snapshot and what is above it; a generation without one begins with its parent's, all of which is counted. */
function readBy(holdings: Holdings, generation: Generation): Tally | null {
  let [objects, bytes] = [0, 0];
  const seen = new Set<Generation>();
  for (let at: Generation | undefined = generation; at !== undefined && !seen.has(at); ) {
    seen.add(at);
    const held = holdings.generations.get(at);
    if (held === undefined || held.aboveSnapshot === null) return null;
    objects += held.aboveSnapshot.objects;
    bytes += held.aboveSnapshot.bytes;
    const { newestSnapshot } = held;
    if (newestSnapshot !== null) return { objects: objects + 1, bytes: bytes + newestSnapshot.bytes };
    at = held.begin?.parent?.generation;
  }
  return null;
}
