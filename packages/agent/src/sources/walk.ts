// A walk over the live pages of a file that is being written, carried along from commit to commit: the one engine of deltas
// (over an exact table of the parent) and of scans (over nothing). The proof is docs/capture.md#walk; advance.ts moves it on.
//
// Invariant: what is known was read from the file and is live, unchanged, in the state `view`; what is in the frontier is
// live there and unread; every child of a known page, and the root, is known or in the frontier.
import { createXxh3, PageferryError, pageDigestBytes, pageHeader, referencedPages } from "@pageferry/format";
import { createPageBits, type PageBits } from "../page-bits.ts";
import { createPageTable, type PageTable } from "../page-table.ts";
import { type Arena, createArena } from "./arena.ts";
import { isSameMeta, type MetaReader, type MetaView, type ReadAt } from "./bolt-io.ts";
import type { LinkSource } from "./link-log.ts";

/** Where a walk reads. */
export interface WalkFile {
  readonly readAt: ReadAt;
  readonly metas: MetaReader;
  /** Links that another thread keeps, for when we are late. */
  readonly links?: LinkSource | undefined;
}

/** A run that was accepted: proved, and new to the walk. */
export type OnAccept = (id: number, run: Uint8Array) => void;

export interface Walk {
  readonly file: WalkFile;
  readonly pageSize: number;
  /** The exact table of the state the walk began from; null for a scan. Not changed by the walk. */
  readonly base: PageTable | null;
  /** What a scan compares with: pages that differ from it are collected. Null: nothing is. */
  readonly reference: PageTable | null;
  /** Blocks of `base` that are not live any more. */
  readonly dropped: PageBits;
  readonly droppedBlocks: number[];
  /** Accepted runs. With `base` these are new; without, all there are. */
  readonly fresh: PageTable;
  /** Unread heads: `now` is read before `later`, so that branches are read before leaves. */
  readonly frontier: { now: PageBits; later: PageBits };
  /** Bytes of accepted runs that a delta will need, by head. */
  readonly collected: Map<number, Uint8Array>;
  readonly arena: Arena;
  collectedBytes: number;
  /** Too much was collected: there is no delta, only a table. */
  isOverCollected: boolean;
  readonly onAccept: OnAccept | undefined;
  /** The state that all of this is about. */
  view: MetaView;
  /** Free pages by the freelist of `view`, ascending; null where there is none on disk, or it was not read. */
  freeIds: Uint32Array | null;
  /** Commits that were followed one by one since the walk began. */
  links: number;
}

/**
 * Bytes a delta may hold: above it (a bulk load, or a diff after long absence) a base costs about the same, needs no memory
 * here, in the shadow or at the restore, and the whole process has 150 MB.
 */
const collectedBytesMax = 64 * 1024 * 1024;

/** A run above this is read only after its header was proved: a torn header could ask for gigabytes. */
const unprovedRunBytesMax = 1024 * 1024;

export interface WalkOptions {
  readonly file: WalkFile;
  readonly pageSize: number;
  readonly view: MetaView;
  readonly base?: PageTable;
  readonly reference?: PageTable | null;
  /** An empty table to fill, such as a given-up scan's. */
  readonly fresh?: PageTable;
  readonly onAccept?: OnAccept;
}

/** Begins a walk at the state of `view`: with a base, everything is known; without, nothing but the root is asked for. */
export function createWalk(options: WalkOptions): Walk {
  const walk: Walk = {
    file: options.file,
    pageSize: options.pageSize,
    base: options.base ?? null,
    reference: options.reference ?? null,
    dropped: createPageBits(),
    droppedBlocks: [],
    fresh: options.fresh ?? createPageTable(options.pageSize),
    frontier: { now: createPageBits(), later: createPageBits() },
    collected: new Map(),
    arena: createArena(),
    collectedBytes: 0,
    isOverCollected: false,
    onAccept: options.onAccept,
    view: options.view,
    freeIds: null,
    links: 0,
  };
  if (walk.base === null) walk.frontier.now.add(options.view.meta.root);
  return walk;
}

/** Begins again at the state of `view`, over the same base, which is its exact table. Keeps the memory. */
export function rewindWalk(walk: Walk, view: MetaView): void {
  walk.dropped.clear();
  walk.droppedBlocks.length = 0;
  walk.fresh.clear();
  walk.frontier.now.clear();
  walk.frontier.later.clear();
  walk.collected.clear();
  walk.arena.clear();
  walk.collectedBytes = 0;
  walk.isOverCollected = false;
  walk.view = view;
  walk.links = 0;
}

