// Decodes a payload of zstd frames as it comes: frames that say they are small are decoded side by side on libuv threads,
// others streamed, and skippable ones passed over. What is held is bounded by the frames in flight. See docs/format.md#zstd.
import { pipeline, Readable } from "node:stream";
import zlib from "node:zlib";
import { type BufferPool, createBufferPool } from "./buffer-pool.ts";
import type { ByteReader } from "./byte-reader.ts";
import { PageferryError } from "./errors.ts";
import { seekFrameBytes, wholeFrameBytesMax } from "./limits.ts";
import { decodeZstdFrame, hasNativeZstd, translateZstdError, type ZstdDecompressOptions } from "./zstd.ts";
import { createFallbackDecoder } from "./zstd-fallback.ts";
import {
  readBlockHead,
  readFrameHead,
  type ZstdFrameHead,
  zstdBlockHeadBytes,
  zstdChecksumBytes,
  zstdFrameHeadBytesMax,
} from "./zstd-frames.ts";

/** How a payload is decoded. */
export interface ZstdStreamOptions {
  /** Bytes of the payload that the reader is at; undefined: all that comes. */
  readonly payloadBytes: number | undefined;
  /** Frames decoded at a time. */
  readonly parallelism: number;
  readonly what: string;
}

/** A frame's blocks may be stored in a little more than they decode to; a frame that goes beyond is not honest. */
const storedSlackBytes = 64 * 1024;

/** Output of the streamed decoder comes in pieces of this size. */
const streamChunkBytes = 1024 * 1024;

/** Decodes the next `payloadBytes` of `reader`, in order. Errors: `corrupt`, `too-large`. The consumer bounds the output. */
export async function* decodeZstdStream(
  reader: ByteReader,
  options: ZstdStreamOptions,
): AsyncGenerator<Uint8Array> {
  const { what } = options;
  const end = reader.position() + (options.payloadBytes ?? Number.POSITIVE_INFINITY);
  const pool = createBufferPool(seekFrameBytes + storedSlackBytes);
  const inFlight: Promise<Uint8Array>[] = [];
  const next = (): Promise<Uint8Array> => inFlight.shift() as Promise<Uint8Array>;
  const hasMore = async (): Promise<boolean> =>
    end === Number.POSITIVE_INFINITY ? (await reader.peek(1)).length > 0 : reader.position() < end;
  while (await hasMore()) {
    const frame = await takeFrameHead(reader, end, what);
    if (frame.head.kind === "skippable") {
      await skip(reader, frame.head.contentBytes ?? 0, end, what);
    } else if (frame.head.contentBytes !== undefined && frame.head.contentBytes <= wholeFrameBytesMax) {
      const decoded = decodeWhole(await takeWholeFrame(reader, frame, end, { what, pool }), frame.head, what);
      // It is awaited in its turn; a failure before that, or after the consumer left, must not count as unhandled.
      decoded.catch(() => undefined);
      inFlight.push(decoded);
      if (inFlight.length >= options.parallelism) {
        yield await next();
      }
    } else {
      while (inFlight.length > 0) {
        yield await next();
      }
      yield* decodeParts(frameParts(reader, frame, end, what), frame.head, what);
    }
  }
  while (inFlight.length > 0) {
    yield await next();
  }
}

interface TakenHead {
  readonly head: ZstdFrameHead;
  readonly bytes: Uint8Array;
}

function within(reader: ByteReader, count: number, end: number, what: string): number {
  if (reader.position() + count > end) {
    throw new PageferryError("corrupt", `${what}: zstd frames end beyond the data at byte ${end}`);
  }
  return count;
}

async function takeFrameHead(reader: ByteReader, end: number, what: string): Promise<TakenHead> {
  const ahead = await reader.peek(Math.min(zstdFrameHeadBytesMax, end - reader.position()));
  const head = readFrameHead(ahead, 0, what);
  if (head === undefined) {
    throw new PageferryError("corrupt", `${what}: cut in a frame's head at byte ${reader.position()}`);
  }
  return { head, bytes: await reader.take(head.headBytes) };
}

async function skip(reader: ByteReader, count: number, end: number, what: string): Promise<void> {
  let left = within(reader, count, end, what);
  while (left > 0) {
    left -= (await reader.some(left)).length;
  }
}

