// Objects in a bucket: their description as every object-store client writes and reads it, chunks in and out, and the
// way to the middle of one. What is stored under which name on which condition is nats.ts.

import { createHash } from "node:crypto";
import { PageferryError } from "@pageferry/format";
import pMap from "p-map";
import { type Bucket, offsetHeader, type StoredMessage } from "./nats-bucket.ts";
import { freshId } from "./nats-link.ts";

/** What every client cuts objects into. */
const chunkBytesDefault = 128 * 1024;

/** The headers of a chunk, and what the server adds to them, fit in here. */
const headerRoom = 1024;

/** Chunks on their way to the server at a time: 1 MiB, which fills the line and bounds the memory. */
const chunksInFlight = 8;

/** What one read asks for: as much as a reader that stops early should cost. */
const batchBytes = 2 * 1024 * 1024;
const batchChunks = 16;
const batchDescriptions = 500;

/** An object's description. */
export interface ObjectMeta {
  readonly name: string;
  /** Where its chunks are: a subject of their own, so that what is half written is nowhere to be seen. */
  readonly nuid: string;
  readonly size: number;
  readonly chunkSize: number;
  /** SHA-256 in base64url; undefined if whoever wrote it gave none. */
  readonly digest: string | undefined;
  /** A mark that something was here, as other clients leave it. */
  readonly isDeleted: boolean;
  readonly isLink: boolean;
  readonly sequence: number;
}

/** Chunks that are stored, and what their description will say. */
export interface Written {
  readonly nuid: string;
  readonly size: number;
  readonly chunks: number;
  readonly chunkSize: number;
  readonly digest: string;
  /** When the last of them was stored, by `performance.now()`. */
  readonly atMs: number;
}

export function chunkSubject(bucket: Bucket, nuid: string): string {
  return `$O.${bucket.name}.C.${nuid}`;
}

export function metaSubject(bucket: Bucket, name: string): string {
  const encoded = Buffer.from(name).toString("base64").replaceAll("+", "-").replaceAll("/", "_");
  return `$O.${bucket.name}.M.${encoded}`;
}

/** What clients write; nothing in it is certain. */
interface RawMeta {
  readonly name?: unknown;
  readonly nuid?: unknown;
  readonly size?: unknown;
  readonly digest?: unknown;
  readonly deleted?: unknown;
  readonly options?: { readonly max_chunk_size?: unknown; readonly link?: unknown } | null;
}

export function parseMeta(bucket: Bucket, message: StoredMessage): ObjectMeta {
  const corrupt = (cause?: unknown) =>
    new PageferryError("corrupt", `${bucket.where}: the description ${message.subject} cannot be read`, {
      cause,
    });
  let fields: RawMeta | null;
  try {
    fields = JSON.parse(new TextDecoder().decode(message.data)) as RawMeta | null;
  } catch (cause) {
    throw corrupt(cause);
  }
  const { name, nuid = "", size = 0, digest, deleted, options } = fields ?? {};
  if (typeof name !== "string" || typeof nuid !== "string" || !Number.isSafeInteger(size)) throw corrupt();
  const chunkSize = Number(options?.max_chunk_size ?? 0);
  return {
    name,
    nuid,
    size: size as number,
    chunkSize: chunkSize > 0 ? chunkSize : chunkBytesDefault,
    digest: typeof digest === "string" && digest !== "" ? plainDigest(digest) : undefined,
    isDeleted: deleted === true,
    isLink: (options?.link ?? undefined) !== undefined,
    sequence: message.sequence,
  };
}

/** Clients differ in alphabet and padding. */
function plainDigest(digest: string): string {
  return digest
    .replace(/^SHA-256=/, "")
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace(/=+$/, "");
}

/**
 * The descriptions in the bucket, also of objects of others, as whichever server answers has them: some may be missing, or
 * come twice. For buckets that give them in batches.
 */
export async function* descriptions(bucket: Bucket, signal?: AbortSignal): AsyncGenerator<ObjectMeta> {
  const options = { limit: batchDescriptions, bytesMax: batchBytes };
  for (let from = 0; ; ) {
    const batch = await bucket.next(`$O.${bucket.name}.M.>`, from, options, signal);
    for (const message of batch.messages) yield parseMeta(bucket, message);
    const last = batch.messages.at(-1);
    if (last === undefined || batch.pending === 0) return;
    from = last.sequence + 1;
  }
}

/** The names that have a description, removed ones included, as the leader has them: all that was acknowledged. */
export async function describedNames(bucket: Bucket, signal?: AbortSignal): Promise<string[]> {
  const { names } = await bucket.subjects(`$O.${bucket.name}.M.>`, signal);
  return names.map((subject) =>
    Buffer.from(subject.slice(subject.lastIndexOf(".") + 1), "base64url").toString(),
  );
}

