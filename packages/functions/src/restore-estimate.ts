// How long a restore of the newest point would take, from what it has to read. Pure. An estimate before anybody waits for it, not a promise: the
// rates are those of bench/README.md on a small machine, and a slow line is slower.

import type { Generation } from "@pageferry/format";
import type { Holdings, Tally } from "./holdings.ts";

interface Rates {
  /** Compressed bytes, read and applied. */
  readonly bytesPerSecond: number;
  /** For each object, beside its bytes, with as many under way at a time as a restore has. */
  readonly msPerObject: number;
}

/** A near disk: decompression and writing are what takes time. */
const near: Rates = { bytesPerSecond: 200e6, msPerObject: 0.5 };

/** A server: 40 ms of latency, eight at a time, over a line of some 400 Mbit/s. */
const far: Rates = { bytesPerSecond: 50e6, msPerObject: 5 };

/** Program, plan, and the file made durable. */
const fixedMs = 500;

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
  const { bytesPerSecond, msPerObject } = replica.startsWith("file:") ? near : far;
  const ms = fixedMs + (read.bytes / bytesPerSecond) * 1000 + read.objects * msPerObject;
  return { ms: Math.round(ms), ...read };
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
