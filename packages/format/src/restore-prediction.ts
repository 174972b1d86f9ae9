// How long a restore will take, before it begins. Pure: from what has to be fetched, and how fast it has come so far.

import { expectedMs, type ReaderSpeed } from "./reader-speed.ts";

/** A reader that nobody measured: an object store far away, over a line that nobody is proud of (10 MB/s). */
const speedAssumed: ReaderSpeed = { latencyMs: 50, bytesPerMs: 10_000 };

/** Objects that a restore has under way at a time. */
const atOnce = 8;

/** Stored bytes that a restore decodes, applies and checks on two cores: what is fetched faster waits for that. */
const appliedBytesPerMs = 100_000;

/** What a restore fetches: objects, one request each, and their bytes as they are stored. */
export interface RestoreWork {
  readonly bytes: number;
  readonly objects: number;
}

/** Predicts how long a restore takes from a reader of this speed: seconds, to a tenth. */
export function predictRestore({ bytes, objects }: RestoreWork, speed: ReaderSpeed = speedAssumed): number {
  const rounds = Math.ceil(objects / atOnce);
  const fetchMs = expectedMs(speed, bytes) + Math.max(0, rounds - 1) * speed.latencyMs;
  const ms = Math.max(fetchMs, bytes / appliedBytesPerMs);
  return Math.ceil(ms / 100) / 10;
}
