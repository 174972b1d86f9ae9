// One page of a bucket's tree, read element by element: a run of any length is never held whole. Everything that a page says of places and
// lengths is checked before it is used.

import {
  bucketBytes,
  bucketFlag,
  checkHeader,
  elementBytes,
  pageFlagBranch,
  pageFlagLeaf,
  pageHeader,
  pageHeaderBytes,
  u16,
  u32,
} from "./bolt/page.ts";
import { treeDepthMax } from "./bolt/tree.ts";
import { isPageferryError, PageferryError } from "./errors.ts";
import type { PointPages } from "./point-pages.ts";

/** bolt's own bound of a key. */
const keyBytesMax = 32_768;

/** What one walk shares: it never reads a tree page twice, which ends every cycle, and can be given up. */
export interface Walk {
  readonly pages: Pick<PointPages, "page" | "pageSize" | "highWaterMark" | "root">;
  readonly signal: AbortSignal | undefined;
  readonly reached: Set<number>;
}

/** Bytes that are read as they are needed. */
interface Stretch {
  /** Object and page, for messages. */
  readonly name: string;
  readonly length: number;
  /** Bytes [start, end), which the caller knows to lie inside; blocks of a run are put together. */
  read(start: number, end: number): Promise<Uint8Array>;
}

/** A key of a leaf. */
export interface LeafElement {
  readonly index: number;
  readonly key: Uint8Array;
  readonly isBucket: boolean;
  readonly valueBytes: number;
  /** Bytes [start, end) of its value. */
  value(start: number, end: number): Promise<Uint8Array>;
}

/** A branch or leaf. */
export interface Node {
  readonly isBranch: boolean;
  readonly count: number;
  key(index: number): Promise<Uint8Array>;
  /** The page that a branch's element refers to. */
  child(index: number): Promise<number>;
  /** An element of a leaf. */
  element(index: number): Promise<LeafElement>;
  /** `corrupt`, naming page and object. */
  fail(what: string): PageferryError;
}

/** The tree page `id` with its overflow blocks, at a depth of the walk. Throws `corrupt` naming page and object. */
export async function openNode(walk: Walk, id: number, depth: number): Promise<Node> {
  const { pages, signal } = walk;
  if (walk.reached.has(id)) throw new PageferryError("corrupt", `page ${id}: referred to twice`);
  if (depth > treeDepthMax)
    throw new PageferryError("corrupt", `page ${id}: more than ${treeDepthMax} levels deep`);
  walk.reached.add(id);
  const { bytes: block, object } = await pages.page(id, { signal });
  const header = pageHeader(block);
  try {
    checkHeader(header, id, pages);
  } catch (cause) {
    throw isPageferryError(cause, "corrupt")
      ? new PageferryError("corrupt", `${object}: ${cause.message}`, { cause })
      : cause;
  }
  const run: Stretch = {
    name: `${object}: page ${id}`,
    length: (header.overflow + 1) * pages.pageSize,
    read: (start, end) => readRun(walk, id, block, start, end),
  };
  return nodeOf(walk, run, header.flags === pageFlagBranch, header.count);
}

/** Bytes of a run, whose first block is at hand; the others are asked for one by one. */
async function readRun(
  { pages, signal }: Walk,
  id: number,
  first: Uint8Array,
  start: number,
  end: number,
): Promise<Uint8Array> {
  const { pageSize } = pages;
  if (end <= pageSize) return first.subarray(start, end);
  const parts: Uint8Array[] = [];
  for (let at = start; at < end; ) {
    const index = Math.floor(at / pageSize);
    const block = index === 0 ? first : (await pages.page(id + index, { signal })).bytes;
    const part = block.subarray(at - index * pageSize, end - index * pageSize);
    parts.push(part);
    at += part.length;
  }
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
}

