// Frame application: which pages of a segment go into a database that is written newest first, each page once; and the plain way, oldest
// first, on an image in memory. Per page, never per frame: frames of two transactions overlap in any way. See docs/format.md#apply.

import { PageferryError } from "./errors.ts";
import type { Segment } from "./segment.ts";

/** The first page that is not a meta page. */
const firstPage = 2;

/** Pages below a high-water mark, each claimed at most once. */
export interface PageClaims {
  readonly pageCount: number;
  /** One bit per page, in memory that threads may share. Only the owner writes. */
  readonly words: Uint32Array;
  /**
   * Claims what is still free of `runs` (pairs: first page, count; ascending). Returns triples: index of the run, first page inside of it,
   * count. Meta pages and pages from the high-water mark on are never claimed.
   */
  claim(runs: Uint32Array): Uint32Array;
}

/** Makes claims for a database of `pageCount` pages; with `isShared` in memory that can be given to threads. */
export function createPageClaims(pageCount: number, isShared = false): PageClaims {
  const bytes = Math.ceil(pageCount / 32) * 4;
  const words = new Uint32Array(isShared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes));
  return {
    pageCount,
    words,
    claim(runs) {
      const claimed: number[] = [];
      for (let at = 0; at < runs.length; at += 2) {
        const first = runs[at] as number;
        const end = Math.min(first + (runs[at + 1] as number), pageCount);
        for (let page = Math.max(first, firstPage); page < end; ) {
          const from = nextFree(words, page, end);
          const to = nextClaimed(words, from, end);
          if (to > from) {
            setBits(words, from, to);
            claimed.push(at / 2, from - first, to - from);
          }
          page = to;
        }
      }
      return Uint32Array.from(claimed);
    },
  };
}

/**
 * Calls `take` with every maximal piece of [offset, offset + length), in bytes, that lies in pages which nobody claimed. Meta pages
 * and what lies from `pageCount` on is left out.
 */
export function eachUnclaimed(
  claims: Pick<PageClaims, "words" | "pageCount">,
  pageSize: number,
  offset: number,
  length: number,
  take: (offset: number, length: number) => void,
): void {
  const end = Math.min(offset + length, claims.pageCount * pageSize);
  const lastPage = Math.ceil(end / pageSize);
  for (let page = Math.max(Math.floor(offset / pageSize), firstPage); page < lastPage; ) {
    const from = nextFree(claims.words, page, lastPage);
    const to = nextClaimed(claims.words, from, lastPage);
    const start = Math.max(from * pageSize, offset);
    const stop = Math.min(to * pageSize, end);
    if (stop > start) take(start, stop - start);
    page = to;
  }
}

function nextFree(words: Uint32Array, from: number, end: number): number {
  let page = from;
  while (page < end) {
    const word = words[page >>> 5] as number;
    if (word === 0xffffffff) page = (page | 31) + 1;
    else if ((word >>> (page & 31)) & 1) page += 1;
    else return page;
  }
  return end;
}

function nextClaimed(words: Uint32Array, from: number, end: number): number {
  let page = from;
  while (page < end) {
    const word = words[page >>> 5] as number;
    if (word === 0) page = (page | 31) + 1;
    else if ((word >>> (page & 31)) & 1) return page;
    else page += 1;
  }
  return end;
}

function setBits(words: Uint32Array, from: number, to: number): void {
  for (let page = from; page < to; page += 1) {
    words[page >>> 5] = (words[page >>> 5] as number) | (1 << (page & 31));
  }
}

/**
 * The database after a segment, from its image before: every frame at its place, the length exactly what the segment's high-water
 * mark says. The image is copied. Meta pages are as the segment brings them: the caller makes them (`metaPagesFor`). Throws
 * `corrupt` when a frame ends beyond the high-water mark.
 */
export function applySegment(image: Uint8Array, segment: Segment): Uint8Array<ArrayBuffer> {
  const { pageSize, highWaterMark } = segment.header;
  const next = new Uint8Array(Number(highWaterMark) * pageSize);
  next.set(image.subarray(0, next.length));
  for (const frame of segment.pages) {
    const offset = Number(frame.id) * pageSize;
    if (offset + frame.data.length > next.length) {
      throw new PageferryError(
        "corrupt",
        `page ${frame.id}: its frame ends beyond the high-water mark ${highWaterMark}`,
      );
    }
    next.set(frame.data, offset);
  }
  return next;
}
