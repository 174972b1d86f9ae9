// A snapshot: a whole database at one transaction, as a stream with a header behind it. The ports it needs, and the form
// of small ones held whole. Streams: snapshot-encode.ts, snapshot-decode.ts; ranges: snapshot-range.ts. docs/format.md#snapshot.
import { crc64 } from "./crc64.ts";
import { PageferryError } from "./errors.ts";
import { encodeDataHead, headerKey, splitDataAndHeader } from "./segment-file.ts";
import { encodeSnapshotHeader, type SnapshotHeader, snapshotHeaderOf, snapshotWords } from "./snapshot-header.ts";

export type { SnapshotHeader } from "./snapshot-header.ts";

/** Bytes that can be read from anywhere: a file, an object of a store. */
export interface RandomReader {
  readonly size: number;
  /** Gives exactly `length` bytes; a range past the end is an error. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** A place for bytes whose number is not known yet: a temporary file, or memory in tests. */
export interface Spool {
  /** Appends; the bytes may be reused after the promise is fulfilled. */
  write(bytes: Uint8Array): Promise<void>;
  /** Bytes written so far. */
  size(): number;
  /** Reads from the beginning; may be called again, after the last write. */
  open(): AsyncIterable<Uint8Array>;
  /** Frees what was spooled; calling it twice is nothing. */
  remove(): Promise<void>;
}

/** A snapshot file as stored: its header, and the data still compressed. For small ones, and for tests. */
export interface SnapshotFile {
  readonly header: SnapshotHeader;
  readonly data: Uint8Array;
}

/** Whole snapshots are decoded in memory up to this; larger ones are streams. */
const wholeSnapshotBytesMax = 1024 * 1024 * 1024;

/** Decodes a snapshot file held whole, without decompressing it; `data` is a view. The checksum is verified if there is one. */
export function decodeSnapshotFile(bytes: Uint8Array): SnapshotFile {
  const { data, header: map } = splitDataAndHeader(bytes, "snapshot", wholeSnapshotBytesMax);
  const header = snapshotHeaderOf(map, "snapshot header");
  checkSnapshotSum(header, crc64(data));
  return { header, data };
}

/** Throws `corrupt` where the header has a checksum and it is another. */
export function checkSnapshotSum(header: SnapshotHeader, sum: bigint): void {
  if (header.checksum !== undefined && header.checksum !== sum) {
    throw new PageferryError(
      "corrupt",
      `${snapshotWords(header)}: checksum ${sum.toString(16)}, its header says ${header.checksum.toString(16)}`,
    );
  }
}

/** Encodes a snapshot file with the data as it is stored; what `decodeSnapshotFile` gave comes back byte for byte. */
export function encodeSnapshotFile(file: SnapshotFile): Uint8Array {
  return Buffer.concat([encodeDataHead(file.data.length), file.data, headerKey, encodeSnapshotHeader(file.header)]);
}
