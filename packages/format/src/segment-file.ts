// A segment file as stored: the outer map, its payload still compressed. Both directions, whole and streamed.
// `data` stands before `header`, and both are of definite length, so a cut file is always seen. See docs/format.md#segment.
import { cborHead, cborMajor, readCborHead } from "./cbor.ts";
import { crc64 } from "./crc64.ts";
import { PageferryError } from "./errors.ts";
import { headerBytesMax, segmentBytesMax } from "./limits.ts";
import { decodeBareSegment, isBareSegment } from "./segment-bare.ts";
import {
  decodeHeaderCbor,
  encodeSegmentHeader,
  type SegmentHeader,
  segmentHeaderOf,
  segmentWords,
} from "./segment-header.ts";

/** A segment file as stored: the outer header, and the payload still compressed. */
export interface SegmentFile {
  readonly header: SegmentHeader;
  readonly data: Uint8Array;
}

/** `a2 64 "data"`: how segment and snapshot files begin. */
export const dataPrefix: Uint8Array = Buffer.from("\xa2\x64data", "latin1");

/** `66 "header"`: what stands between data and header. */
export const headerKey: Uint8Array = Buffer.from("\x66header", "latin1");

/** Where the data of a file lies. */
export interface DataPlace {
  readonly offset: number;
  readonly length: number;
}

/**
 * Reads the head of a segment or snapshot file. `undefined`: more bytes are needed, never more than 15. Throws `corrupt`
 * for anything else than data of definite length, and `too-large` above `dataBytesMax`.
 */
export function parseDataPlace(bytes: Uint8Array, what: string, dataBytesMax: number): DataPlace | undefined {
  const known = Math.min(bytes.length, dataPrefix.length);
  if (Buffer.compare(bytes.subarray(0, known), dataPrefix.subarray(0, known)) !== 0) {
    throw new PageferryError("corrupt", `${what}: does not begin with a map of data and header`);
  }
  const head = readCborHead(bytes, dataPrefix.length, what);
  if (head === undefined) {
    return undefined;
  }
  if (head.major !== cborMajor.bytes) {
    throw new PageferryError("corrupt", `${what}: data is not a byte string`);
  }
  if (head.argument > dataBytesMax) {
    throw new PageferryError(
      "too-large",
      `${what}: ${head.argument} bytes of data, at most ${dataBytesMax} are read`,
    );
  }
  return { offset: head.end, length: head.argument };
}

/** Everything of a file before its data. */
export function encodeDataHead(length: number): Uint8Array {
  return Buffer.concat([dataPrefix, cborHead(cborMajor.bytes, length)]);
}

/** Splits a whole file into its data (a view) and the decoded map of its header. */
export function splitDataAndHeader(
  bytes: Uint8Array,
  what: string,
  dataBytesMax: number,
): { readonly data: Uint8Array; readonly header: unknown } {
  const place = parseDataPlace(bytes, what, dataBytesMax);
  const end = place === undefined ? 0 : place.offset + place.length;
  if (place === undefined || bytes.length < end + headerKey.length) {
    throw new PageferryError("corrupt", `${what}: cut short at ${bytes.length} bytes`);
  }
  return { data: bytes.subarray(place.offset, end), header: decodeKeyedHeader(bytes.subarray(end), what) };
}

/** Decodes `"header": {…}`, the last part of a file. */
export function decodeKeyedHeader(bytes: Uint8Array, what: string): unknown {
  if (Buffer.compare(bytes.subarray(0, headerKey.length), headerKey) !== 0) {
    throw new PageferryError("corrupt", `${what}: no header follows the data`);
  }
  return decodeHeaderCbor(bytes.subarray(headerKey.length), `${what}: header`);
}

/**
 * Decodes a segment file without decompressing it, and verifies its checksum. `data` is a view into `bytes`. A bare one (see
 * segment-bare.ts) is decompressed, for its header. Errors: `corrupt`, `too-large`, `unsupported-version`.
 */
export function decodeSegmentFile(bytes: Uint8Array): SegmentFile {
  if (isBareSegment(bytes) === true) {
    const { header, data } = decodeBareSegment(bytes);
    return { header, data };
  }
  const { data, header: map } = splitDataAndHeader(bytes, "segment", segmentBytesMax);
  const header = segmentHeaderOf(map, "segment header");
  const sum = crc64(data);
  if (sum !== header.checksum) {
    throw new PageferryError(
      "corrupt",
      `${segmentWords(header)}: checksum ${sum.toString(16)}, its header says ${header.checksum.toString(16)}`,
    );
  }
  return { header, data };
}

/** Encodes a segment file with the data as it is stored; what `decodeSegmentFile` gave comes back byte for byte. */
export function encodeSegmentFile({ header, data }: SegmentFile): Uint8Array {
  return joinSegmentFile({ header, data: [data] });
}

/** As `encodeSegmentFile`, of data in pieces. */
export function joinSegmentFile({
  header,
  data,
}: Pick<SegmentFile, "header"> & { readonly data: readonly Uint8Array[] }): Uint8Array {
  const length = data.reduce((sum, piece) => sum + piece.length, 0);
  return Buffer.concat([encodeDataHead(length), ...data, headerKey, encodeSegmentHeader(header)]);
}

/** The same segment with the outer attribute `received`: milliseconds at which the queue took it. Data is untouched. */
export function withReceived(bytes: Uint8Array, receivedMs: number): Uint8Array {
  const { header, data } = decodeSegmentFile(bytes);
  return encodeSegmentFile({
    data,
    header: { ...header, attrs: { ...header.attrs, received: String(receivedMs) } },
  });
}

/**
 * Collects a segment file from a stream, at most as many bytes as its own head says. A hostile length is refused with
 * the first bytes, and nothing is allocated for what has not come.
 */
export async function collectSegmentFile(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  let bytesMax: number | undefined;
  for await (const chunk of chunks) {
    parts.push(chunk);
    size += chunk.length;
    if (bytesMax === undefined) {
      bytesMax = fileBytesMax(parts.length === 1 ? chunk : Buffer.concat(parts));
    }
    if (bytesMax !== undefined && size > bytesMax) {
      throw new PageferryError(
        "too-large",
        `segment: more than ${bytesMax} bytes, which its own head allows`,
      );
    }
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
}

/** The most bytes that a file with this head may have. `undefined`: more of it is needed. */
function fileBytesMax(head: Uint8Array): number | undefined {
  const isBare = isBareSegment(head);
  if (isBare === undefined) return undefined;
  if (isBare) return segmentBytesMax;
  const place = parseDataPlace(head, "segment", segmentBytesMax);
  return place === undefined ? undefined : place.offset + place.length + headerKey.length + headerBytesMax;
}