/** Gives back what a walk needs only while it moves: that of a thousand idle databases would be most of their memory. */
export function restWalk(walk: Walk): void {
  walk.arena.release();
  walk.fresh.release();
  for (const bits of [walk.dropped, walk.frontier.now, walk.frontier.later]) bits.release();
}

/** Whether the block was read and is live. */
export function isKnown(walk: Walk, id: number): boolean {
  return walk.fresh.has(id) || (walk.base?.has(id) === true && !walk.dropped.has(id));
}

/** Whether the head is waiting to be read. */
export function isAwaited(walk: Walk, id: number): boolean {
  return walk.frontier.now.has(id) || walk.frontier.later.has(id);
}

/** Whether nothing is left to read: then the walk holds exactly what is live in its state. */
export function isComplete(walk: Walk): boolean {
  return walk.frontier.now.count() === 0 && walk.frontier.later.count() === 0;
}

/** Forgets one block: it is not live any more. */
export function dropBlock(walk: Walk, id: number): void {
  if (walk.fresh.remove(id)) {
    const bytes = walk.collected.get(id);
    if (bytes !== undefined) {
      walk.collected.delete(id);
      walk.collectedBytes -= bytes.length;
    }
  }
  if (walk.base?.has(id) === true && walk.dropped.add(id)) walk.droppedBlocks.push(id);
  walk.frontier.now.remove(id);
  walk.frontier.later.remove(id);
}

/** Runs that were read and not yet proved, parents before children. */
export interface Batch {
  readonly entries: readonly BatchEntry[];
}

export interface BatchEntry {
  readonly id: number;
  /** Shorter than a page: the file ends there. */
  readonly run: Uint8Array;
  /** Not read, but for its first block at most: the header asks for so much that it must be proved first, or nobody kept it. */
  readonly isHead: boolean;
  /** What it refers to; undefined: not looked at yet, or the bytes make no sense, which may be because they are torn. */
  readonly children: Uint32Array | undefined;
}

let scratch = new Uint8Array(256 * 1024);

/**
 * Reads up to `pages` runs of the frontier and, as far as there is room, what they seem to refer to: all of it is proved by one
 * look at the metas. Neighbours are read together. The batch is valid until the next one is read.
 */
export function readBatch(walk: Walk, pages: number): Batch {
  if (scratch.length < pages * walk.pageSize) scratch = new Uint8Array(pages * walk.pageSize);
  const entries: BatchEntry[] = [];
  let ids = takeIds(walk, pages);
  let asked: Set<number> | undefined;
  while (ids.length > 0) {
    const from = entries.length;
    readRuns(walk, ids, scratch.subarray(from * walk.pageSize), entries);
    if (entries.length >= pages) break;
    asked ??= new Set(ids);
    ids = askedNext(walk, entries, from, pages, asked);
  }
  return { entries };
}

/** Ascending heads that the entries from `from` on seem to refer to and that are not known, awaited or read already. */
function askedNext(
  walk: Walk,
  entries: readonly BatchEntry[],
  from: number,
  pages: number,
  asked: Set<number>,
): number[] {
  const ids: number[] = [];
  for (let index = from; index < entries.length; index += 1) {
    for (const child of entries[index]?.children ?? []) {
      if (entries.length + ids.length >= pages) break;
      if (asked.has(child) || isKnown(walk, child) || isAwaited(walk, child)) continue;
      asked.add(child);
      ids.push(child);
    }
  }
  return ids.sort((a, b) => a - b);
}

/** Reads the runs at ascending heads into `memory`, which has room for a block each; longer runs get memory of their own. */
export function readRuns(walk: Walk, ids: readonly number[], memory: Uint8Array, into: BatchEntry[]): void {
  const { pageSize } = walk;
  for (let from = 0; from < ids.length; ) {
    const first = ids[from] as number;
    let to = from + 1;
    while (to < ids.length && ids[to] === first + to - from) to += 1;
    const blocks = memory.subarray(from * pageSize, to * pageSize);
    const length = walk.file.readAt(first * pageSize, blocks);
    for (let index = from; index < to; index += 1) {
      const start = (index - from) * pageSize;
      const end = Math.max(start, Math.min(start + pageSize, length));
      into.push(entryOf(walk, first + index - from, blocks.subarray(start, end)));
    }
    from = to;
  }
}

