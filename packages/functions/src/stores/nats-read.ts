// Reading out of a bucket: objects and ranges, whether a body is there already, and listings.

import { createHash } from "node:crypto";
import { checkObjectName, PageferryError } from "@pageferry/format";
import { bodySize, gather, haveSameBytes, openBody } from "../body.ts";
import { streamOfBytes } from "../file-stream.ts";
import {
  type CallOptions,
  compareNames,
  type ObjectInfo,
  type RangeOptions,
  rangeWithin,
  type StoreBody,
} from "../store.ts";
import type { Bucket } from "./nats-bucket.ts";
import {
  describedNames,
  descriptions,
  lookUp,
  lookUpAll,
  type ObjectMeta,
  readBytes,
} from "./nats-objects.ts";
import { sweep } from "./nats-sweep.ts";

/** A store sweeps with its first listing, and then no more often than this. */
const sweepEveryMs = 60 * 60 * 1000;

/** Up to this size an object is read, and its digest checked, before the first byte is given out. */
const smallBytes = 256 * 1024;

/** Others that come between two steps again and again are not waited out for ever. */
export const roundsMax = 20;

/** Up to so many objects are looked up one by one rather than read out of the descriptions of the whole bucket. */
const lookUpsMax = 64;
const lookUpsAtOnce = 32;

/** Of so many names the descriptions are known before the first of them is given out. */
const windowNames = 256;

/** What the verbs share. */
export interface NatsStore {
  readonly bucket: Bucket;
  /** "" or a path with a slash at its end. */
  readonly root: string;
  readonly leftoverAgeMs: number;
  /** When to sweep next, by `performance.now()`. */
  sweepAtMs: number;
  /** Aborted by `close`: ends a sweep. */
  readonly closing: AbortController;
  /** Removals of abandoned chunks, and sweeps, that nobody waits for but `close`. */
  readonly discards: Set<Promise<unknown>>;
}

/** Others wrote and removed under the same name, each time between two steps of a call. */
export function contended(name: string): PageferryError {
  return new PageferryError(
    "unavailable",
    `object ${name}: it was written and removed again and again meanwhile`,
  );
}

/** Tells `present` for the same bytes, by their digest; other bytes are a `conflict`. */
export async function compare(
  store: NatsStore,
  name: string,
  there: ObjectMeta,
  body: StoreBody,
  signal: AbortSignal | undefined,
): Promise<"present"> {
  const where = `object ${name}`;
  if (there.size === bodySize(body)) {
    const bytes = openBody(body, where, signal);
    const isSame =
      there.digest === undefined
        ? await haveSameBytes(readBytes(store.bucket, there, 0, there.size, signal), bytes)
        : there.digest === (await digestOf(bytes));
    if (isSame) return "present";
  }
  throw new PageferryError("conflict", `${where}: ${there.size} other bytes are stored under this name`);
}

async function digestOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of chunks) hash.update(chunk);
  return hash.digest("base64url");
}

export async function get(
  store: NatsStore,
  name: string,
  range: RangeOptions,
): Promise<ReadableStream<Uint8Array>> {
  const { signal } = range;
  signal?.throwIfAborted();
  const where = `object ${name}`;
  const path = store.root + checkObjectName(name);
  for (let round = 0; round < roundsMax; round++) {
    const meta = await lookUp(store.bucket, path, signal);
    if (meta === undefined || meta.isDeleted) {
      throw new PageferryError("not-found", `${where} is not in ${store.bucket.where}`);
    }
    if (meta.isLink) throw new PageferryError("bad-name", `${where} is a link, which is not followed`);
    const [start, end] = rangeWithin(meta.size, range, where);
    if (end - start > smallBytes) return streamOf(store, meta, start, end, signal);
    const bytes = await gather(readBytes(store.bucket, meta, start, end, signal), end - start, where);
    if (bytes.length === end - start) {
      const isWhole = bytes.length === meta.size && meta.digest !== undefined;
      if (isWhole && createHash("sha256").update(bytes).digest("base64url") !== meta.digest)
        throw damaged(where);
      return streamOfBytes(bytes);
    }
    // It was replaced or removed while it was read: look again.
    await checkMoved(store, path, meta, where, signal);
  }
  throw contended(name);
}

function damaged(where: string): PageferryError {
  return new PageferryError("corrupt", `${where}: its digest does not hold`);
}

