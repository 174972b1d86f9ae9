// Buckets, keys and values of one point, by descent: a key costs the pages on its way, a listing those that hold what it lists.
// See docs/format.md#look-inside.

import { bucketHead, inlineNode, type LeafElement, type Node, openNode, type Walk } from "./bucket-node.ts";

/** The names of buckets, from the root on. The root itself is the empty path. */
export type BucketPath = readonly Uint8Array[];

/** What a bucket holds under one key. */
export type BucketEntry = KeyEntry | SubBucketEntry;

/** A value. */
interface KeyEntry {
  readonly kind: "key";
  readonly key: Uint8Array;
  readonly valueBytes: number;
}

/** A bucket inside of the bucket. */
interface SubBucketEntry {
  readonly kind: "bucket";
  readonly key: Uint8Array;
  /** Its root page; null: it is small, and lies inside of its parent's leaf. */
  readonly root: number | null;
  /** The application's own counter, `NextSequence`. */
  readonly sequence: bigint;
}

/** How to walk. */
export interface WalkOptions {
  readonly signal?: AbortSignal | undefined;
}

/** What of a bucket to list. */
export interface ListOptions extends WalkOptions {
  /** Entries at most; at least 1. */
  readonly limit: number;
  /** Only what comes after this key. */
  readonly after?: Uint8Array | undefined;
  /** Only keys that begin so. */
  readonly prefix?: Uint8Array | undefined;
  /** Bytes of keys after which a listing ends, but for one entry. Default 1 MiB. */
  readonly keyBytesMax?: number | undefined;
}

/** A part of a bucket's entries, in key order. */
export interface BucketListing {
  readonly entries: readonly BucketEntry[];
  /** To be given as `after` for the next part; absent: this is the last. */
  readonly next: Uint8Array | undefined;
}

/** A value, of any length, that is read as it is asked for. */
export interface BucketValue {
  readonly bytes: number;
  /** Bytes [start, end) of it, in pieces. */
  read(start: number, end: number): AsyncGenerator<Uint8Array>;
}

/** A page of answers; keys of 32 KiB are legal. */
const keyBytesMaxDefault = 1024 * 1024;

/** A value is read in pieces of this size. */
const pieceBytes = 256 * 1024;

/** A way from a bucket's root to an element of a leaf. */
interface Step {
  readonly node: Node;
  index: number;
}

/**
 * Lists a bucket, in key order; `undefined` where the path leads to none. Throws `corrupt`, naming object and page, also where keys are not in
 * order.
 */
export async function listBucket(
  pages: Walk["pages"],
  path: BucketPath,
  options: ListOptions,
): Promise<BucketListing | undefined> {
  const { limit, after, prefix, keyBytesMax = keyBytesMaxDefault } = options;
  const walk: Walk = { pages, signal: options.signal, reached: new Set() };
  const root = await openBucket(walk, path);
  if (root === undefined) return undefined;
  const begin = after === undefined || (prefix !== undefined && isBelow(after, prefix)) ? prefix : after;
  const way = await seek(walk, root, begin, path.length);
  const entries: BucketEntry[] = [];
  let keyBytes = 0;
  let last: Uint8Array | undefined;
  for (;;) {
    const found = await elementAt(walk, way, path.length);
    if (found === undefined) return { entries, next: undefined };
    const { node, element } = found;
    const { key } = element;
    if (last !== undefined && !isBelow(last, key))
      throw node.fail(`key ${element.index} is not above the key before it`);
    last = key;
    advance(way);
    if (after !== undefined && !isBelow(after, key)) continue;
    if (prefix !== undefined && !beginsWith(key, prefix)) {
      if (isBelow(prefix, key)) return { entries, next: undefined };
      continue;
    }
    const previous = entries.at(-1);
    if (previous !== undefined && (entries.length >= limit || keyBytes + key.length > keyBytesMax))
      return { entries, next: previous.key };
    // A copy: the page that it lies in may go.
    entries.push(await entryOf(walk, node, { ...element, key: new Uint8Array(key) }));
    keyBytes += key.length;
  }
}