function entryOf(walk: Walk, id: number, block: Uint8Array): BatchEntry {
  const { pageSize } = walk;
  if (block.length < pageSize) return { id, run: block, isHead: false, children: undefined };
  const { overflow } = pageHeader(block);
  let run = block;
  // Beyond the high-water mark: torn, or corrupt, which the parser says once the bytes are proved.
  if (overflow > 0 && id + overflow < walk.view.meta.highWaterMark) {
    const length = (overflow + 1) * pageSize;
    if (length > unprovedRunBytesMax && !isNewest(walk))
      return { id, run, isHead: true, children: undefined };
    run = new Uint8Array(length);
    run = run.subarray(0, walk.file.readAt(id * pageSize, run));
  }
  return { id, run, isHead: false, children: tryChildren(walk, id, run) };
}

/** Whether the walk's state is still the newest of the file. */
export function isNewest(walk: Walk): boolean {
  const seen = walk.file.metas.read();
  return seen !== undefined && isSameMeta(seen, walk.view);
}

function tryChildren(walk: Walk, id: number, run: Uint8Array): Uint32Array | undefined {
  try {
    return childrenOf(walk, id, run);
  } catch {
    return undefined;
  }
}

function takeIds(walk: Walk, pages: number): number[] {
  const { frontier } = walk;
  if (frontier.now.count() === 0) {
    const { now } = frontier;
    frontier.now = frontier.later;
    frontier.later = now;
  }
  const ids: number[] = [];
  for (let id = frontier.now.next(0); id >= 0 && ids.length < pages; id = frontier.now.next(id + 1))
    ids.push(id);
  return ids;
}

/**
 * Takes proved runs as known and asks for their children. Entries that are not awaited, or not any more, or were asked for anew
 * after they were read, are passed over: their bytes prove nothing. Throws `corrupt`: the bytes are the file's, and they are wrong.
 */
export function acceptBatch(walk: Walk, batch: Batch, askedAnew?: ReadonlySet<number>): void {
  for (const { id, run, isHead, children: seen } of batch.entries) {
    if (isHead || !isAwaited(walk, id) || askedAnew?.has(id) === true) continue;
    const children = seen ?? childrenOf(walk, id, run);
    acceptRun(walk, id, run, children);
    for (const child of children) {
      if (!isKnown(walk, child) && !isAwaited(walk, child)) walk.frontier.later.add(child);
    }
  }
}

/** What a run of the walk's state, or of another, refers to. Throws `corrupt`. */
export function childrenOf(walk: Walk, id: number, run: Uint8Array, view = walk.view): Uint32Array {
  const { pageSize } = walk;
  if (run.length < pageSize) throw new PageferryError("corrupt", `page ${id}: the file ends before it`);
  return referencedPages(run, id, { pageSize, highWaterMark: view.meta.highWaterMark });
}

const xxh3 = createXxh3();
let digests = new Uint8Array(256 * pageDigestBytes);

/** Takes one proved run as known. */
export function acceptRun(walk: Walk, id: number, run: Uint8Array, children?: Uint32Array): void {
  const { pageSize } = walk;
  const blocks = run.length / pageSize;
  if (digests.length < blocks * pageDigestBytes) digests = new Uint8Array(blocks * pageDigestBytes);
  let isChanged = walk.base !== null;
  for (let block = 0; block < blocks; block += 1) {
    const offset = block * pageDigestBytes;
    xxh3.pageDigest(id + block, run.subarray(block * pageSize, (block + 1) * pageSize), digests, offset);
    if (walk.reference !== null && !walk.reference.isSame(id + block, digests, offset)) isChanged = true;
  }
  walk.fresh.addRun({ id, overflow: blocks - 1, children, digests });
  walk.frontier.now.remove(id);
  walk.frontier.later.remove(id);
  if (isChanged) collect(walk, id, run);
  walk.onAccept?.(id, run);
}

function collect(walk: Walk, id: number, run: Uint8Array): void {
  if (walk.isOverCollected) return;
  if (walk.collectedBytes + run.length > collectedBytesMax) {
    walk.isOverCollected = true;
    walk.collected.clear();
    walk.arena.clear();
    walk.collectedBytes = 0;
    return;
  }
  walk.collected.set(id, walk.arena.copy(run));
  walk.collectedBytes += run.length;
}
