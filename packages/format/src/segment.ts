// A segment: the pages of one transaction, or of a range (parentTxId, txId]. Both directions. See docs/format.md#segment.
import { type CompressionConfig, compressionSettings, defaultCompression } from "./config-compression.ts";
import { createCrc64 } from "./crc64.ts";
import { giveBack } from "./give-back.ts";
import { largePayloadBytes, segmentFramesMax, segmentRawBytesMax } from "./limits.ts";
import { decodeBareSegment, decodeBareSegmentAsync, isBareSegment } from "./segment-bare.ts";
import { collectSegmentFile, decodeSegmentFile, joinSegmentFile, type SegmentFile } from "./segment-file.ts";
import { headerVersion, isCompressed, type SegmentHeader, segmentWords } from "./segment-header.ts";
import { checkPageIndex, compressSeekable, compressSeekableSync } from "./segment-large.ts";
import {
  decodeSegmentPayload,
  type EncodedPayload,
  encodeSegmentPayload,
  type PageFrame,
} from "./segment-payload.ts";
import type { TxId } from "./txid.ts";
import { nodeZstdLevel, zstdCompress, zstdCompressSync, zstdDecompress, zstdDecompressSync } from "./zstd.ts";

export type { SegmentHeader } from "./segment-header.ts";
export type { PageFrame } from "./segment-payload.ts";

/** A segment, decoded. Frames ascend by id and do not overlap. */
export interface Segment {
  readonly header: SegmentHeader;
  readonly pages: readonly PageFrame[];
}

/** What a segment is made of; the rest of the header follows from it. */
export interface SegmentInput {
  readonly txId: TxId;
  readonly parentTxId: TxId;
  readonly pageSize: number;
  readonly highWaterMark: bigint;
  /** Unix seconds (the fraction is dropped); `null` is Go's zero time. */
  readonly createdAt: number | null;
  readonly attrs: Readonly<Record<string, string>>;
  readonly pages: readonly PageFrame[];
}

/** How to encode. */
export interface EncodeSegmentOptions {
  /** Default: zstd at Node's level 3. */
  readonly compression?: CompressionConfig;
  /** Milliseconds at which the queue took it, for the outer header alone. */
  readonly receivedMs?: number | undefined;
}

interface Plan {
  readonly header: SegmentHeader;
  readonly receivedMs: number | undefined;
  readonly payload: EncodedPayload;
  readonly how: "as it is" | "one frame" | "seekable";
  readonly zstdLevel: number;
}

function plan(input: SegmentInput, options: EncodeSegmentOptions): Plan {
  const settings = compressionSettings(options.compression ?? defaultCompression);
  const { pages, createdAt, ...rest } = input;
  const header: SegmentHeader = {
    ...rest,
    createdAt: createdAt === null ? null : Math.floor(createdAt),
    pageCount: BigInt(pages.length),
    compression: settings.codec,
    compressionLevel: settings.level,
    compressionWindow: 0,
    checksum: 0n,
    version: headerVersion,
  };
  const payload = encodeSegmentPayload(header, pages);
  const isLarge = payload.bytes.length > largePayloadBytes;
  const how = settings.codec === "none" ? "as it is" : isLarge ? "seekable" : "one frame";
  return { header, receivedMs: options.receivedMs, payload, how, zstdLevel: nodeZstdLevel(settings) };
}

/** Puts the file together, of data in pieces that nobody needs any more. */
function finish({ header, receivedMs, payload, how }: Plan, data: readonly Uint8Array[]): Uint8Array {
  if (how !== "as it is") giveBack(payload.bytes);
  const sum = createCrc64();
  for (const piece of data) sum.update(piece);
  const attrs = receivedMs === undefined ? {} : { received: String(receivedMs) };
  const outer = { ...header, checksum: sum.digest(), attrs: { ...header.attrs, ...attrs } };
  const file = joinSegmentFile({ data, header: outer });
  for (const piece of data) giveBack(piece);
  return file;
}

/**
 * Encodes a segment file on this thread. Frames must ascend and not overlap (an assertion); `too-large` for more than
 * 131,072 runs or 512 MiB, where a snapshot is the better thing. A payload over 8 MiB becomes seekable.
 */
