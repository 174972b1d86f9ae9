// Builders for tests: segments, pages and places for bytes, all made from nothing and alike each time.
import type { RandomReader, Spool } from "./ports.ts";
import type { SegmentInput } from "./segment.ts";
import type { PageFrame } from "./segment-payload.ts";
import { txId } from "./txid.ts";

/** Numbers from 0 to 2^32-1 that look random and are the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** A run of `pages` blocks at `id`, each filled with bytes that depend on its page id and `fill`. */
export function frameOf(id: number | bigint, pages = 1, fill = 0, pageSize = 4096): PageFrame {
  const data = new Uint8Array(pages * pageSize);
  for (let page = 0; page < pages; page += 1) {
    data.fill((Number(id) + page + fill) & 0xff, page * pageSize, (page + 1) * pageSize);
  }
  return { id: BigInt(id), overflow: pages - 1, data };
}

/** What `segmentOf` may be told; the rest is chosen. */
export interface SegmentOfOptions extends Partial<Omit<SegmentInput, "txId" | "parentTxId">> {
  readonly txId: number | bigint;
  /** Default: one below `txId`. */
  readonly parentTxId?: number | bigint;
}

/** A segment to encode: one transaction, one page, unless told otherwise. */
export function segmentOf(options: SegmentOfOptions): SegmentInput {
  const { txId: id, parentTxId = BigInt(id) - 1n, ...rest } = options;
  const pages = rest.pages ?? [frameOf(3)];
  const last = pages.at(-1);
  return {
    pageSize: 4096,
    highWaterMark: last === undefined ? 4n : last.id + BigInt(last.overflow) + 1n,
    createdAt: 1_760_000_000,
    attrs: {},
    ...rest,
    pages,
    txId: txId(id),
    parentTxId: txId(parentTxId),
  };
}

/** A spool in memory. */
export function memorySpool(): Spool {
  let parts: Uint8Array[] = [];
  let size = 0;
  return {
    async write(bytes) {
      parts.push(new Uint8Array(bytes));
      size += bytes.length;
    },
    size: () => size,
    async *open() {
      yield* parts;
    },
    async remove() {
      parts = [];
    },
  };
}

/** Bytes as something to read ranges of; `reads` tells which were asked for. */
export function memoryReader(
  bytes: Uint8Array,
): RandomReader & { readonly reads: [offset: number, length: number][] } {
  const reads: [number, number][] = [];
  return {
    reads,
    size: bytes.length,
    async read(offset, length) {
      reads.push([offset, length]);
      return bytes.slice(offset, offset + length);
    },
  };
}

/** Cuts bytes into chunks of the sizes that `nextSize` gives. */
export async function* chunked(bytes: Uint8Array, nextSize: () => number): AsyncGenerator<Uint8Array> {
  let at = 0;
  while (at < bytes.length) {
    const end = at + Math.max(1, nextSize());
    yield bytes.subarray(at, end);
    at = end;
  }
}

/** All of a stream in one buffer. */
export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) {
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}