/** Chunks were missing. Throws `corrupt` if the object still is what it was, so that they are lost. */
async function checkMoved(
  store: NatsStore,
  path: string,
  meta: ObjectMeta,
  where: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const now = await lookUp(store.bucket, path, signal);
  if (now?.nuid === meta.nuid && !now.isDeleted) {
    throw new PageferryError("corrupt", `${where}: the server has not all of its chunks`);
  }
}

/** A large range, a batch of chunks at a time and at the reader's pace; the digest is checked at the end of a whole one. */
function streamOf(
  store: NatsStore,
  meta: ObjectMeta,
  start: number,
  end: number,
  outer: AbortSignal | undefined,
): ReadableStream<Uint8Array> {
  const cancelled = new AbortController();
  const signal = outer === undefined ? cancelled.signal : AbortSignal.any([outer, cancelled.signal]);
  const chunks = verified(store, meta, start, end, signal);
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          signal.throwIfAborted();
          const next = await chunks.next();
          if (next.done === true) controller.close();
          else controller.enqueue(next.value);
        } catch (error) {
          controller.error(error);
        }
      },
      cancel: () => cancelled.abort(),
    },
    { highWaterMark: 0 },
  );
}

async function* verified(
  store: NatsStore,
  meta: ObjectMeta,
  start: number,
  end: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const where = `object ${meta.name.slice(store.root.length)}`;
  const isWhole = start === 0 && end === meta.size && meta.digest !== undefined;
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of readBytes(store.bucket, meta, start, end, signal)) {
    if (isWhole) hash.update(chunk);
    size += chunk.length;
    yield chunk;
  }
  if (size !== end - start) {
    await checkMoved(store, meta.name, meta, where, signal);
    throw new PageferryError("unavailable", `${where}: it was replaced or removed while it was read`);
  }
  if (isWhole && hash.digest("base64url") !== meta.digest) throw damaged(where);
}

/**
 * A bucket knows no order and no prefixes: its names are all asked for, those that are wanted are kept and sorted. What is
 * described is given out a window at a time, so that also where each description is a request of its own it begins at once.
 */
export async function* list(
  store: NatsStore,
  prefix: string,
  { signal }: CallOptions,
): AsyncGenerator<ObjectInfo> {
  signal?.throwIfAborted();
  const { bucket, root } = store;
  sweepWhenDue(store);
  const names = (await describedNames(bucket, signal)).filter((name) => name.startsWith(root + prefix));
  const wanted = names.map((name) => name.slice(root.length)).sort(compareNames);
  const isBatched = wanted.length > lookUpsMax && (await bucket.canBatch(signal));
  const batched = isBatched
    ? await batchedMetas(store, root + prefix, signal)
    : new Map<string, ObjectMeta>();
  for (let from = 0; from < wanted.length; from += windowNames) {
    const window = wanted.slice(from, from + windowNames);
    // Few, or what the server that answered did not have yet.
    const missing = window.map((name) => root + name).filter((path) => !batched.has(path));
    const metas = await lookUpAll(bucket, missing, lookUpsAtOnce, signal);
    const asked = new Map(metas.map((meta) => [meta.name, meta]));
    for (const name of window) {
      signal?.throwIfAborted();
      const meta = batched.get(root + name) ?? asked.get(root + name);
      if (meta === undefined || meta.isDeleted || meta.isLink) continue;
      yield { name, size: meta.size };
    }
  }
}

/** The descriptions of objects, as whichever server answers has them. Whether one is removed only the leader says. */
async function batchedMetas(
  { bucket }: NatsStore,
  prefix: string,
  signal: AbortSignal | undefined,
): Promise<Map<string, ObjectMeta>> {
  const metas = new Map<string, ObjectMeta>();
  for await (const meta of descriptions(bucket, signal)) {
    if (meta.isDeleted) metas.delete(meta.name);
    else if (meta.name.startsWith(prefix)) metas.set(meta.name, meta);
  }
  return metas;
}

/** Nobody waits for a sweep, and one that fails is tried again with a later listing. */
function sweepWhenDue(store: NatsStore): void {
  if (performance.now() < store.sweepAtMs || store.closing.signal.aborted) return;
  store.sweepAtMs = performance.now() + sweepEveryMs;
  inBackground(store, sweep(store.bucket, store.leftoverAgeMs, store.closing.signal));
}

/** Work that nobody waits for but `close`, for a moment, and whose failure nobody hears of. */
export function inBackground(store: NatsStore, work: Promise<unknown>): void {
  const ended = work.catch(() => undefined);
  store.discards.add(ended);
  void ended.then(() => store.discards.delete(ended));
}
