// A segment: the pages of one transaction, or of a range (parentTxId, txId]. Both directions. See docs/format.md#segment.
import type { CompressionConfig } from "./config-compression.ts";
import type { SegmentHeader } from "./segment-header.ts";
import type { TxId } from "./txid.ts";

/** A run of consecutive pages. A captured frame is one bolt run; a merged one need not begin with a page header. */
export interface PageFrame {
  readonly id: bigint;
  /** Pages after the first. */
  readonly overflow: number;
  /** (overflow + 1) × page size bytes. After decoding it is a view, not a copy. */
  readonly data: Uint8Array;
}

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
}

/** A segment file as stored: the outer header, and the payload still compressed. */
export interface SegmentFile {
  readonly header: SegmentHeader;
  readonly data: Uint8Array;
}

export type { SegmentHeader } from "./segment-header.ts";
