// A large payload: zstd frames of 1 MiB of input, the page index, the seek table. Both directions, and ranged reads.
// See docs/format.md#seekable.
import { PageferryError } from "./errors.ts";
import { seekFrameBytes } from "./limits.ts";
import {
  encodePageIndex,
  encodeSeekTable,
  findPageIndex,
  type PageIndexEntry,
  type SeekEntry,
} from "./seekable.ts";
import type { SegmentFile } from "./segment-file.ts";
import { segmentWords } from "./segment-header.ts";
import type { EncodedPayload, PageFrame } from "./segment-payload.ts";
import { zstdCompress, zstdCompressSync } from "./zstd.ts";

/** Frames compressed at a time: libuv has four threads unless told otherwise. */
const framesAtOnce = 4;

function blocksOf(bytes: Uint8Array): Uint8Array[] {
  const blocks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += seekFrameBytes) {
    blocks.push(bytes.subarray(at, at + seekFrameBytes));
  }
  return blocks;
}

function seal(
  payload: EncodedPayload,
  blocks: readonly Uint8Array[],
  frames: readonly Uint8Array[],
): Uint8Array[] {
  const index = encodePageIndex(payload.index);
  const entries: SeekEntry[] = frames.map((frame, position) => ({
    storedBytes: frame.length,
    decodedBytes: blocks[position]?.length ?? 0,
  }));
  entries.push({ storedBytes: index.length, decodedBytes: 0 });
  return [...frames, index, encodeSeekTable(entries)];
}

/** Compresses a payload frame by frame on this thread; its page index and seek table follow. In pieces. */
export function compressSeekableSync(payload: EncodedPayload, level: number): Uint8Array[] {
  const blocks = blocksOf(payload.bytes);
  return seal(
    payload,
    blocks,
    blocks.map((block) => zstdCompressSync(block, level)),
  );
}

/** As `compressSeekableSync`, several frames at a time on libuv threads. */
export async function compressSeekable(payload: EncodedPayload, level: number): Promise<Uint8Array[]> {
  const blocks = blocksOf(payload.bytes);
  const frames: Uint8Array[] = [];
  for (let first = 0; first < blocks.length; first += framesAtOnce) {
    const now = blocks.slice(first, first + framesAtOnce);
    frames.push(...(await Promise.all(now.map((block) => zstdCompress(block, level)))));
  }
  return seal(payload, blocks, frames);
}

/** Throws `corrupt` where a payload has a page index that does not tell where its frames lie. `raw` is the payload decoded. */
export function checkPageIndex(file: SegmentFile, raw: Uint8Array, pages: readonly PageFrame[]): void {
  const what = segmentWords(file.header);
  const index = file.header.compression === "none" ? undefined : findPageIndex(file.data, what);
  if (index === undefined) {
    return;
  }
  const isTrue =
    index.length === pages.length &&
    index.every((entry, position) => isPlace(entry, pages[position], raw.byteOffset));
  if (!isTrue) {
    throw new PageferryError("corrupt", `${what}: its page index does not tell where its pages lie`);
  }
}

function isPlace(entry: PageIndexEntry, page: PageFrame | undefined, rawOffset: number): boolean {
  return (
    page !== undefined &&
    entry.pageId === page.id &&
    entry.count === BigInt(page.overflow) + 1n &&
    entry.offset === BigInt(page.data.byteOffset - rawOffset)
  );
}