/** The description of one object, marks of removed ones included. */
export async function lookUp(
  bucket: Bucket,
  name: string,
  signal?: AbortSignal,
): Promise<ObjectMeta | undefined> {
  const message = await bucket.last(metaSubject(bucket, name), signal);
  return message === undefined ? undefined : parseMeta(bucket, message);
}

/** The descriptions of those that have one, marks included, asked of the leader, `atOnce` of them at a time. */
export async function lookUpAll(
  bucket: Bucket,
  names: readonly string[],
  atOnce: number,
  signal?: AbortSignal,
): Promise<ObjectMeta[]> {
  const found = await pMap(names, (name) => lookUp(bucket, name, signal), { concurrency: atOnce });
  return found.filter((meta) => meta !== undefined);
}

/** How large this bucket's chunks may be. */
export async function chunkBytesOf(bucket: Bucket, signal?: AbortSignal): Promise<number> {
  return Math.max(1, Math.min(chunkBytesDefault, (await bucket.messageMax(signal)) - headerRoom));
}

/**
 * Stores a body's chunks under an id that nobody knows yet. What fails removes them again, as well as it can; `discard`
 * is told which. `stallMs`: a body that stands still for longer is given up, so that its chunks may be swept.
 */
export async function writeChunks(
  bucket: Bucket,
  body: AsyncIterable<Uint8Array>,
  options: {
    readonly where: string;
    readonly stallMs: number;
    readonly discard: (nuid: string) => void;
    readonly signal: AbortSignal | undefined;
  },
): Promise<Written> {
  const { signal } = options;
  const nuid = freshId();
  const subject = chunkSubject(bucket, nuid);
  const chunkSize = await chunkBytesOf(bucket, signal);
  const hash = createHash("sha256");
  const flights: Promise<unknown>[] = [];
  let [size, chunks, atMs] = [0, 0, performance.now()];
  try {
    for await (const chunk of inChunks(body, chunkSize)) {
      checkStall(atMs, options);
      hash.update(chunk);
      const flight = bucket.publish(subject, chunk, { [offsetHeader]: String(size) }, signal);
      flight.catch(() => undefined);
      flights.push(flight);
      size += chunk.length;
      chunks += 1;
      if (flights.length >= chunksInFlight) await flights.shift();
      atMs = performance.now();
    }
    await Promise.all(flights);
  } catch (error) {
    await Promise.allSettled(flights);
    if (chunks > 0) options.discard(nuid);
    throw error;
  }
  return { nuid, size, chunks, chunkSize, digest: hash.digest("base64url"), atMs };
}

/** Throws `unavailable` where chunks have lain about for so long that a sweep may have begun on them. */
export function checkStall(
  atMs: number,
  { where, stallMs }: { readonly where: string; readonly stallMs: number },
): void {
  const stoodMs = performance.now() - atMs;
  if (stoodMs <= stallMs) return;
  const minutes = Math.round(stoodMs / 60_000);
  throw new PageferryError("unavailable", `${where}: the body stood still for ${minutes} minutes`);
}

