// The last part of a restore: the snapshot, streamed, of which only those pages are written that no segment brought.

import { createPageClaims, eachUnclaimed, type PageClaims } from "./apply.ts";
import type { SnapshotObject } from "./archive-listing.ts";
import { type ArchiveReader, readObject } from "./archive-reader.ts";
import { type Meta, newestMeta, parseMeta } from "./bolt/meta.ts";
import { crc64 } from "./crc64.ts";
import { crc64Combine } from "./crc64-combine.ts";
import { isPageferryError, PageferryError } from "./errors.ts";
import { inOrder } from "./in-order.ts";
import { pageIdMax, pageSizeMax, pageSizeMin } from "./limits.ts";
import type { RandomReader } from "./ports.ts";
import { type Attempt, fromReaders } from "./restore-attempt.ts";
import { stretchesOf, type UnpackedFrame, type UnpackOrder } from "./restore-unpack.ts";
import { decodeSnapshot } from "./snapshot-decode.ts";
import type { SnapshotHeader } from "./snapshot-header.ts";
import { checkSnapshotSum } from "./snapshot-header.ts";
import { openSnapshot, type SnapshotRanges } from "./snapshot-range.ts";
import type { Workbench } from "./workbench.ts";

/** Writes what is still missing from the snapshot. Without claims (there was no segment) the snapshot is all there is. */
export async function restoreSnapshot(attempt: Attempt, claims: PageClaims | undefined): Promise<void> {
  const { snapshot } = attempt.plan;
  const { meta, header } = await fromReaders(attempt, snapshot, async (reader) => {
    const unpacked = await unpackSnapshot(attempt, reader, claims);
    return unpacked ?? streamSnapshot(attempt, reader, claims);
  });
  attempt.chain.snapshot(snapshot.name, meta, header.stateHash);
  attempt.finished();
}

interface FoundSnapshot {
  readonly meta: Meta;
  readonly header: SnapshotHeader;
}

async function streamSnapshot(
  attempt: Attempt,
  reader: ArchiveReader,
  claims: PageClaims | undefined,
): Promise<FoundSnapshot> {
  const { snapshot } = attempt.plan;
  const { signal } = attempt;
  const { raw, header: trailer } = decodeSnapshot(
    counted(await reader.get(snapshot.name, { signal }), attempt.received),
    { signal },
  );
  const writer = createSnapshotWriter(attempt, claims);
  for await (const part of raw) await writer.write(part);
  const header = await trailer;
  return { header, meta: await writer.finish(snapshot, header) };
}

async function* counted(
  chunks: AsyncIterable<Uint8Array>,
  count: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    count(chunk.length);
    yield chunk;
  }
}

/** Undefined: the workbench cannot. */
async function unpackSnapshot(
  attempt: Attempt,
  reader: ArchiveReader,
  given: PageClaims | undefined,
): Promise<FoundSnapshot | undefined> {
  const { workbench, signal } = attempt;
  const { snapshot } = attempt.plan;
  if (workbench.unpack === undefined) return undefined;
  const ranges = await openSnapshot(randomReader(attempt, reader));
  if (!ranges.isSeekable) return unpackOneFrame(attempt, reader, ranges, given);
  const { header, data } = ranges;
  const head = await ranges.read(0, Math.min(ranges.rawBytes, 2 * pageSizeMax));
  const meta = metaOfHead(head, true);
  checkSnapshot(snapshot, header, meta, ranges.rawBytes);
  const claims = given ?? (await beginWhole(attempt, meta));
  const { words, pageCount } = claims;
  const stretches = stretchesOf(snapshot.name, ranges, meta.pageSize, { words, pageCount });
  let crc = crc64(new Uint8Array(0));
  let end = 0;
  await inOrder(
    stretches,
    { countMax: stretchesAtOnce, weightMax: Number.POSITIVE_INFINITY, weight: () => 1 },
    (stretch, stretchSignal) => unpackFrom(attempt, reader, stretch, stretchSignal),
    async (pieceCrc, stretch) => {
      crc = crc64Combine(crc, pieceCrc, stretch.length);
      end = stretch.offset + stretch.length - data.offset;
      attempt.received(stretch.length);
      attempt.sink.flush?.();
      return { done: Promise.resolve() };
    },
    signal,
  );
  const rest = await readPart(reader, snapshot.name, data.offset + end, data.length - end, signal);
  checkSnapshotSum(header, crc64Combine(crc, crc64(rest), rest.length));
  attempt.received(rest.length);
  return { meta, header };
}

/**
 * A snapshot of one long frame, as the Go implementation writes it, in a local file. Whatever does not hold is left to the streamed way
 * (undefined), which takes any number of frames and knows what to say.
 */
async function unpackOneFrame(
  attempt: Attempt,
  reader: ArchiveReader,
  { header, data, rawBytes }: SnapshotRanges,
  given: PageClaims | undefined,
): Promise<FoundSnapshot | undefined> {
  const { workbench, sink } = attempt;
  const { snapshot } = attempt.plan;
  if (workbench.unpackFrame === undefined || reader.pathOf === undefined) return undefined;
  const { pageSize } = header;
  const pages = rawBytes / pageSize;
  if (pageSize < pageSizeMin || pageSize > pageSizeMax || !(pages >= 2 && pages <= pageIdMax))
    return undefined;
  await workbench.narrow?.();
  if (given === undefined) await sink.begin(rawBytes);
  const { words, pageCount } = given ?? createPageClaims(pages, true);
  const isSummed = header.checksum !== undefined;
  const order = { name: snapshot.name, ...data, pageSize, claims: { words, pageCount }, isSummed };
  let found: UnpackedFrame;
  try {
    found = await workbench.unpackFrame(order, reader.pathOf(snapshot.name));
  } catch (error) {
    if (isPageferryError(error, "disk-full")) throw error;
    return undefined;
  }
  const meta = metaOfHead(found.head, true);
  if (meta === undefined || found.rawBytes !== rawBytes) return undefined;
  checkSnapshot(snapshot, header, meta, rawBytes);
  if (found.crc !== undefined) checkSnapshotSum(header, found.crc);
  attempt.received(snapshot.size);
  return { meta, header };
}

