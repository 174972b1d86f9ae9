// Encodes a snapshot from a stream: frames of 1 MiB compressed side by side go to a spool, and then their number is
// known, which must stand before them. Memory is bounded by the frames in flight. See docs/format.md#snapshot.
import { createHash } from "node:crypto";
import { type BufferPool, createBufferPool } from "./buffer-pool.ts";
import { type CompressionConfig, compressionSettings, defaultCompression } from "./config-compression.ts";
import { createCrc64 } from "./crc64.ts";
import { PageferryError } from "./errors.ts";
import { giveBack } from "./give-back.ts";
import { seekFrameBytes } from "./limits.ts";
import type { Spool } from "./ports.ts";
import { encodeSeekTable, type SeekEntry } from "./seekable.ts";
import { encodeDataHead, headerKey } from "./segment-file.ts";
import { headerVersion } from "./segment-header.ts";
import { encodeSnapshotHeader, type SnapshotHeader, snapshotWords } from "./snapshot-header.ts";
import { nodeZstdLevel, zstdCompress } from "./zstd.ts";

/** What is known of a snapshot before its bytes were seen; the rest of the header follows from them. */
export type SnapshotInput = Pick<
  SnapshotHeader,
  "txId" | "pageSize" | "createdAt" | "pageCount" | "stateHash" | "stampMs" | "receivedMs"
>;

/** How to encode. */
export interface EncodeSnapshotOptions {
  /** Where compressed frames go; empty when given, and the caller's to remove, after the last use of the result. */
  readonly spool: Spool;
  /** Default: zstd at Node's level 3. */
  readonly compression?: CompressionConfig;
  /** Frames compressed at a time, on libuv threads; each holds about 2 MiB. Default 4. */
  readonly parallelism?: number;
  readonly signal?: AbortSignal | undefined;
}

/** A snapshot object, ready to be stored. */
export interface EncodedSnapshot {
  readonly header: SnapshotHeader;
  readonly size: number;
  /** SHA-256 of the whole object, 64 lower-case hex digits. */
  readonly sha256: string;
  /** The object's bytes from the beginning; may be called again, as long as the spool is there. */
  open(): AsyncIterable<Uint8Array>;
}

const defaultParallelism = 4;

/**
 * Encodes a database image. `raw` must give exactly pageCount × pageSize bytes, else `corrupt`, and nothing is to be kept.
 * The image is read once; the spool is written once, and read once more for its digest.
 */
export async function encodeSnapshot(
  raw: AsyncIterable<Uint8Array>,
  input: SnapshotInput,
  options: EncodeSnapshotOptions,
): Promise<EncodedSnapshot> {
  const settings = compressionSettings(options.compression ?? defaultCompression);
  const { rawBytes, checksum } = await spoolData(raw, settings, options);
  const expectedBytes = input.pageCount * BigInt(input.pageSize);
  if (BigInt(rawBytes) !== expectedBytes) {
    throw new PageferryError(
      "corrupt",
      `${snapshotWords(input)}: ${rawBytes} raw bytes were given, ${expectedBytes} are due`,
    );
  }
  const header: SnapshotHeader = {
    ...input,
    version: headerVersion,
    compression: settings.codec,
    compressionLevel: settings.level,
    compressionWindow: 0,
    checksum,
  };
  const { spool } = options;
  const head = encodeDataHead(spool.size());
  const trailer = Buffer.concat([headerKey, encodeSnapshotHeader(header)]);
  async function* open(): AsyncGenerator<Uint8Array> {
    yield head;
    yield* spool.open();
    yield trailer;
  }
  const hash = createHash("sha256");
  for await (const part of open()) {
    options.signal?.throwIfAborted();
    hash.update(part);
  }
  const size = head.length + spool.size() + trailer.length;
  return { header, size, sha256: hash.digest("hex"), open };
}

interface Spooled {
  readonly rawBytes: number;
  readonly checksum: bigint;
}

async function spoolData(
  raw: AsyncIterable<Uint8Array>,
  settings: { readonly codec: string; readonly level: number },
  options: EncodeSnapshotOptions,
): Promise<Spooled> {
  const crc = createCrc64();
  const entries: SeekEntry[] = [];
  const inFlight: { readonly decodedBytes: number; readonly stored: Promise<Uint8Array> }[] = [];
  const pool = createBufferPool(seekFrameBytes);
  const level = nodeZstdLevel(settings);
  let rawBytes = 0;
  const write = async (bytes: Uint8Array): Promise<void> => {
    crc.update(bytes);
    await options.spool.write(bytes);
  };
  const compress = async (block: Buffer): Promise<Uint8Array> => {
    const stored = await zstdCompress(block, level);
    pool.giveBack(block);
    return stored;
  };
  const finishOne = async (): Promise<void> => {
    const first = inFlight.shift();
    if (first !== undefined) {
      const stored = await first.stored;
      entries.push({ storedBytes: stored.length, decodedBytes: first.decodedBytes });
      await write(stored);
      giveBack(stored);
    }
  };
  for await (const block of blocksOf(raw, pool, options.signal)) {
    rawBytes += block.length;
    if (settings.codec === "none") {
      await write(block);
      pool.giveBack(block);
      continue;
    }
    const stored = compress(block);
    // It is awaited in its turn; a failure before that must not count as unhandled.
    stored.catch(() => undefined);
    inFlight.push({ decodedBytes: block.length, stored });
    if (inFlight.length >= Math.max(1, options.parallelism ?? defaultParallelism)) {
      await finishOne();
    }
  }
  while (inFlight.length > 0) {
    await finishOne();
  }
  if (entries.length > 0) {
    await write(encodeSeekTable(entries));
  }
  return { rawBytes, checksum: crc.digest() };
}

/**
 * Cuts a stream into blocks of 1 MiB, copies in memory from `pool`, for what gave the chunks may use them again. Only
 * the last block is shorter.
 */
async function* blocksOf(
  raw: AsyncIterable<Uint8Array>,
  pool: BufferPool,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  let block = pool.take();
  let filled = 0;
  for await (const chunk of raw) {
    signal?.throwIfAborted();
    let from = 0;
    while (from < chunk.length) {
      const count = Math.min(block.length - filled, chunk.length - from);
      block.set(chunk.subarray(from, from + count), filled);
      from += count;
      filled += count;
      if (filled === block.length) {
        yield block;
        block = pool.take();
        filled = 0;
      }
    }
  }
  if (filled > 0) {
    yield block.subarray(0, filled);
  }
}