export function encodeSegment(input: SegmentInput, options: EncodeSegmentOptions = {}): Uint8Array {
  const planned = plan(input, options);
  const { payload, how, zstdLevel } = planned;
  switch (how) {
    case "as it is":
      return finish(planned, [payload.bytes]);
    case "one frame":
      return finish(planned, [zstdCompressSync(payload.bytes, zstdLevel)]);
    default:
      return finish(planned, compressSeekableSync(payload, zstdLevel));
  }
}

/** As `encodeSegment`, compressing on libuv threads, a large payload on several. The pages are copied before it returns. */
export async function encodeSegmentAsync(
  input: SegmentInput,
  options: EncodeSegmentOptions = {},
): Promise<Uint8Array> {
  const planned = plan(input, options);
  const { payload, how, zstdLevel } = planned;
  switch (how) {
    case "as it is":
      return finish(planned, [payload.bytes]);
    case "one frame":
      return finish(planned, [await zstdCompress(payload.bytes, zstdLevel)]);
    default:
      return finish(planned, await compressSeekable(payload, zstdLevel));
  }
}

/**
 * The most bytes the payload may decode to: its pages lie below the high-water mark, each once. It stops a few
 * kilobytes of zstd from becoming gigabytes before anything else is known.
 */
function rawBytesMax(header: SegmentHeader): number {
  const frames = header.pageCount > segmentFramesMax ? BigInt(segmentFramesMax) : header.pageCount;
  const bound = header.highWaterMark * BigInt(header.pageSize) + frames * frameOverheadBytes + roomBytes;
  return bound > segmentRawBytesMax ? segmentRawBytesMax : Number(bound);
}

/** A frame's keys and heads are at most 46 bytes. */
const frameOverheadBytes = 64n;

/** Headers, and the runs beyond their mark that the Go implementation's vectors hold. */
const roomBytes = 1024n * 1024n;

function finishDecode(file: SegmentFile, raw: Uint8Array): Segment {
  const pages = decodeSegmentPayload(raw, file.header);
  checkPageIndex(file, raw, pages);
  return { header: file.header, pages };
}

function rawBounds(
  header: SegmentHeader,
  bytesMax: number = segmentRawBytesMax,
): { readonly outputBytesMax: number; readonly what: string } {
  return { outputBytesMax: Math.min(rawBytesMax(header), bytesMax), what: segmentWords(header) };
}

/**
 * Decodes a segment file on this thread and verifies it: checksum, inner against outer header, whole pages, ascending
 * without overlap. Page data are views into one buffer. Errors: `corrupt`, `too-large`, `unsupported-version`.
 */
export function decodeSegment(bytes: Uint8Array): Segment {
  if (isBareSegment(bytes) === true) {
    const bare = decodeBareSegment(bytes);
    return finishDecode(bare, bare.raw);
  }
  const file = decodeSegmentFile(bytes);
  const isPacked = isCompressed(file.header, segmentWords(file.header));
  return finishDecode(file, isPacked ? zstdDecompressSync(file.data, rawBounds(file.header)) : file.data);
}

/**
 * As `decodeSegment`, decompressing on libuv threads; `bytes` must not change meanwhile. More than `rawBytesMax` decoded bytes (default: as many
 * as a segment may have) are `too-large`.
 */
export async function decodeSegmentAsync(
  bytes: Uint8Array,
  options: { readonly rawBytesMax?: number } = {},
): Promise<Segment> {
  if (isBareSegment(bytes) === true) {
    const bare = await decodeBareSegmentAsync(bytes, options.rawBytesMax);
    return finishDecode(bare, bare.raw);
  }
  const file = decodeSegmentFile(bytes);
  if (!isCompressed(file.header, segmentWords(file.header))) return finishDecode(file, file.data);
  return finishDecode(file, await zstdDecompress(file.data, rawBounds(file.header, options.rawBytesMax)));
}

/** Collects a segment file from a stream, refusing a hostile length with its first bytes, and decodes it. */
export async function decodeSegmentStream(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<Segment> {
  return decodeSegmentAsync(await collectSegmentFile(chunks));
}
