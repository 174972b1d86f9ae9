// The pages of a range as it is folded, newest segment first: of every page the newest block, once. Pure. See docs/format.md#merge.

import { parseFreelist } from "./bolt/freelist.ts";
import { pageHeader } from "./bolt/page.ts";
import { giveBack } from "./give-back.ts";
import type { PageFrame } from "./segment-payload.ts";

/** Blocks that grow in number; each is a copy, so that what they came from may go. */
export interface PageFold {
  /** Bytes of the blocks, if these runs were added, too. */
  bytesWith(layers: readonly Uint32Array[]): number;
  /** Takes what is not known yet of `runs` (pairs: first page, count) and their frames. Meta pages are left out. */
  add(runs: Uint32Array, frames: readonly Uint8Array[]): void;
  /**
   * Drops what the freelist of the final state names, now and from what is added later: it was written on the way and is not live in the
   * end. To be called when the newest segment is in; a freelist that it does not hold whole drops nothing. The last page of all stays: the Go
   * implementation's restore makes a file as long as what is written.
   */
  dropFree(freelist: number | null): void;
  /** Maximal runs, ascending. */
  frames(): PageFrame[];
  /** Gives all memory back at once, that of the frames too. */
  release(): void;
}

/** The first page that is not a meta page. */
const firstPage = 2;

/** Bytes of one piece of memory for blocks. */
const slabBytes = 1024 * 1024;

/** `highWaterMark` is that of the final state: pages from it on are left out. */
export function createPageFold(pageSize: number, highWaterMark: number): PageFold {
  const blocks = new Map<number, Uint8Array>();
  const free = new Set<number>();
  const memory: Uint8Array[] = [];
  let slab = new Uint8Array(0);
  let used = 0;
  const isWanted = (id: number): boolean =>
    id >= firstPage && id < highWaterMark && !blocks.has(id) && !free.has(id);
  const copy = (block: Uint8Array): Uint8Array => {
    if (used + pageSize > slab.length) {
      slab = new Uint8Array(Math.max(slabBytes, pageSize));
      memory.push(slab);
      used = 0;
    }
    const place = slab.subarray(used, used + pageSize);
    place.set(block);
    used += pageSize;
    return place;
  };
  return {
    bytesWith(layers) {
      const added = new Set<number>();
      for (const runs of layers) {
        for (let at = 0; at < runs.length; at += 2) {
          const first = runs[at] as number;
          for (let id = first; id < first + (runs[at + 1] as number); id += 1) {
            if (isWanted(id)) added.add(id);
          }
        }
      }
      return (blocks.size + added.size) * pageSize;
    },
    add(runs, frames) {
      for (const [at, data] of frames.entries()) {
        const first = runs[at * 2] as number;
        const count = runs[at * 2 + 1] as number;
        for (let page = 0; page < count; page += 1) {
          const id = first + page;
          if (isWanted(id)) blocks.set(id, copy(data.subarray(page * pageSize, (page + 1) * pageSize)));
        }
      }
    },
    dropFree(freelist) {
      const run = freelist === null ? undefined : runAt(blocks, freelist);
      if (run === undefined) return;
      for (const id of parseFreelist(run)) {
        if (id === highWaterMark - 1) continue;
        blocks.delete(id);
        free.add(id);
      }
    },
    frames() {
      const ids = [...blocks.keys()].sort((a, b) => a - b);
      const slabs = new Set(memory.map(({ buffer }) => buffer));
      const found: PageFrame[] = [];
      for (let from = 0; from < ids.length; ) {
        let to = from + 1;
        while (to < ids.length && ids[to] === (ids[to - 1] as number) + 1) to += 1;
        const pieces = ids.slice(from, to).map((id) => blocks.get(id) as Uint8Array);
        const data = joined(pieces) ?? Buffer.concat(pieces);
        if (!slabs.has(data.buffer)) memory.push(data);
        found.push({ id: BigInt(ids[from] as number), overflow: to - from - 1, data });
        from = to;
      }
      return found;
    },
    release() {
      blocks.clear();
      for (const bytes of memory.splice(0)) giveBack(bytes);
    },
  };
}

/** Blocks that lie one behind the other in one memory, as one; `undefined` where they do not. */
function joined(pieces: readonly Uint8Array[]): Uint8Array | undefined {
  const [first] = pieces;
  let end = first?.byteOffset;
  for (const piece of pieces) {
    if (piece.buffer !== first?.buffer || piece.byteOffset !== end) return undefined;
    end = piece.byteOffset + piece.length;
  }
  return first && new Uint8Array(first.buffer, first.byteOffset, Number(end) - first.byteOffset);
}

function runAt(blocks: ReadonlyMap<number, Uint8Array>, id: number): Uint8Array | undefined {
  const head = blocks.get(id);
  if (head === undefined) return undefined;
  const pieces = [head];
  for (let page = 1; page <= pageHeader(head).overflow; page += 1) {
    const block = blocks.get(id + page);
    if (block === undefined) return undefined;
    pieces.push(block);
  }
  return Buffer.concat(pieces);
}
