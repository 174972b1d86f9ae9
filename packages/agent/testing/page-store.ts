// For tests: a store in memory that keeps its values in the pages of a bolt file and tells each commit, as an application with an
// observer would. Its trees are flat, its pages small; how they come and go is bolt's way.
import {
  encodeMetaPage,
  livePages,
  type MetaFields,
  metaSlot,
  type StateHash,
  txId,
} from "@pageferry/format";
import type { ObservedDatabase } from "../src/observer/observed-database.ts";
import type { PageFlushInfo } from "../src/observer/page-flush.ts";
import { tableOf } from "./model-database.ts";

const pageSizeDefault = 512;
const slotsOfLeaf = 4;
const valueBytes = 64;

/** The live pages of one transaction, as they must be restored. */
export interface StoreState {
  readonly txId: number;
  readonly pages: ReadonlyMap<number, Uint8Array>;
  readonly stateHash: StateHash;
}

/** How a store is made. */
export interface PageStoreOptions {
  readonly path: string;
  readonly leaves?: number;
  readonly seed?: number;
  /** False: none on disk, as etcd has it. */
  readonly hasFreelist?: boolean;
  /** 512 unless told; bbolt itself opens no smaller ones than 1024. */
  readonly pageSize?: number;
}

/** A store. */
export interface PageStore extends ObservedDatabase {
  /** Writes so many values in one transaction, and tells it. */
  commit(values?: number): PageFlushInfo;
  /** Adds leaves: the next commit writes them, and the file grows. */
  grow(leaves: number): void;
  newest(): number;
  /** What is live now; of a store with the default page size. */
  state(): StoreState;
  /** The transaction that wrote each value last, at a transaction. */
  writersAt(id: number): readonly number[];
  /** How many views are open, and were. */
  readonly views: { open: number; count: number };
}

interface Store {
  readonly options: PageStoreOptions;
  readonly pages: Map<number, Uint8Array>;
  meta: MetaFields;
  free: Set<number>;
  pending: { readonly txId: bigint; readonly ids: readonly number[] }[];
  leaves: number[];
  /** By slot: the transactions that wrote it. */
  readonly writers: number[][];
  readonly readers: number[];
  random: number;
  branch: readonly number[];
  freelist: readonly number[];
}

/** Makes a store whose first transaction is committed. */
export function createPageStore(options: PageStoreOptions): PageStore {
  const { pageSize = pageSizeDefault } = options;
  const store: Store = {
    options,
    pages: new Map(),
    meta: { pageSize, flags: 0, root: 2, sequence: 0n, freelist: null, highWaterMark: 2, txId: txId(1) },
    ...{ free: new Set(), pending: [], leaves: [], writers: [], readers: [], branch: [], freelist: [] },
    random: options.seed ?? 1,
  };
  grow(store, options.leaves ?? 12);
  commit(store, 1);
  const views = { open: 0, count: 0 };
  return {
    ...{ path: options.path, pageSize, views },
    commit: (values = 3) => commit(store, values),
    grow: (leaves) => grow(store, leaves),
    newest: () => Number(store.meta.txId),
    state: () => stateOf(store),
    writersAt: (id) => store.writers.map((written) => lastUpTo(written, id)),
    async view(read) {
      const { meta } = store;
      views.open += 1;
      views.count += 1;
      store.readers.push(Number(meta.txId));
      try {
        const metaPage = encodeMetaPage(meta, metaSlot(meta.txId));
        return await read({ metaPage, readPages: async (id, count) => pagesAt(store, id, count) });
      } finally {
        views.open -= 1;
        store.readers.splice(store.readers.indexOf(Number(meta.txId)), 1);
      }
    },
  };
}

function lastUpTo(written: readonly number[], id: number): number {
  let [low, high] = [0, written.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((written[middle] ?? 0) > id) high = middle;
    else low = middle + 1;
  }
  return written[low - 1] ?? 0;
}

/** A value says which slot it is of and which transaction wrote it, everywhere in its bytes. */
export function storedValue(slot: number, writer: number): Uint8Array {
  const value = new Uint8Array(valueBytes);
  const view = new DataView(value.buffer);
  for (let at = 0; at < valueBytes; at += 8) {
    view.setUint32(at, slot);
    view.setUint32(at + 4, writer);
  }
  return value;
}

