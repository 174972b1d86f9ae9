// Captured ranges as segments, and back from the shadow.
import {
  type CompressionConfig,
  decodeSegmentAsync,
  encodeSegmentAsync,
  PageferryError,
  type SegmentState,
  segmentAttrs,
} from "@pageferry/format";
import type { RangePart } from "./range-merge.ts";
import type { ShadowRecord } from "./shadow-record.ts";

/** What a segment of ours says where it comes from. */
export type SegmentSource = NonNullable<SegmentState["source"]>;

/** Encodes a range. Its pages are copied before this returns, so that their memory may be used again. */
export function encodeRange(
  part: RangePart,
  source: SegmentSource,
  compression: CompressionConfig,
): Promise<Uint8Array> {
  const { pre, post, stampMs } = part;
  return encodeSegmentAsync(
    {
      txId: part.txId,
      parentTxId: part.parentTxId,
      pageSize: part.pageSize,
      highWaterMark: BigInt(part.highWaterMark),
      // From the stamp, so that encoding again gives the same header.
      createdAt: Math.floor(stampMs / 1000),
      attrs: segmentAttrs({ pre, post, stampMs, source }),
      pages: part.frames.map((frame) => ({
        id: BigInt(frame.id),
        overflow: frame.overflow,
        data: frame.data,
      })),
    },
    { compression },
  );
}

/** Decodes a shadow record. Throws `corrupt` where its segment is not what the record says. */
export async function decodeRange(record: ShadowRecord): Promise<RangePart> {
  const { header, pages } = await decodeSegmentAsync(record.segment);
  if (header.txId !== record.txId || header.parentTxId !== record.parentTxId) {
    throw new PageferryError(
      "corrupt",
      `shadow record ${record.parentTxId}..${record.txId}: its segment is another one`,
    );
  }
  return {
    parentTxId: record.parentTxId,
    txId: record.txId,
    pageSize: header.pageSize,
    highWaterMark: Number(header.highWaterMark),
    pre: record.pre,
    post: record.post,
    stampMs: record.stampMs,
    frames: pages.map((page) => ({ id: Number(page.id), overflow: page.overflow, data: page.data })),
    freed: record.freed,
  };
}
