// A snapshot: a whole database at one transaction. Its words, from the files that hold each: the header, the file held
// whole, the two streams, and ranges. See docs/format.md#snapshot.
export type { RandomReader, Spool } from "./ports.ts";
export { type DecodedSnapshot, type DecodeSnapshotOptions, decodeSnapshot } from "./snapshot-decode.ts";
export {
  type EncodedSnapshot,
  type EncodeSnapshotOptions,
  encodeSnapshot,
  type SnapshotInput,
} from "./snapshot-encode.ts";
export { decodeSnapshotFile, encodeSnapshotFile, type SnapshotFile } from "./snapshot-file.ts";
export { decodeSnapshotHeader, encodeSnapshotHeader, type SnapshotHeader } from "./snapshot-header.ts";
export {
  openSnapshot,
  readSnapshotHeader,
  readSnapshotRange,
  type SnapshotRanges,
} from "./snapshot-range.ts";
