// How long a restore will take, before it begins. Pure: from what has to be fetched, and how fast it has come so far.

import { expectedMs, type ReaderSpeed } from "./reader-speed.ts";

/** A reader that nobody measured: an object store far away, over a line that nobody is proud of (10 MB/s). */
const speedAssumed: ReaderSpeed = { latencyMs: 50, bytesPerMs: 10_000 };

/** Objects that a restore has under way at a time. */
const atOnce = 8;

/** Stored bytes that a restore decodes, applies and checks on two cores: what is fetched faster waits for that. */
const appliedBytesPerMs = 100_000;

/** What a restore is expected to take. */
export interface RestorePrediction {
  readonly bytes: number;
  readonly requests: number;
  /** To a tenth. */
  readonly seconds: number;
}

/** Predicts a restore of objects of these sizes, one request each, from a reader of this speed. */
export function predictRestore(
  sizes: readonly number[],
  speed: ReaderSpeed = speedAssumed,
): RestorePrediction {
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  const rounds = Math.ceil(sizes.length / atOnce);
  const fetchMs = expectedMs(speed, bytes) + Math.max(0, rounds - 1) * speed.latencyMs;
  const ms = Math.max(fetchMs, bytes / appliedBytesPerMs);
  return { bytes, requests: sizes.length, seconds: Math.ceil(ms / 100) / 10 };
}