/** The key of a slot. */
export function keyOf(slot: number): string {
  return `k${String(slot).padStart(5, "0")}`;
}

function grow(store: Store, leaves: number): void {
  for (let count = 0; count < leaves; count += 1) {
    store.leaves.push(0);
    for (let slot = 0; slot < slotsOfLeaf; slot += 1) store.writers.push([]);
  }
}

function nextRandom(store: Store, below: number): number {
  store.random = (Math.imul(store.random, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((store.random / 2 ** 32) * below);
}

function commit(store: Store, values: number): PageFlushInfo {
  const { pageSize } = store.meta;
  const id = store.meta.txId + 1n;
  releasePending(store, id);
  const freed: number[] = [];
  const written = new Map<number, Uint8Array>();
  const dirty = writeValues(store, values, Number(id));
  let { highWaterMark } = store.meta;
  const place = (content: Uint8Array): number[] => {
    const count = content.length / pageSize;
    const ids = allocate(store.free, count) ?? Array.from({ length: count }, () => highWaterMark++);
    new DataView(content.buffer).setUint32(0, ids[0] ?? 0, true);
    written.set(ids[0] ?? 0, content);
    return ids;
  };
  for (const leaf of dirty) {
    const old = store.leaves[leaf] ?? 0;
    if (old !== 0) freed.push(old);
    [store.leaves[leaf] = 0] = place(leafPage(store, leaf));
  }
  freed.push(...store.branch, ...store.freelist);
  if (store.branch.length > 0) freed.push(store.meta.root);
  store.branch = place(branchPage(store));
  const [root = 0] = place(rootPage(store));
  store.pending.push({ txId: id, ids: freed });
  store.freelist = store.options.hasFreelist === false ? [] : placeFreelist(store, place);
  const freelist = store.freelist[0] ?? null;
  store.meta = { ...store.meta, root, freelist, highWaterMark, txId: txId(id) };
  for (const [first, content] of written) {
    for (let block = 0; block * pageSize < content.length; block += 1) {
      store.pages.set(first + block, content.subarray(block * pageSize, (block + 1) * pageSize));
    }
  }
  return infoOf(store, written);
}

function infoOf({ meta, options }: Store, written: ReadonlyMap<number, Uint8Array>): PageFlushInfo {
  const { pageSize } = meta;
  const frames = [...written].map(([id, data]) => ({
    id: BigInt(id),
    overflow: data.length / pageSize - 1,
    data,
  }));
  frames.sort((a, b) => Number(a.id - b.id));
  return {
    ...{ txId: meta.txId, parentTxId: meta.txId - 1n, dbPath: options.path, pageSize },
    ...{ pageCount: frames.length, highWaterMark: BigInt(meta.highWaterMark), timestamp: new Date(), frames },
  };
}

/** What no reader and no newest state needs any more. */
function releasePending(store: Store, next: bigint): void {
  const oldest = Math.min(...store.readers, Number(next) - 1);
  const isOver = ({ txId: id }: { readonly txId: bigint }): boolean => id <= oldest;
  for (const { ids } of store.pending.filter(isOver)) for (const id of ids) store.free.add(id);
  store.pending = store.pending.filter((one) => !isOver(one));
}

function allocate(free: Set<number>, count: number): number[] | undefined {
  for (const id of [...free].sort((a, b) => a - b)) {
    const ids = Array.from({ length: count }, (_, index) => id + index);
    if (!ids.every((one) => free.has(one))) continue;
    for (const one of ids) free.delete(one);
    return ids;
  }
  return undefined;
}

function writeValues(store: Store, values: number, id: number): Set<number> {
  const dirty = new Set(store.leaves.flatMap((page, leaf) => (page === 0 ? [leaf] : [])));
  for (const leaf of dirty) {
    for (let slot = 0; slot < slotsOfLeaf; slot += 1) store.writers[leaf * slotsOfLeaf + slot]?.push(id);
  }
  for (let count = 0; count < values; count += 1) {
    const slot = nextRandom(store, store.writers.length);
    if (store.writers[slot]?.at(-1) !== id) store.writers[slot]?.push(id);
    dirty.add(Math.floor(slot / slotsOfLeaf));
  }
  return dirty;
}

interface Element {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly child?: number;
  readonly flags?: number;
}

const text = new TextEncoder();
const keys: Uint8Array[] = [];

/** Encoding is slow, and keys are the same all the time. */
function keyBytes(slot: number): Uint8Array {
  const key = keys[slot] ?? text.encode(keyOf(slot));
  keys[slot] = key;
  return key;
}

function leafPage(store: Store, leaf: number): Uint8Array {
  const slots = Array.from({ length: slotsOfLeaf }, (_, index) => leaf * slotsOfLeaf + index);
  const elements = slots.map((slot) => ({
    key: keyBytes(slot),
    value: storedValue(slot, store.writers[slot]?.at(-1) ?? 0),
  }));
  return page(store, 2, elements);
}

function branchPage(store: Store): Uint8Array {
  const elements = store.leaves.map((child, leaf) => ({
    key: keyBytes(leaf * slotsOfLeaf),
    value: new Uint8Array(),
    child,
  }));
  return page(store, 1, elements);
}

function rootPage(store: Store): Uint8Array {
  const value = new Uint8Array(16);
  new DataView(value.buffer).setUint32(0, store.branch[0] ?? 0, true);
  return page(store, 2, [{ key: text.encode("data"), value, flags: 1 }]);
}

/** A branch (1) or leaf (2) with its overflow. */
function page({ meta: { pageSize } }: Store, flags: 1 | 2, elements: readonly Element[]): Uint8Array {
  const size = elements.reduce((sum, { key, value }) => sum + 16 + key.length + value.length, 16);
  const content = new Uint8Array(Math.ceil(size / pageSize) * pageSize);
  const view = headerOf(content, { pageSize, flags, count: elements.length });
  let at = 16 + elements.length * 16;
  for (const [index, { key, value, child, flags: mark = 0 }] of elements.entries()) {
    const element = 16 + index * 16;
    const fields =
      flags === 1 ? [at - element, key.length, child ?? 0] : [mark, at - element, key.length, value.length];
    for (const [field, number] of fields.entries()) view.setUint32(element + field * 4, number, true);
    content.set(key, at);
    content.set(value, at + key.length);
    at += key.length + value.length;
  }
  return content;
}

interface Header {
  readonly pageSize: number;
  readonly flags: number;
  readonly count: number;
}

function headerOf(content: Uint8Array, { pageSize, flags, count }: Header): DataView {
  const view = new DataView(content.buffer);
  view.setUint16(8, flags, true);
  view.setUint16(10, count, true);
  view.setUint32(12, content.length / pageSize - 1, true);
  return view;
}

/** The list holds what is free and what is pending; its own pages are taken from it first. */
function placeFreelist(store: Store, place: (content: Uint8Array) => number[]): number[] {
  const pending = store.pending.flatMap(({ ids }) => ids);
  const { pageSize } = store.meta;
  const most = store.free.size + pending.length;
  const content = new Uint8Array(Math.ceil((16 + most * 8) / pageSize) * pageSize);
  const ids = place(content);
  const listed = [...store.free, ...pending].sort((a, b) => a - b);
  const view = headerOf(content, { pageSize, flags: 0x10, count: listed.length });
  for (const [index, id] of listed.entries()) view.setUint32(16 + index * 8, id, true);
  return ids;
}

function pagesAt(store: Store, id: number, count: number): Uint8Array {
  const { pageSize } = store.meta;
  const pages = new Uint8Array(count * pageSize);
  for (let index = 0; index < count; index += 1) {
    pages.set(store.pages.get(id + index) ?? new Uint8Array(pageSize), index * pageSize);
  }
  return pages;
}

function stateOf(store: Store): StoreState {
  const { pageSize } = store.meta;
  const pages = new Map<number, Uint8Array>();
  const source = { pageSize, read: (id: number, count: number) => pagesAt(store, id, count) };
  for (const { id, run } of livePages(source, store.meta)) {
    for (let block = 0; block * pageSize < run.length; block += 1) {
      pages.set(id + block, run.slice(block * pageSize, (block + 1) * pageSize));
    }
  }
  return { txId: Number(store.meta.txId), pages, stateHash: tableOf(pages).stateHash() };
}
