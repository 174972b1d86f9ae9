// Chunks that no description names: what killed writers left behind. Invisible, but they take room.

import type { Bucket } from "./nats-bucket.ts";
import { chunkSubject, descriptions } from "./nats-objects.ts";

/** One sweep removes at most so many; the next goes on. */
const sweptMax = 1_000;

interface Leftover {
  readonly subject: string;
  readonly nuid: string;
  readonly sequence: number;
}

/**
 * Removes the chunks that no description names and whose newest was stored more than `ageMs` ago by the server's clock. Only
 * such as this driver wrote: others may be at work in the same bucket. A writer gives its put up long before that age, so
 * that what is swept is never named afterwards. Returns how many it removed.
 */
export async function sweep(bucket: Bucket, ageMs: number, signal?: AbortSignal): Promise<number> {
  // First what there is, then what is named: whose description comes in between is named.
  const { names, nowMs } = await bucket.subjects(chunkSubject(bucket, ">"), signal);
  const suspects = await leftovers(bucket, names, nowMs - ageMs, signal);
  if (suspects.length === 0) return 0;
  // Who lags must not decide over what is removed.
  const live = await namedIds(bucket, true, signal);
  const doomed = suspects.filter(({ nuid }) => !live.has(nuid));
  for (const { subject, sequence } of doomed) await bucket.purge(subject, sequence + 1, signal);
  return doomed.length;
}

async function leftovers(
  bucket: Bucket,
  subjects: readonly string[],
  beforeMs: number,
  signal: AbortSignal | undefined,
): Promise<Leftover[]> {
  const live = await namedIds(bucket, false, signal);
  const prefix = chunkSubject(bucket, "");
  const found: Leftover[] = [];
  for (const subject of subjects) {
    const nuid = subject.slice(prefix.length);
    if (live.has(nuid) || found.length >= sweptMax) continue;
    const newest = await bucket.last(subject, signal);
    if (newest?.offset === undefined || !(Date.parse(newest.time) < beforeMs)) continue;
    found.push({ subject, nuid, sequence: newest.sequence });
  }
  return found;
}

async function namedIds(
  bucket: Bucket,
  ofLeader: boolean,
  signal: AbortSignal | undefined,
): Promise<Set<string>> {
  const ids = new Set<string>();
  for await (const meta of descriptions(bucket, signal, ofLeader)) if (!meta.isDeleted) ids.add(meta.nuid);
  return ids;
}
