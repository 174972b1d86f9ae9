// The walk over every page that a meta reaches: branches, leaves, the buckets inside of them, overflow blocks and the freelist
// run. It never reads a page twice, never leaves [2, high-water mark), and ends on any input.
import { isPageferryError, PageferryError } from "../errors.ts";
import type { MetaFields } from "./meta.ts";
import { checkHeader, type PageHeader, pageFlagFreelist, pageHeader, referencedPages } from "./page.ts";
import { createPageSet, type PageSet } from "./page-set.ts";

/** Where page blocks come from: a file, an image in memory, a mixture. */
export interface PageSource {
  readonly pageSize: number;
  /**
   * The `count` blocks from page `pageId` on, all of them; throws `corrupt` when they are not there. `into` is memory of that very
   * length which the answer may use; else the answer must stay unchanged for as long as the walk goes on.
   */
  read(pageId: number, count: number, into?: Uint8Array): Uint8Array;
}

/** A page on the way from the root to the page at hand. */
export interface PathStep {
  readonly id: number;
  readonly run: Uint8Array;
  readonly header: PageHeader;
  /** Which of its children (of a branch) or buckets with own pages (of a leaf) the way goes on with. */
  readonly index: number;
}

/** A page of the tree with its overflow blocks. Valid until the walk goes on; so are the runs of `path`. */
export interface TreePage {
  readonly id: number;
  readonly run: Uint8Array;
  readonly header: PageHeader;
  /** From the root to this page's parent. */
  readonly path: readonly PathStep[];
}

/** How to walk. */
export interface WalkOptions {
  /** Asked before a child is read; false leaves it and all below it out. Default: everything. */
  readonly descend?: (pageId: number) => boolean;
  /** Pages that were reached already; reaching one again is `corrupt`. Filled with every block of the walk. Default: none. */
  readonly reached?: PageSet;
  /** Takes what is `corrupt` and lets the walk go on without that page. Default: it is thrown. */
  readonly onProblem?: (problem: PageferryError) => void;
}

/** Levels of branches and nested buckets. Bolt makes about five, applications nest a handful; guards memory, one page per level. */
export const treeDepthMax = 1024;

/** Children that are read ahead together, sorted, so that neighbours come in one read. 64 pages of 4 KiB fill 256 KiB. */
const windowPages = 64;

/** Levels below this one read one child at a time, which bounds the memory of a tree that is nothing but branches. */
const windowLevels = 12;

/** The children of one page that is on the path, read a window at a time. */
interface Level {
  readonly children: Uint32Array;
  /** The next child to visit, and the end of what is read. */
  next: number;
  windowEnd: number;
  /** First blocks of children [windowEnd - length, windowEnd); undefined where there is nothing to visit. */
  readonly blocks: (Uint8Array | undefined)[];
}

interface MutableStep extends PathStep {
  index: number;
}

/**
 * Every page of the tree of `meta`, parents before children, children in key order. Checks page ids, flags, overflow, element bounds, that no
 * page is reached twice, and depth; throws `corrupt`, unless `onProblem` takes it.
 */
export function* treePages(
  source: PageSource,
  meta: MetaFields,
  options: WalkOptions = {},
): Generator<TreePage> {
  const limits = { pageSize: source.pageSize, highWaterMark: meta.highWaterMark };
  const reached = options.reached ?? createPageSet(meta.highWaterMark);
  const path: MutableStep[] = [];
  const fail = (error: unknown): void => {
    const problem = withPath(error, path);
    if (options.onProblem === undefined || !isPageferryError(problem, "corrupt")) throw problem;
    options.onProblem(problem);
  };
  if (meta.root < 2 || meta.root >= meta.highWaterMark) {
    fail(
      new PageferryError("corrupt", `page ${meta.root}: the root is outside of [2, ${meta.highWaterMark})`),
    );
    return;
  }
  const buffers: Uint8Array[] = [];
  const levels: Level[] = [levelOf(Uint32Array.of(meta.root))];
  for (;;) {
    const level = levels[levels.length - 1];
    if (level === undefined) return;
    if (level.next === level.children.length) {
      levels.pop();
      path.pop();
      continue;
    }
    if (level.next === level.windowEnd)
      readWindow(source, level, levels.length - 1, buffers, options.descend, fail);
    const id = level.children[level.next] as number;
    const block = level.blocks[level.next - (level.windowEnd - level.blocks.length)];
    const parent = path[path.length - 1];
    if (parent !== undefined) parent.index = level.next;
    level.next += 1;
    if (block === undefined) continue;
    let run: Uint8Array;
    let children: Uint32Array;
    const header = pageHeader(block);
    try {
      if (levels.length > treeDepthMax)
        throw new PageferryError("corrupt", `page ${id}: more than ${treeDepthMax} levels deep`);
      checkHeader(header, id, limits);
      run = header.overflow === 0 ? block : readRun(source, id, header, reached);
      reach(reached, id, header.overflow);
      children = referencedPages(run, id, limits);
    } catch (error) {
      fail(error);
      continue;
    }
    yield { id, run, header, path };
    if (children.length === 0) continue;
    path.push({ id, run, header, index: 0 });
    levels.push(levelOf(children));
  }
}

/** Calls `visit` for every page of the tree of `meta`, as `treePages` gives them. */
export function walkTree(
  source: PageSource,
  meta: MetaFields,
  visit: (id: number, run: Uint8Array, header: PageHeader, path: readonly PathStep[]) => void,
  options?: WalkOptions,
): void {
  for (const { id, run, header, path } of treePages(source, meta, options)) visit(id, run, header, path);
}