/** Each holds some megabytes, stored and decoded. */
const stretchesAtOnce = 6;

function unpackFrom(
  attempt: Attempt,
  reader: ArchiveReader,
  stretch: UnpackOrder,
  signal: AbortSignal,
): Promise<bigint> {
  const unpack = attempt.workbench.unpack as NonNullable<Workbench["unpack"]>;
  if (reader.pathOf !== undefined) return unpack(stretch, { path: reader.pathOf(stretch.name) });
  return readPart(reader, stretch.name, stretch.offset, stretch.length, signal).then((bytes) =>
    unpack(stretch, { bytes }),
  );
}

function randomReader({ plan, signal }: Attempt, reader: ArchiveReader): RandomReader {
  const { snapshot } = plan;
  return {
    size: plan.sizes?.get(snapshot.name)?.get(reader.name) ?? snapshot.size,
    read: (offset, length) => readPart(reader, snapshot.name, offset, length, signal),
  };
}

async function readPart(
  reader: ArchiveReader,
  name: string,
  offset: number,
  length: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  if (length === 0) return new Uint8Array(0);
  const bytes = await readObject(reader, name, { offset, length, signal, bytesMax: length });
  if (bytes.length === length) return bytes;
  throw new PageferryError("corrupt", `${name}: ${bytes.length} bytes where ${length} were asked for`);
}

/** The snapshot alone decides how long the database is. */
async function beginWhole(attempt: Attempt, meta: Meta): Promise<PageClaims> {
  await attempt.sink.begin(meta.highWaterMark * meta.pageSize);
  return createPageClaims(meta.highWaterMark, true);
}

/** Holds what was found against the header and the name. */
export function checkSnapshot(
  snapshot: SnapshotObject,
  header: SnapshotHeader,
  meta: Meta | undefined,
  rawBytes: number,
): asserts meta is Meta {
  const fail = (what: string): PageferryError => new PageferryError("corrupt", `${snapshot.name}: ${what}`);
  if (meta === undefined) throw fail(`its ${rawBytes} bytes hold no valid meta page`);
  if (header.txId !== snapshot.txId || meta.txId !== snapshot.txId) {
    throw fail(`is of transaction ${header.txId}, its meta of ${meta.txId}`);
  }
  if (header.pageSize !== meta.pageSize) {
    throw fail(`pages of ${header.pageSize} bytes, its meta says ${meta.pageSize}`);
  }
  if (rawBytes !== meta.highWaterMark * meta.pageSize || header.pageCount !== BigInt(meta.highWaterMark)) {
    throw fail(
      `${rawBytes} bytes, header of ${header.pageCount} pages; its meta says ${meta.highWaterMark} pages`,
    );
  }
}

interface SnapshotWriter {
  write(raw: Uint8Array): Promise<void>;
  /** Waits for the last write, holds what came against the header and the name, and returns the snapshot's meta. */
  finish(snapshot: SnapshotObject, header: SnapshotHeader): Promise<Meta>;
}

function createSnapshotWriter(attempt: Attempt, given: PageClaims | undefined): SnapshotWriter {
  let head = new Uint8Array(0);
  let meta: Meta | undefined;
  let claims = given;
  let offset = 0;
  let writing: Promise<unknown> = Promise.resolve();

  const place = async (raw: Uint8Array, pageSize: number, current: PageClaims): Promise<void> => {
    const pieces: Promise<void>[] = [];
    eachUnclaimed(current, pageSize, offset, raw.length, (at, length) => {
      pieces.push(attempt.sink.write(at, [raw.subarray(at - offset, at - offset + length)]));
    });
    offset += raw.length;
    // One part is written while the next one is decoded.
    const before = writing;
    writing = Promise.all(pieces);
    writing.catch(() => undefined);
    await before;
    attempt.sink.flush?.();
  };

  return {
    async write(raw) {
      if (meta === undefined) {
        head = joined(head, raw);
        meta = metaOfHead(head, false);
        if (meta === undefined) return;
        claims ??= await beginWhole(attempt, meta);
        await place(head, meta.pageSize, claims);
      } else {
        await place(raw, meta.pageSize, claims as PageClaims);
      }
    },
    async finish(snapshot, header) {
      await writing;
      checkSnapshot(snapshot, header, meta, meta === undefined ? head.length : offset);
      return meta;
    },
  };
}

/** The newest meta, once both meta pages have come. Undefined: more bytes are needed, or there is none in all of them. */
export function metaOfHead(head: Uint8Array, isAll: boolean): Meta | undefined {
  const pageSize = parseMeta(head)?.pageSize;
  if (pageSize !== undefined) {
    return head.length < 2 * pageSize ? undefined : newestMeta(head, head.subarray(pageSize));
  }
  // Page 0 may be torn in a copy of a file; then page 1 is found at one of the few page sizes.
  if (head.length < 2 * pageSizeMax && !isAll) return undefined;
  for (let size = pageSizeMin; size <= pageSizeMax; size *= 2) {
    const meta = parseMeta(head.subarray(size));
    if (meta?.pageSize === size) return meta;
  }
  return undefined;
}

function joined(a: Uint8Array<ArrayBuffer>, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}