/** Cuts a stream into chunks of `size`; copies, because the client sends later than it returns. */
async function* inChunks(body: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array> {
  let chunk = Buffer.alloc(0);
  let filled = 0;
  for await (const bytes of body) {
    for (let at = 0; at < bytes.length; ) {
      if (chunk.length === 0)
        chunk = Buffer.allocUnsafeSlow(Math.min(size, Math.max(bytes.length - at, 4096)));
      if (filled === chunk.length && filled < size) chunk = grown(chunk, size);
      const taken = Math.min(chunk.length - filled, bytes.length - at);
      chunk.set(bytes.subarray(at, at + taken), filled);
      filled += taken;
      at += taken;
      if (filled < size) continue;
      yield chunk;
      [chunk, filled] = [Buffer.alloc(0), 0];
    }
  }
  if (filled > 0) yield chunk.subarray(0, filled);
}

function grown(chunk: Buffer, size: number): Buffer<ArrayBuffer> {
  const larger = Buffer.allocUnsafeSlow(Math.min(size, chunk.length * 4));
  larger.set(chunk);
  return larger;
}

/**
 * Publishes the description of chunks that are stored, if the name's newest one is still `expected` (0: there is none).
 * False: another came meanwhile. The server checks and stores in one step, so that of several writers one is told true.
 */
export async function publishMeta(
  bucket: Bucket,
  name: string,
  written: Written,
  expected: number,
  signal?: AbortSignal,
): Promise<boolean> {
  const { nuid, size, chunks, digest, chunkSize } = written;
  const padding = "=".repeat((4 - (digest.length % 4)) % 4);
  const meta = {
    name,
    description: "",
    options: { max_chunk_size: chunkSize },
    bucket: bucket.name,
    nuid,
    size,
    chunks,
    mtime: new Date().toISOString(),
    digest: `SHA-256=${digest}${padding}`,
    deleted: false,
  };
  const headers = { "Nats-Rollup": "sub", "Nats-Expected-Last-Subject-Sequence": String(expected) };
  const subject = metaSubject(bucket, name);
  return (await bucket.publish(subject, JSON.stringify(meta), headers, signal)) !== undefined;
}

/**
 * The bytes from `start` to `end` of an object, as the server has them: unverified, and fewer where chunks are missing.
 * At most one batch of them is in memory.
 */
export async function* readBytes(
  bucket: Bucket,
  meta: ObjectMeta,
  start: number,
  end: number,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const subject = chunkSubject(bucket, meta.nuid);
  const from = start === 0 ? { sequence: 0, offset: 0 } : await locate(bucket, meta, start, signal);
  let { sequence, offset } = from;
  while (offset < end) {
    const wanted = Math.min(batchChunks, Math.ceil((end - offset) / meta.chunkSize));
    let { messages } = await bucket.next(subject, sequence, { limit: wanted, bytesMax: batchBytes }, signal);
    if (messages[0]?.offset !== undefined && messages[0].offset !== offset) {
      messages = (await bucket.next(subject, sequence, { ofLeader: true }, signal)).messages;
    }
    if (messages.length === 0) return;
    for (const { data, sequence: at, offset: said } of messages) {
      // A chunk before this one is missing: bytes from elsewhere must not stand in for it.
      if (said !== undefined && said !== offset) return;
      const [first, last] = [Math.max(start - offset, 0), Math.min(end - offset, data.length)];
      if (last > first) yield data.subarray(first, last);
      offset += data.length;
      sequence = at + 1;
      if (offset >= end) return;
    }
  }
}

interface Place {
  readonly sequence: number;
  readonly offset: number;
}

/** More probes than chunks of many writers, one between the other, ever need. */
const probesMax = 40;

/**
 * Finds the chunk that holds byte `start`, by its sequence in the stream. An object's chunks come in order, but chunks
 * of others may stand between; ours say where they begin, so that a guess can be bettered. Where they do not say, or
 * are not of one size, reading begins at the first.
 */
async function locate(bucket: Bucket, meta: ObjectMeta, start: number, signal?: AbortSignal): Promise<Place> {
  const subject = chunkSubject(bucket, meta.nuid);
  const wanted = start - (start % meta.chunkSize);
  const first = { sequence: 0, offset: 0 };
  const isNearEnd = wanted * 2 > meta.size;
  let low: Place | undefined;
  let high: Place | undefined;
  let ceiling = Number.MAX_SAFE_INTEGER;
  for (let probe = 0; probe < probesMax; probe++) {
    // What is known of one end only is a guess that there is nothing between; when it fails, the other end is looked up.
    const isFirst = low === undefined && probe === 2;
    const guess = isFirst ? 0 : Math.min(ceiling, guessOf(wanted, meta.chunkSize, low, high));
    // Nothing can be there: the chunk is missing, as whoever reads on from the last one before it will find.
    if (guess < 0 || guess <= (low?.sequence ?? -1)) break;
    const isLast = high === undefined && (probe === 0 ? isNearEnd : low !== undefined && probe > 1);
    const found = isLast
      ? await bucket.last(subject, signal)
      : (await bucket.next(subject, guess, { limit: 1, bytesMax: batchBytes }, signal)).messages[0];
    if (found === undefined && probe > 0) {
      ceiling = Math.min(ceiling, guess - 1);
      continue;
    }
    if (found?.offset === undefined) return first;
    const place = { sequence: found.sequence, offset: found.offset };
    if (place.offset === wanted) return place;
    if (place.offset < wanted) low = place;
    else high = place;
    if (place.offset > wanted && !isLast) ceiling = Math.min(ceiling, guess - 1);
  }
  return low ?? first;
}

/** Where the chunk at `wanted` would be if what stands between were evenly spread. */
function guessOf(wanted: number, chunkSize: number, low: Place | undefined, high: Place | undefined): number {
  if (low === undefined && high === undefined) return 0;
  if (low === undefined)
    return Math.max(0, (high as Place).sequence - ((high as Place).offset - wanted) / chunkSize);
  const least = low.sequence + Math.ceil((wanted - low.offset) / chunkSize);
  if (high === undefined) return least;
  const share = (wanted - low.offset) / (high.offset - low.offset);
  return Math.max(least, Math.round(low.sequence + (high.sequence - low.sequence) * share));
}