/** The freelist run of `meta`, with its header checked; undefined where the file holds none. Throws `corrupt`. */
export function freelistRun(source: PageSource, meta: MetaFields): Uint8Array | undefined {
  const id = meta.freelist;
  if (id === null) return undefined;
  if (id < 2 || id >= meta.highWaterMark) {
    throw new PageferryError("corrupt", `page ${id}: the freelist is outside of [2, ${meta.highWaterMark})`);
  }
  const block = source.read(id, 1);
  const header = pageHeader(block);
  if (header.id !== id) throw new PageferryError("corrupt", `page ${id}: its header says page ${header.id}`);
  if (header.flags !== pageFlagFreelist) {
    throw new PageferryError(
      "corrupt",
      `page ${id}: flags 0x${header.flags.toString(16)}, expected a freelist`,
    );
  }
  if (id + header.overflow >= meta.highWaterMark) {
    throw new PageferryError(
      "corrupt",
      `page ${id}: the freelist ends beyond the high-water mark ${meta.highWaterMark}`,
    );
  }
  return header.overflow === 0 ? block : source.read(id, header.overflow + 1);
}

/**
 * Every live run of `meta` without the meta pages: the freelist's if there is one, then the tree's. A run holds page `id` and the
 * overflow blocks after it, and is valid until the next is asked for. Throws `corrupt`.
 */
export function* livePages(source: PageSource, meta: MetaFields): Generator<{ id: number; run: Uint8Array }> {
  const reached = createPageSet(meta.highWaterMark);
  const run = freelistRun(source, meta);
  if (run !== undefined && meta.freelist !== null) {
    reach(reached, meta.freelist, run.length / source.pageSize - 1);
    yield { id: meta.freelist, run };
  }
  for (const page of treePages(source, meta, { reached })) yield { id: page.id, run: page.run };
}

function levelOf(children: Uint32Array): Level {
  return { children, next: 0, windowEnd: 0, blocks: [] };
}

/** Reads the first blocks of the next children, neighbours together. What cannot be read fails alone. */
function readWindow(
  source: PageSource,
  level: Level,
  depth: number,
  buffers: Uint8Array[],
  descend: ((pageId: number) => boolean) | undefined,
  fail: (error: unknown) => void,
): void {
  const start = level.windowEnd;
  const end = Math.min(level.children.length, start + (depth < windowLevels ? windowPages : 1));
  level.blocks.length = end - start;
  level.windowEnd = end;
  // A page id and the child's place in the window in one exact double, so that a plain numeric sort orders by page id.
  const sorted = new Float64Array(end - start);
  let wanted = 0;
  for (let place = 0; place < end - start; place += 1) {
    level.blocks[place] = undefined;
    const id = level.children[start + place] as number;
    if (descend === undefined || descend(id)) sorted[wanted++] = id * windowPages + place;
  }
  const order = sorted.subarray(0, wanted).sort();
  const buffer = bufferFor(buffers, depth, wanted * source.pageSize);
  for (let from = 0; from < wanted; ) {
    const first = Math.floor((order[from] as number) / windowPages);
    let to = from + 1;
    while (to < wanted && Math.floor((order[to] as number) / windowPages) === first + to - from) to += 1;
    readNeighbours(source, level, order.subarray(from, to), buffer.subarray(from * source.pageSize), fail);
    from = to;
  }
}

function readNeighbours(
  source: PageSource,
  level: Level,
  order: Float64Array,
  buffer: Uint8Array,
  fail: (error: unknown) => void,
): void {
  const { pageSize } = source;
  const first = Math.floor((order[0] as number) / windowPages);
  let blocks: Uint8Array;
  try {
    blocks = source.read(first, order.length, buffer.subarray(0, order.length * pageSize));
  } catch (error) {
    if (order.length === 1 || !isPageferryError(error, "corrupt")) {
      fail(error);
      return;
    }
    for (let index = 0; index < order.length; index += 1) {
      readNeighbours(
        source,
        level,
        order.subarray(index, index + 1),
        buffer.subarray(index * pageSize),
        fail,
      );
    }
    return;
  }
  for (let index = 0; index < order.length; index += 1) {
    level.blocks[(order[index] as number) % windowPages] = blocks.subarray(
      index * pageSize,
      (index + 1) * pageSize,
    );
  }
}

/** One buffer per level, which lives as long as the pages in it are on the path. */
function bufferFor(buffers: Uint8Array[], depth: number, length: number): Uint8Array {
  const known = buffers[depth];
  if (known !== undefined && known.length >= length) return known;
  const buffer = new Uint8Array(length);
  buffers[depth] = buffer;
  return buffer;
}

function readRun(source: PageSource, id: number, header: PageHeader, reached: PageSet): Uint8Array {
  // Asked before reading, so that a cycle over a long run costs nothing.
  if (reached.has(id)) throw new PageferryError("corrupt", `page ${id}: referred to twice`);
  return source.read(id, header.overflow + 1);
}

function reach(reached: PageSet, id: number, overflow: number): void {
  for (let page = id; page <= id + overflow; page += 1) {
    if (!reached.add(page)) {
      throw new PageferryError(
        "corrupt",
        `page ${page}: referred to twice${page === id ? "" : `, now as overflow of page ${id}`}`,
      );
    }
  }
}

function withPath(error: unknown, path: readonly PathStep[]): unknown {
  if (!isPageferryError(error, "corrupt") || path.length === 0) return error;
  const way = path.slice(-8).map((step) => step.id);
  return new PageferryError("corrupt", `${error.message} (reached by ${way.join(" > ")})`, { cause: error });
}
