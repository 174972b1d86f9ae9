// Chunks that no description names: what killed writers left behind. Invisible, but they take room.

import type { Bucket } from "./nats-bucket.ts";
import { chunkSubject } from "./nats-objects.ts";

/** One sweep removes at most so many; the next goes on. */
const sweptMax = 1_000;

/** What is in the bucket before its descriptions are read: whose description comes later is no leftover. */
export interface SweepPlan {
  readonly subjects: readonly string[];
  readonly nowMs: number;
}

export async function planSweep(bucket: Bucket, signal?: AbortSignal): Promise<SweepPlan> {
  const { names, nowMs } = await bucket.subjects(chunkSubject(bucket, ">"), signal);
  return { subjects: names, nowMs };
}

/**
 * Removes the chunks whose id is not in `live` and whose newest was stored more than `ageMs` before the plan was made,
 * by the server's clock. Only such as this driver wrote: others may be at work in the same bucket. A writer gives its
 * put up long before that age, so that what is swept is never named afterwards. Returns how many it removed.
 */
export async function sweep(
  bucket: Bucket,
  plan: SweepPlan,
  live: ReadonlySet<string>,
  ageMs: number,
  signal?: AbortSignal,
): Promise<number> {
  let swept = 0;
  const prefix = chunkSubject(bucket, "");
  for (const subject of plan.subjects) {
    if (swept >= sweptMax) break;
    if (live.has(subject.slice(prefix.length))) continue;
    const newest = await bucket.last(subject, signal);
    if (newest?.offset === undefined || !(plan.nowMs - Date.parse(newest.time) > ageMs)) continue;
    await bucket.purge(subject, newest.sequence + 1, signal);
    swept += 1;
  }
  return swept;
}
