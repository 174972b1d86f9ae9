// Chunks that no description names: what killed writers left behind. Invisible, but they take room.

import pMap from "p-map";
import type { Bucket } from "./nats-bucket.ts";
import { chunkSubject, describedNames, descriptions, lookUpAll, type ObjectMeta } from "./nats-objects.ts";

/** One sweep removes at most so many; the next goes on. */
const sweptMax = 1_000;

/** Few: the listing that the sweep goes beside comes first. */
const requestsAtOnce = 8;

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
  const live = await idsOfLeader(bucket, signal);
  const doomed = suspects.filter(({ nuid }) => !live.has(nuid));
  const purge = ({ subject, sequence }: Leftover) => bucket.purge(subject, sequence + 1, signal);
  await pMap(doomed, purge, { concurrency: requestsAtOnce });
  return doomed.length;
}

async function leftovers(
  bucket: Bucket,
  subjects: readonly string[],
  beforeMs: number,
  signal: AbortSignal | undefined,
): Promise<Leftover[]> {
  const live = (await bucket.canBatch(signal))
    ? idsOf(await Array.fromAsync(descriptions(bucket, signal)))
    : await idsOfLeader(bucket, signal);
  const prefix = chunkSubject(bucket, "");
  const found: Leftover[] = [];
  const check = async (subject: string) => {
    if (found.length >= sweptMax) return;
    const newest = await bucket.last(subject, signal);
    if (newest?.offset === undefined || !(Date.parse(newest.time) < beforeMs)) return;
    found.push({ subject, nuid: subject.slice(prefix.length), sequence: newest.sequence });
  };
  const unnamed = subjects.filter((subject) => !live.has(subject.slice(prefix.length)));
  await pMap(unnamed, check, { concurrency: requestsAtOnce });
  return found.slice(0, sweptMax);
}

async function idsOfLeader(bucket: Bucket, signal: AbortSignal | undefined): Promise<Set<string>> {
  return idsOf(await lookUpAll(bucket, await describedNames(bucket, signal), requestsAtOnce, signal));
}

function idsOf(metas: readonly ObjectMeta[]): Set<string> {
  return new Set(metas.filter(({ isDeleted }) => !isDeleted).map(({ nuid }) => nuid));
}