/** The bytes of a data frame, part by part. */
async function* frameParts(
  reader: ByteReader,
  frame: TakenHead,
  end: number,
  what: string,
): AsyncGenerator<Uint8Array> {
  yield frame.bytes;
  let isLast = false;
  while (!isLast) {
    const blockHead = await reader.take(within(reader, zstdBlockHeadBytes, end, what));
    const block = readBlockHead(blockHead, 0, frame.head, what);
    yield blockHead;
    if (block.storedBytes > 0) {
      yield await reader.take(within(reader, block.storedBytes, end, what));
    }
    isLast = block.isLast;
  }
  if (frame.head.hasChecksum) {
    yield await reader.take(within(reader, zstdChecksumBytes, end, what));
  }
}

/** A whole frame, and how to give its memory back when it has been decoded. */
interface WholeFrame {
  readonly stored: Uint8Array;
  release(): void;
}

async function takeWholeFrame(
  reader: ByteReader,
  frame: TakenHead,
  end: number,
  payload: { readonly what: string; readonly pool: BufferPool },
): Promise<WholeFrame> {
  const storedBytesMax = (frame.head.contentBytes ?? 0) + storedSlackBytes;
  const isPooled = storedBytesMax <= payload.pool.bufferBytes;
  const buffer = isPooled ? payload.pool.take() : Buffer.allocUnsafe(storedBytesMax);
  let size = 0;
  for await (const part of frameParts(reader, frame, end, payload.what)) {
    if (size + part.length > storedBytesMax) {
      throw new PageferryError(
        "corrupt",
        `${payload.what}: a frame of ${frame.head.contentBytes} bytes is stored in more than ${size}`,
      );
    }
    buffer.set(part, size);
    size += part.length;
  }
  return {
    stored: buffer.subarray(0, size),
    release: () => {
      if (isPooled) {
        payload.pool.giveBack(buffer);
      }
    },
  };
}

async function decodeWhole(frame: WholeFrame, head: ZstdFrameHead, what: string): Promise<Uint8Array> {
  const { stored } = frame;
  const outputBytesMax = head.contentBytes ?? 0;
  const place = { ...head, start: 0, end: stored.length, decodedBytesMax: outputBytesMax };
  const decoded = await decodeZstdFrame(stored, place, outputBytesMax, { outputBytesMax, what });
  frame.release();
  return decoded;
}

async function* decodeParts(
  parts: AsyncIterable<Uint8Array>,
  head: ZstdFrameHead,
  what: string,
): AsyncGenerator<Uint8Array> {
  const options: ZstdDecompressOptions = { outputBytesMax: Number.MAX_SAFE_INTEGER, what };
  let decodedBytes = 0;
  try {
    for await (const decoded of hasNativeZstd ? streamNatively(parts) : streamByFallback(parts, head)) {
      decodedBytes += decoded.length;
      yield decoded;
    }
  } catch (cause) {
    throw translateZstdError(cause, options);
  }
  if (head.contentBytes !== undefined && decodedBytes !== head.contentBytes) {
    throw new PageferryError(
      "corrupt",
      `${what}: a frame decodes to ${decodedBytes} bytes, its head says ${head.contentBytes}`,
    );
  }
}

function streamNatively(parts: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const decoder = zlib.createZstdDecompress({ chunkSize: streamChunkBytes });
  // A failure of either reaches whoever reads the decoder.
  pipeline(Readable.from(gathered(parts), { objectMode: true, highWaterMark: 1 }), decoder, () => undefined);
  return decoder;
}

/** Joins parts up to `streamChunkBytes`: each costs the decoder a way to another thread and back. Neighbours are not copied. */
async function* gathered(parts: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let waiting: Uint8Array[] = [];
  let size = 0;
  for await (const part of parts) {
    const last = waiting.at(-1);
    if (
      last !== undefined &&
      part.buffer === last.buffer &&
      part.byteOffset === last.byteOffset + last.length
    ) {
      waiting[waiting.length - 1] = new Uint8Array(last.buffer, last.byteOffset, last.length + part.length);
    } else {
      waiting.push(part);
    }
    size += part.length;
    if (size < streamChunkBytes) continue;
    yield* waiting;
    waiting = [];
    size = 0;
  }
  yield* waiting;
}

async function* streamByFallback(
  parts: AsyncIterable<Uint8Array>,
  head: ZstdFrameHead,
): AsyncGenerator<Uint8Array> {
  const decoder = createFallbackDecoder(head, Number.MAX_SAFE_INTEGER);
  for await (const part of parts) {
    yield* decoder.push(part);
  }
  yield* decoder.end();
}