/** The value of a key; `"bucket"` where a bucket is under it, `undefined` where nothing is, or no such bucket. Throws `corrupt`. */
export async function getValue(
  pages: Walk["pages"],
  path: BucketPath,
  key: Uint8Array,
  options: WalkOptions = {},
): Promise<BucketValue | "bucket" | undefined> {
  const walk: Walk = { pages, signal: options.signal, reached: new Set() };
  const found = await findElement(walk, path, key);
  if (found === undefined) return undefined;
  const { element } = found;
  if (element.isBucket) return "bucket";
  return {
    bytes: element.valueBytes,
    async *read(start, end) {
      const stop = Math.min(end, element.valueBytes);
      for (let at = start; at < stop; at += pieceBytes)
        yield await element.value(at, Math.min(stop, at + pieceBytes));
    },
  };
}

interface Found {
  readonly node: Node;
  readonly element: LeafElement;
}

/** The page at the root of a bucket's tree. */
async function openBucket(walk: Walk, path: BucketPath): Promise<Node | undefined> {
  const name = path.at(-1);
  if (name === undefined) return openNode(walk, walk.pages.root, 0);
  const found = await findElement(walk, path.slice(0, -1), name);
  if (found?.element.isBucket !== true) return undefined;
  const { node, element } = found;
  const { root } = await bucketHead(walk, node, element);
  return root === undefined ? inlineNode(walk, node, element) : openNode(walk, root, path.length);
}

async function findElement(walk: Walk, path: BucketPath, key: Uint8Array): Promise<Found | undefined> {
  const root = await openBucket(walk, path);
  if (root === undefined) return undefined;
  const way = await seek(walk, root, key, path.length);
  const found = await elementAt(walk, way, path.length);
  return found !== undefined && Buffer.compare(found.element.key, key) === 0 ? found : undefined;
}

async function entryOf(walk: Walk, node: Node, element: LeafElement): Promise<BucketEntry> {
  const { key, valueBytes } = element;
  if (!element.isBucket) return { kind: "key", key, valueBytes };
  const { root = null, sequence } = await bucketHead(walk, node, element);
  return { kind: "bucket", key, root, sequence };
}

/** The way to the first key that is not below `target`; it may end behind the last key of its leaf. */
async function seek(walk: Walk, root: Node, target: Uint8Array | undefined, depth: number): Promise<Step[]> {
  const way: Step[] = [];
  let node = root;
  let low: Uint8Array | undefined;
  for (;;) {
    if (low !== undefined && node.count > 0 && isBelow(await node.key(0), low))
      throw node.fail("its first key is below its key in the page above");
    const found = target === undefined ? 0 : await firstNotBelow(node, target);
    if (!node.isBranch) {
      way.push({ node, index: found });
      return way;
    }
    const isHere =
      target !== undefined && found < node.count && Buffer.compare(await node.key(found), target) === 0;
    const index = isHere ? found : Math.max(0, found - 1);
    way.push({ node, index });
    low = await node.key(index);
    node = await openNode(walk, await node.child(index), depth + way.length);
  }
}

async function firstNotBelow(node: Node, target: Uint8Array): Promise<number> {
  let low = 0;
  let high = node.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBelow(await node.key(middle), target)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The element that a way leads to, after going on to the next leaf where this one has no more; `undefined` at the end of the bucket. */
async function elementAt(walk: Walk, way: Step[], depth: number): Promise<Found | undefined> {
  for (let step = way.at(-1); step !== undefined; step = way.at(-1)) {
    const { node, index } = step;
    if (index >= node.count) {
      way.pop();
      advance(way);
    } else if (node.isBranch) {
      way.push({ node: await openNode(walk, await node.child(index), depth + way.length), index: 0 });
    } else {
      return { node, element: await node.element(index) };
    }
  }
  return undefined;
}

function advance(way: readonly Step[]): void {
  const step = way.at(-1);
  if (step !== undefined) step.index += 1;
}

function isBelow(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) < 0;
}

function beginsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  return Buffer.compare(key.subarray(0, prefix.length), prefix) === 0;
}
