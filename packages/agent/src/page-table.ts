// What is live in one state of a database: a digest per page block, the runs and the references between them, and their
// state hash. 16 bytes a page and a little. The file form is in page-table-file.ts.
import { createStateSum, pageDigestBytes, type StateHash } from "@pageferry/format";
import { createPageBits, type PageBits } from "./page-bits.ts";

/** A bolt run that is live: a page with its overflow blocks. */
export interface TableRun {
  readonly id: number;
  readonly overflow: number;
  /** What it refers to; undefined for most leaves and for a freelist. */
  readonly children?: Uint32Array | undefined;
  /** One digest per block, side by side. */
  readonly digests: Uint8Array;
}

/** The live pages of one state. Ids are those of blocks, unless they are called a head: the first block of a run. */
export interface PageTable {
  readonly pageSize: number;
  /** The live blocks; changed by the table alone. */
  readonly live: PageBits;
  has(id: number): boolean;
  /** How many blocks are live. */
  count(): number;
  stateHash(): StateHash;
  /** Adds a run. A block that is there is replaced. */
  addRun(run: TableRun): void;
  /** Removes one block; false when it was not live. */
  remove(id: number): boolean;
  /** Overflow blocks of the run at a head. */
  overflowOf(head: number): number;
  /** What the run at a head refers to; undefined: nothing. */
  childrenOf(head: number): Uint32Array | undefined;
  /** Copies the digest of a live block. */
  copyDigest(id: number, into: Uint8Array, offset: number): void;
  /** Whether the block is live with this digest. */
  isSame(id: number, digests: Uint8Array, offset: number): boolean;
  /** The smallest live block at or above `from`, or -1. */
  next(from: number): number;
  /** Empties it. Memory of large tables is given back, unless it is kept for what comes next. */
  clear(isKept?: boolean): void;
  /** Gives the memory of an empty table back. */
  release(): void;
  /** Everything but runs and references, by copying memory: some milliseconds for gigabytes of database. */
  dump(): TableDump;
}

/** A table's pages, laid out flat. */
export interface TableDump {
  /** One above the highest live block. */
  readonly bound: number;
  /** Which blocks are live: id i is bit i % 32 of word i / 32. */
  readonly live: Uint32Array<ArrayBuffer>;
  /** Digest of block i at 16 i; of blocks that are not live, anything. */
  readonly digests: Uint8Array<ArrayBuffer>;
}

/** Pages whose digests are allocated together: 4 KiB, so that the tables of a thousand small databases stay small. */
const chunkPages = 256;
/** Chunks a cleared table keeps: a table that holds one transaction at a time is filled and cleared all the time. */
const chunksKept = 1024;

/** Makes an empty table. */
export function createPageTable(pageSize: number): PageTable {
  const live = createPageBits();
  const overflows = new Map<number, number>();
  const children = new Map<number, Uint32Array>();
  let chunks: (Uint8Array | undefined)[] = [];
  let sum = createStateSum();

  function remove(id: number): boolean {
    if (!live.remove(id)) return false;
    sum.subtract(chunkOf(chunks, id), digestOffset(id));
    overflows.delete(id);
    children.delete(id);
    return true;
  }

  return {
    pageSize,
    live,
    has: (id) => live.has(id),
    count: () => live.count(),
    next: (from) => live.next(from),
    stateHash: () => sum.value(),
    addRun(run) {
      for (let block = 0; block <= run.overflow; block += 1) {
        const id = run.id + block;
        remove(id);
        live.add(id);
        const offset = block * pageDigestBytes;
        chunkOf(chunks, id).set(run.digests.subarray(offset, offset + pageDigestBytes), digestOffset(id));
        sum.add(run.digests, offset);
      }
      if (run.overflow > 0) overflows.set(run.id, run.overflow);
      if (run.children !== undefined && run.children.length > 0) children.set(run.id, run.children);
    },
    remove,
    overflowOf: (head) => overflows.get(head) ?? 0,
    childrenOf: (head) => children.get(head),
    copyDigest(id, into, offset) {
      const from = digestOffset(id);
      into.set(chunkOf(chunks, id).subarray(from, from + pageDigestBytes), offset);
    },
    isSame: (id, digests, offset) =>
      live.has(id) && equalDigests(chunkOf(chunks, id), digestOffset(id), digests, offset),
    clear(isKept = false) {
      live.clear();
      overflows.clear();
      children.clear();
      sum = createStateSum();
      if (!isKept && chunks.length > chunksKept) chunks = [];
    },
    release() {
      if (live.count() > 0) return;
      chunks = [];
      live.release();
    },
    dump: () => dumpOf(live, chunks),
  };
}

function dumpOf(live: PageBits, chunks: readonly (Uint8Array | undefined)[]): TableDump {
  let bound = chunks.length * chunkPages;
  while (bound > 0 && !live.has(bound - 1)) bound -= 1;
  const digests = new Uint8Array(bound * pageDigestBytes);
  for (const [index, chunk] of chunks.entries()) {
    const at = index * chunkPages * pageDigestBytes;
    if (chunk !== undefined && at < digests.length) digests.set(chunk.subarray(0, digests.length - at), at);
  }
  return { bound, live: live.words(bound), digests };
}

/** Every block that is live in `before` and not in `after`, ascending. */
export function freedBlocks(before: PageTable, after: PageTable): Uint32Array<ArrayBuffer> {
  const freed: number[] = [];
  for (
    let id = before.live.nextNotIn(after.live, 0);
    id >= 0;
    id = before.live.nextNotIn(after.live, id + 1)
  ) {
    freed.push(id);
  }
  return Uint32Array.from(freed);
}

function digestOffset(id: number): number {
  return (id % chunkPages) * pageDigestBytes;
}

function chunkOf(chunks: (Uint8Array | undefined)[], id: number): Uint8Array {
  const index = Math.floor(id / chunkPages);
  let chunk = chunks[index];
  if (chunk === undefined) {
    chunk = new Uint8Array(chunkPages * pageDigestBytes);
    chunks[index] = chunk;
  }
  return chunk;
}

function equalDigests(a: Uint8Array, offsetA: number, b: Uint8Array, offsetB: number): boolean {
  for (let at = 0; at < pageDigestBytes; at += 1) {
    if (a[offsetA + at] !== b[offsetB + at]) return false;
  }
  return true;
}