function nodeOf(walk: Walk, run: Stretch, isBranch: boolean, count: number): Node {
  const fail = (what: string): PageferryError => new PageferryError("corrupt", `${run.name}: ${what}`);
  if (pageHeaderBytes + count * elementBytes > run.length)
    throw fail(`${count} elements do not fit into ${run.length} bytes`);
  if (isBranch && count === 0) throw fail("a branch without children");

  /** An element's own bytes, and where its key lies. */
  const at = async (index: number) => {
    const start = pageHeaderBytes + index * elementBytes;
    const bytes = await run.read(start, start + elementBytes);
    const keyStart = start + u32(bytes, isBranch ? 0 : 4);
    const keyBytes = u32(bytes, isBranch ? 4 : 8);
    const valueBytes = isBranch ? 0 : u32(bytes, 12);
    const valueStart = keyStart + keyBytes;
    if (valueStart + valueBytes > run.length)
      throw fail(`element ${index} ends beyond its ${run.length} bytes`);
    if (keyBytes === 0 || keyBytes > keyBytesMax) throw fail(`key ${index} has ${keyBytes} bytes`);
    return { bytes, keyStart, valueStart, valueBytes };
  };
  return {
    isBranch,
    count,
    fail,
    async key(index) {
      const { keyStart, valueStart } = await at(index);
      return run.read(keyStart, valueStart);
    },
    async child(index) {
      const { bytes } = await at(index);
      return pageIdOf(walk, bytes, 8, fail, index);
    },
    async element(index) {
      const { bytes, keyStart, valueStart, valueBytes } = await at(index);
      return {
        index,
        key: await run.read(keyStart, valueStart),
        isBucket: (u32(bytes, 0) & bucketFlag) !== 0,
        valueBytes,
        value: (start, end) => run.read(valueStart + start, valueStart + end),
      };
    },
  };
}

/** Where a bucket's tree begins, and its sequence. */
export interface BucketHead {
  /** Absent: it is inline. */
  readonly root: number | undefined;
  readonly sequence: bigint;
}

/** What the value of a bucket says. Throws `corrupt`. */
export async function bucketHead(walk: Walk, node: Node, element: LeafElement): Promise<BucketHead> {
  if (element.valueBytes < bucketBytes)
    throw node.fail(`element ${element.index} is a bucket of ${element.valueBytes} bytes`);
  const bytes = await element.value(0, bucketBytes);
  const sequence = (BigInt(u32(bytes, 12)) << 32n) | BigInt(u32(bytes, 8));
  if (u32(bytes, 0) === 0 && u32(bytes, 4) === 0) return { root: undefined, sequence };
  return { root: pageIdOf(walk, bytes, 0, node.fail, element.index), sequence };
}

/** The page inside of the value of an inline bucket: a leaf of plain keys. */
export async function inlineNode(walk: Walk, node: Node, element: LeafElement): Promise<Node> {
  const fail = (what: string): PageferryError =>
    node.fail(`inline bucket at element ${element.index} ${what}`);
  const length = element.valueBytes - bucketBytes;
  if (length < pageHeaderBytes) throw fail("has no room for its page");
  const head = await element.value(bucketBytes, bucketBytes + pageHeaderBytes);
  if (u16(head, 8) !== pageFlagLeaf) throw fail(`has flags 0x${u16(head, 8).toString(16)}, expected a leaf`);
  const inside: Stretch = {
    name: fail("").message.trimEnd(),
    length,
    read: (start, end) => element.value(bucketBytes + start, bucketBytes + end),
  };
  return nodeOf(walk, inside, false, u16(head, 10));
}

function pageIdOf({ pages }: Walk, bytes: Uint8Array, at: number, fail: Node["fail"], index: number): number {
  const id = u32(bytes, at) + u32(bytes, at + 4) * 2 ** 32;
  if (id >= 2 && id < pages.highWaterMark) return id;
  throw fail(`element ${index} refers to page ${id}, outside of [2, ${pages.highWaterMark})`);
}
