// A snapshot file held whole, its data still compressed: for small ones, and for tests. Both directions.
// Databases are not held whole: see snapshot-encode.ts and snapshot-decode.ts. docs/format.md#snapshot.
import { crc64 } from "./crc64.ts";
import { encodeDataHead, headerKey, splitDataAndHeader } from "./segment-file.ts";
import { bareCodecOf, bareSnapshotHeader } from "./snapshot-bare.ts";
import {
  checkSnapshotSum,
  encodeSnapshotHeader,
  type SnapshotHeader,
  snapshotHeaderOf,
} from "./snapshot-header.ts";
import { zstdDecompressSync } from "./zstd.ts";

/** A snapshot file as stored: its header, and the data still compressed. */
export interface SnapshotFile {
  readonly header: SnapshotHeader;
  readonly data: Uint8Array;
}

/** Whole snapshots are decoded in memory up to this; larger ones are streams. */
const wholeSnapshotBytesMax = 1024 * 1024 * 1024;

/**
 * Decodes a snapshot file held whole, without decompressing it, and verifies its checksum if it has one. `data` is a
 * view. A bare one (see snapshot-bare.ts) is decompressed, for its header. Errors: `corrupt`, `too-large`, `unsupported-version`.
 */
export function decodeSnapshotFile(bytes: Uint8Array): SnapshotFile {
  const codec = bareCodecOf(bytes);
  if (codec !== undefined) {
    const bounds = { outputBytesMax: wholeSnapshotBytesMax, what: "bare snapshot" };
    const raw = codec === "zstd" ? zstdDecompressSync(bytes, bounds) : bytes;
    return { header: bareSnapshotHeader(raw, codec), data: bytes };
  }
  const { data, header: map } = splitDataAndHeader(bytes, "snapshot", wholeSnapshotBytesMax);
  const header = snapshotHeaderOf(map, "snapshot header");
  checkSnapshotSum(header, crc64(data));
  return { header, data };
}

/** Encodes a snapshot file with the data as it is stored; what `decodeSnapshotFile` gave comes back byte for byte. */
export function encodeSnapshotFile(file: SnapshotFile): Uint8Array {
  return Buffer.concat([
    encodeDataHead(file.data.length),
    file.data,
    headerKey,
    encodeSnapshotHeader(file.header),
  ]);
}
