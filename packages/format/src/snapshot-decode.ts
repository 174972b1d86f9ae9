// Decodes a snapshot in one pass, with memory for a few frames: the codec is seen from the first bytes, and everything
// is held against the header, which comes last. See docs/format.md#snapshot.
import { metaBytes, parseMeta } from "./bolt/meta.ts";
import { type ByteReader, createByteReader } from "./byte-reader.ts";
import { createCrc64 } from "./crc64.ts";
import { PageferryError } from "./errors.ts";
import { headerBytesMax, pageSizeMax, seekFrameBytes, snapshotRawBytesMax } from "./limits.ts";
import { decodeKeyedHeader, headerKey, parseDataPlace } from "./segment-file.ts";
import { isCompressed } from "./segment-header.ts";
import { type BareCodec, bareCodecOf, bareSnapshotHeader, joined } from "./snapshot-bare.ts";
import { checkSnapshotSum, type SnapshotHeader, snapshotHeaderOf, snapshotWords } from "./snapshot-header.ts";
import { isSkippableMagic, zstdMagic } from "./zstd-frames.ts";
import { decodeZstdStream } from "./zstd-stream.ts";

/** How to decode. */
export interface DecodeSnapshotOptions {
  /** Frames decompressed at a time, each up to 4 MiB, each on a libuv thread. Default 4. */
  readonly parallelism?: number;
  /** More raw bytes than this are `too-large`. Default 2^48; a valid meta page in the first bytes bounds it anyway. */
  readonly rawBytesMax?: number;
  /** Whether the raw length must be pageCount × pageSize. Default true; the Go implementation's vectors hold one that is not. */
  readonly checkLength?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** A snapshot being decoded. */
export interface DecodedSnapshot {
  /** The database, from page 0. To be read once, and to its end, where the last checks are: until then nothing is proved. */
  readonly raw: AsyncIterable<Uint8Array>;
  /** Fulfilled when `raw` has been read to its end and everything held; rejected when something did not. */
  readonly header: Promise<SnapshotHeader>;
}

const defaultParallelism = 4;
const headBytesMax = 15;

/**
 * Decodes a snapshot from chunks of any size. `raw` must be consumed for anything to happen. Errors, from `raw` and
 * `header` alike: `corrupt`, `too-large`, `unsupported-version`.
 */
export function decodeSnapshot(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: DecodeSnapshotOptions = {},
): DecodedSnapshot {
  const { promise, resolve, reject } = Promise.withResolvers<SnapshotHeader>();
  // Whoever reads `raw` sees the failure there, and need not ask for the header.
  promise.catch(() => undefined);
  async function* read(): AsyncGenerator<Uint8Array> {
    const reader = createByteReader(chunks, "snapshot");
    try {
      resolve(yield* decodeFile(reader, options));
    } catch (error) {
      reject(error);
      throw error;
    } finally {
      reject(new PageferryError("unavailable", "snapshot: it was not read to its end"));
      await reader.close();
    }
  }
  return { raw: read(), header: promise };
}

async function* decodeFile(
  reader: ByteReader,
  options: DecodeSnapshotOptions,
): AsyncGenerator<Uint8Array, SnapshotHeader> {
  const head = await reader.peek(headBytesMax);
  const codec = bareCodecOf(head);
  if (codec !== undefined) return yield* decodeBare(reader, codec, options);
  const place = parseDataPlace(head, "snapshot", snapshotRawBytesMax);
  if (place === undefined) {
    throw new PageferryError("corrupt", "snapshot: cut short in its first bytes");
  }
  await reader.take(place.offset);
  const crc = createCrc64();
  const data = summed(reader, (bytes) => crc.update(bytes));
  const isZstd = await beginsWithZstd(reader, place.length);
  const guard = createGuard(options.rawBytesMax ?? snapshotRawBytesMax);
  const raw = isZstd ? decodeFrames(data, place.length, options) : rawParts(data, place.length);
  for await (const part of raw) {
    options.signal?.throwIfAborted();
    guard.take(part);
    yield part;
  }
  const header = await readTrailer(reader);
  checkHeader(header, { isZstd, dataBytes: place.length, rawBytes: guard.rawBytes(), options });
  checkSnapshotSum(header, crc.digest());
  return header;
}

/** A snapshot without its header: all that comes is the database. */
async function* decodeBare(
  reader: ByteReader,
  codec: BareCodec,
  options: DecodeSnapshotOptions,
): AsyncGenerator<Uint8Array, SnapshotHeader> {
  const guard = createGuard(options.rawBytesMax ?? snapshotRawBytesMax);
  const raw = codec === "zstd" ? decodeFrames(reader, undefined, options) : rawParts(reader, undefined);
  let head = new Uint8Array(0);
  for await (const part of raw) {
    options.signal?.throwIfAborted();
    guard.take(part);
    head = joined(head, part);
    yield part;
  }
  const header = bareSnapshotHeader(head, codec);
  checkLength(header, guard.rawBytes(), options);
  return header;
}

/** The same reader, which shows what is taken to `see`. */
function summed(reader: ByteReader, see: (bytes: Uint8Array) => void): ByteReader {
  const seen = async (bytes: Promise<Uint8Array>): Promise<Uint8Array> => {
    const taken = await bytes;
    see(taken);
    return taken;
  };
  return {
    ...reader,
    take: (count) => seen(reader.take(count)),
    some: (max) => seen(reader.some(max)),
  };
}

async function beginsWithZstd(reader: ByteReader, dataBytes: number): Promise<boolean> {
  const ahead = await reader.peek(Math.min(4, dataBytes));
  if (ahead.length < 4) {
    return false;
  }
  const magic = new DataView(ahead.buffer, ahead.byteOffset, 4).getUint32(0, true);
  return magic === zstdMagic || isSkippableMagic(magic);
}

function decodeFrames(
  reader: ByteReader,
  payloadBytes: number | undefined,
  options: DecodeSnapshotOptions,
): AsyncGenerator<Uint8Array> {
  const parallelism = Math.max(1, options.parallelism ?? defaultParallelism);
  return decodeZstdStream(reader, { payloadBytes, parallelism, what: "snapshot" });
}

/** Without `dataBytes`: all there is. */
async function* rawParts(reader: ByteReader, dataBytes: number | undefined): AsyncGenerator<Uint8Array> {
  let left = dataBytes ?? Number.POSITIVE_INFINITY;
  while (left > 0 && (dataBytes !== undefined || (await reader.peek(1)).length > 0)) {
    const part = await reader.some(Math.min(left, seekFrameBytes));
    left -= part.length;
    yield part;
  }
}

/** Counts raw bytes, and stops what cannot be honest: more than allowed, or than the image's own meta pages say. */
function createGuard(rawBytesMax: number): { take(part: Uint8Array): void; rawBytes(): number } {
  let rawBytes = 0;
  let head: Uint8Array | undefined = new Uint8Array(0);
  let imageBytes = Number.POSITIVE_INFINITY;
  return {
    rawBytes: () => rawBytes,
    take(part) {
      rawBytes += part.length;
      if (head !== undefined) {
        head = Buffer.concat([head, part.subarray(0, pageSizeMax + metaBytes - head.length)]);
        const known = imageBytesOf(head);
        imageBytes = known ?? imageBytes;
        head = known === undefined ? head : undefined;
      }
      if (rawBytes > rawBytesMax) {
        throw new PageferryError("too-large", `snapshot: more than the ${rawBytesMax} raw bytes it may have`);
      }
      if (rawBytes > imageBytes) {
        throw new PageferryError(
          "corrupt",
          `snapshot: more than the ${imageBytes} raw bytes its own meta pages tell of`,
        );
      }
    },
  };
}

/** The length that both meta pages allow; infinite where the first is none. `undefined`: more bytes are needed. */
function imageBytesOf(head: Uint8Array): number | undefined {
  const first = parseMeta(head);
  if (first === undefined) {
    return head.length < metaBytes ? undefined : Number.POSITIVE_INFINITY;
  }
  if (head.length < first.pageSize + metaBytes) {
    return undefined;
  }
  const second = parseMeta(head.subarray(first.pageSize));
  return Math.max(first.highWaterMark, second?.highWaterMark ?? 0) * first.pageSize;
}

async function readTrailer(reader: ByteReader): Promise<SnapshotHeader> {
  const bytesMax = headerKey.length + headerBytesMax;
  const trailer = await reader.peek(bytesMax + 1);
  if (trailer.length > bytesMax) {
    throw new PageferryError("too-large", `snapshot: more than ${headerBytesMax} bytes of header`);
  }
  return snapshotHeaderOf(decodeKeyedHeader(trailer, "snapshot"), "snapshot header");
}

interface Found {
  readonly isZstd: boolean;
  readonly dataBytes: number;
  readonly rawBytes: number;
  readonly options: DecodeSnapshotOptions;
}

function checkHeader(header: SnapshotHeader, found: Found): void {
  const what = snapshotWords(header);
  const saysZstd = isCompressed(header, what);
  if (found.dataBytes > 0 && saysZstd !== found.isZstd) {
    throw new PageferryError(
      "corrupt",
      `${what}: its header says ${header.compression}, its data is something else`,
    );
  }
  checkLength(header, found.rawBytes, found.options);
}

function checkLength(header: SnapshotHeader, rawBytes: number, options: DecodeSnapshotOptions): void {
  const expectedBytes = header.pageCount * BigInt(header.pageSize);
  if (options.checkLength !== false && BigInt(rawBytes) !== expectedBytes) {
    throw new PageferryError(
      "corrupt",
      `${snapshotWords(header)}: ${rawBytes} raw bytes, its header says ${expectedBytes}`,
    );
  }
}
