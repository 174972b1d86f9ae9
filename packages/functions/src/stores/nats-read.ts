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
import { descriptions, lookUp, metaSubject, type ObjectMeta, readBytes } from "./nats-objects.ts";
import { planSweep, type SweepPlan, sweep } from "./nats-sweep.ts";

/** A store sweeps with its first listing, and then no more often than this. */
const sweepEveryMs = 60 * 60 * 1000;

/** Up to this size an object is read, and its digest checked, before the first byte is given out. */
const smallBytes = 256 * 1024;

/** Others that come between two steps again and again are not waited out for ever. */
export const roundsMax = 20;

/** How often a listing begins anew because what it was about to read was removed. */
const walksMax = 3;

/** What the verbs share. */
export interface NatsStore {
  readonly bucket: Bucket;
  /** "" or a path with a slash at its end. */
  readonly root: string;
  readonly leftoverAgeMs: number;
  /** When to sweep next, by `performance.now()`. */
  sweepAtMs: number;
  /** Removals of abandoned chunks that nobody waits for but `close`. */
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

/** A bucket knows no order and no prefixes: every description is read, those that are wanted are kept and sorted. */
export async function* list(
  store: NatsStore,
  prefix: string,
  { signal }: CallOptions,
): AsyncGenerator<ObjectInfo> {
  signal?.throwIfAborted();
  const sizes = await gatherSizes(store, prefix, signal);
  const names = [...sizes.keys()].sort(compareNames);
  for (const name of names) {
    signal?.throwIfAborted();
    yield { name, size: sizes.get(name) ?? 0 };
  }
}

async function gatherSizes(
  store: NatsStore,
  prefix: string,
  signal: AbortSignal | undefined,
): Promise<Map<string, number>> {
  const { bucket, root } = store;
  const plan = await planned(store, signal);
  for (let walk = 1; ; walk++) {
    const sizes = new Map<string, number>();
    const [live, seen] = [new Set<string>(), new Set<string>()];
    const take = (meta: ObjectMeta) => {
      seen.add(metaSubject(bucket, meta.name));
      if (!meta.isDeleted) live.add(meta.nuid);
      if (!meta.name.startsWith(root + prefix)) return;
      const name = meta.name.slice(root.length);
      if (meta.isDeleted || meta.isLink) sizes.delete(name);
      else sizes.set(name, meta.size);
    };
    let isWhole = true;
    for await (const meta of descriptions(bucket, signal)) {
      if (meta === "cut short") isWhole = false;
      else take(meta);
    }
    if (!isWhole && walk < walksMax) continue;
    if (!isWhole) {
      throw new PageferryError("unavailable", `${bucket.where}: a listing ended before its end`);
    }
    if (await bucket.isReplicated(signal)) await catchUp(store, seen, take, signal);
    // A sweep that fails is tried with a later listing; this one does not suffer for it.
    if (plan !== undefined)
      await sweep(bucket, plan, live, store.leftoverAgeMs, signal).catch(() => undefined);
    return sizes;
  }
}

/** Looks up what a follower that lags did not list: the leader names all that was acknowledged. */
async function catchUp(
  store: NatsStore,
  seen: ReadonlySet<string>,
  take: (meta: ObjectMeta) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { names } = await store.bucket.subjects(`$O.${store.bucket.name}.M.>`, signal);
  for (const subject of names.filter((name) => !seen.has(name))) {
    const encoded = subject.slice(subject.lastIndexOf(".") + 1);
    const meta = await lookUp(store.bucket, Buffer.from(encoded, "base64url").toString(), signal);
    if (meta !== undefined) take(meta);
  }
}

async function planned(store: NatsStore, signal: AbortSignal | undefined): Promise<SweepPlan | undefined> {
  if (performance.now() < store.sweepAtMs) return undefined;
  store.sweepAtMs = performance.now() + sweepEveryMs;
  return planSweep(store.bucket, signal);
}
