// A segment as the Go implementation's S3 and NATS replicas hold it: the payload alone, without the map around it. The inner header says
// all that the outer one would; only the checksum is lost, which for zstd its own replaces. See docs/format.md#bare.
import { decodeCbor } from "./cbor.ts";
import { cborFields } from "./cbor-fields.ts";
import { crc64 } from "./crc64.ts";
import { PageferryError } from "./errors.ts";
import { segmentBytesMax, segmentRawBytesMax } from "./limits.ts";
import type { RandomReader } from "./ports.ts";
import { isCompressed, type SegmentHeader, segmentHeaderOf, segmentWords } from "./segment-header.ts";
import { zstdDecompress, zstdDecompressSync } from "./zstd.ts";

/** A bare segment with the header that its file would have. */
export interface BareSegment {
  /** As the outer header would be: the inner one, with the checksum of `data`. */
  readonly header: SegmentHeader;
  /** The bytes as they are stored. */
  readonly data: Uint8Array;
  /** The payload, decompressed. */
  readonly raw: Uint8Array;
}

/** How a zstd frame begins; the Go implementation writes no skippable ones. */
const zstdHead = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd);

/** `a2 65`: a payload that is not compressed begins with a map whose first key is `pages`; a file's first key is `data`. */
const payloadHead = Uint8Array.of(0xa2, 0x65);

/** What a store is asked for at a time. */
const pieceBytes = 1024 * 1024;

/** Whether bytes begin a bare segment. `undefined`: more are needed, never more than four. */
export function isBareSegment(head: Uint8Array): boolean | undefined {
  const isZstd = beginsWith(head, zstdHead);
  const isPayload = beginsWith(head, payloadHead);
  if (isZstd === true || isPayload === true) return true;
  return isZstd === undefined || isPayload === undefined ? undefined : false;
}

function beginsWith(bytes: Uint8Array, head: Uint8Array): boolean | undefined {
  const known = Math.min(bytes.length, head.length);
  if (Buffer.compare(bytes.subarray(0, known), head.subarray(0, known)) !== 0) return false;
  return known === head.length ? true : undefined;
}

const bounds = { outputBytesMax: segmentRawBytesMax, what: "bare segment" };

/** Decodes a bare segment as far as its header. Errors: `corrupt`, `too-large`, `unsupported-version`. */
export function decodeBareSegment(data: Uint8Array): BareSegment {
  checkSize(data.length);
  const isZstd = beginsWith(data, zstdHead) === true;
  return bareSegmentOf(data, isZstd ? zstdDecompressSync(data, bounds) : data, isZstd);
}

/** As `decodeBareSegment`, decompressing on libuv threads; `data` must not change meanwhile. */
export async function decodeBareSegmentAsync(
  data: Uint8Array,
  outputBytesMax: number = segmentRawBytesMax,
): Promise<BareSegment> {
  checkSize(data.length);
  const isZstd = beginsWith(data, zstdHead) === true;
  const raw = isZstd ? await zstdDecompress(data, { ...bounds, outputBytesMax }) : data;
  return bareSegmentOf(data, raw, isZstd);
}

/** Reads what a bare segment says of itself; that lies at the end of its payload, so all of it is read. */
export async function readBareSegmentHeader(reader: RandomReader): Promise<SegmentHeader> {
  checkSize(reader.size);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < reader.size; at += pieceBytes) {
    pieces.push(await reader.read(at, Math.min(pieceBytes, reader.size - at)));
  }
  return (await decodeBareSegmentAsync(Buffer.concat(pieces))).header;
}

function checkSize(size: number): void {
  if (size > segmentBytesMax) {
    throw new PageferryError("too-large", `bare segment: ${size} bytes, at most ${segmentBytesMax} are read`);
  }
}

function bareSegmentOf(data: Uint8Array, raw: Uint8Array, isZstd: boolean): BareSegment {
  const fields = cborFields(decodeCbor(raw, "bare segment"), "bare segment");
  const inner = segmentHeaderOf(fields.map("header"), "bare segment: inner header");
  const what = segmentWords(inner);
  if (isCompressed(inner, what) !== isZstd) {
    throw new PageferryError(
      "corrupt",
      `${what}: its inner header says ${inner.compression || "zstd"}, its bytes are something else`,
    );
  }
  return { header: { ...inner, checksum: crc64(data) }, data, raw };
}
