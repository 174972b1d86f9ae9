// A small store of keys and values in the pages of a bolt file: one bucket, copy on write, two fsyncs a commit. bbolt opens what it
// writes. It shows what an observer needs of a store: what a commit wrote (`onCommit`), and a view of one committed state (`view`).

import { type FileHandle, open } from "node:fs/promises";
import type { ObservedDatabase, ObservedTransaction, PageFlushInfo } from "@pageferry/agent";
import { encodeMetaPage, metaPagesFor, metaSlot, txId } from "@pageferry/format";
import { type Entry, encodeBranch, encodeFreelist, encodeLeaf, encodeRoot, leafBytes } from "./pages.ts";
import { type Contents, type Leaf, readStore } from "./read.ts";

/** A store of texts. Disposing of it closes it. */
export interface Store extends ObservedDatabase, AsyncDisposable {
  get(key: string): string | undefined;
  /** Commits these changes together; `undefined` removes a key. It is durable when this returns. */
  update(changes: readonly (readonly [key: string, value: string | undefined])[]): Promise<void>;
  /** Is told of each commit, when it is durable. */
  onCommit(listener: (info: PageFlushInfo) => void): void;
  close(): Promise<void>;
}

interface State {
  readonly path: string;
  readonly file: FileHandle;
  contents: Contents;
  /** Pages that were freed by a transaction, as long as a view may be of an older one. */
  pending: { readonly txId: bigint; readonly ids: readonly number[] }[];
  readonly views: number[];
  readonly listeners: ((info: PageFlushInfo) => void)[];
  /** The commit that goes on: there is one writer. */
  turn: Promise<void>;
}

const pageSize = 4096;

/** Opens a store, or makes it. */
export async function openStore(path: string): Promise<Store> {
  const file = await open(path, "r+").catch(() => open(path, "w+"));
  const contents = await readStore(file, pageSize);
  const state: State = {
    ...{ path, file, contents: contents ?? emptyContents(), pending: [], views: [], listeners: [] },
    turn: Promise.resolve(),
  };
  if (contents === undefined) await create(state);
  const close = () => file.close();
  return {
    path,
    pageSize,
    get: (key) => leafOf(state.contents.leaves, key).entries.find(([known]) => known === key)?.[1],
    update(changes) {
      const mine = state.turn.then(() => commit(state, changes));
      // One that fails leaves everything as it was.
      state.turn = mine.catch(() => {});
      return mine;
    },
    onCommit: (listener) => void state.listeners.push(listener),
    view: (read) => view(state, read),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function emptyContents(): Contents {
  const meta = { pageSize, flags: 0, root: 2, sequence: 0n, freelist: null, highWaterMark: 2, txId: txId(0) };
  return { meta, leaves: [{ id: 0, entries: [] }], branch: [], freelist: [], free: [] };
}

/** Both metas must be there before one of them can be overwritten. */
async function create(state: State): Promise<void> {
  await commit(state, []);
  const { meta } = state.contents;
  const [page0, page1] = metaPagesFor(encodeMetaPage(meta, metaSlot(meta.txId)));
  await state.file.write(page0, 0, pageSize, 0);
  await state.file.write(page1, 0, pageSize, pageSize);
  await state.file.datasync();
}

/** Gives one committed state to read. Pages that it needs are not written again until `read` is done. */
async function view<Result>(
  state: State,
  read: (transaction: ObservedTransaction) => Promise<Result>,
): Promise<Result> {
  const { meta } = state.contents;
  state.views.push(Number(meta.txId));
  try {
    return await read({
      metaPage: encodeMetaPage(meta, metaSlot(meta.txId)),
      async readPages(id, count) {
        const pages = new Uint8Array(count * pageSize);
        const { bytesRead } = await state.file.read(pages, 0, pages.length, id * pageSize);
        return pages.subarray(0, bytesRead);
      },
    });
  } finally {
    state.views.splice(state.views.indexOf(Number(meta.txId)), 1);
  }
}

type Changes = Parameters<Store["update"]>[0];

async function commit(state: State, changes: Changes): Promise<void> {
  const before = state.contents;
  const id = txId(before.meta.txId + 1n);
  const pages = allocator(reusablePages(state), before.meta.highWaterMark);
  const written: { readonly ids: readonly number[]; readonly data: Uint8Array }[] = [];
  const write = (blocks: number, encode: (id: number) => Uint8Array): readonly number[] => {
    const ids = pages.take(blocks);
    written.push({ ids, data: encode(ids[0] ?? 0) });
    return ids;
  };
  const leaves = changedLeaves(before.leaves, changes).map((leaf) => {
    if (leaf.id !== 0) return leaf;
    const [at = 0] = write(1, (own) => encodeLeaf(pageSize, own, leaf.entries));
    return { ...leaf, id: at };
  });
  const branch = write(encodeBranch(pageSize, 0, leaves).length / pageSize, (own) =>
    encodeBranch(pageSize, own, leaves),
  );
  const [root = 0] = write(1, (own) => encodeRoot(pageSize, own, branch[0] ?? 0));
  const kept = new Set(leaves.map((leaf) => leaf.id));
  const replaced = before.leaves.flatMap((leaf) => (leaf.id === 0 || kept.has(leaf.id) ? [] : [leaf.id]));
  const oldRoot = before.branch.length === 0 ? [] : [before.meta.root];
  const pending = [
    ...state.pending,
    { txId: id, ids: [...replaced, ...before.branch, ...oldRoot, ...before.freelist] },
  ];
  const waiting = pending.flatMap(({ ids }) => ids);
  const listed = () => [...pages.free(), ...waiting].sort((a, b) => a - b);
  const blocks = encodeFreelist(pageSize, 0, listed()).length / pageSize;
  // Its own pages leave the list before it is written.
  const freelist = write(blocks, (own) => encodeFreelist(pageSize, own, listed(), blocks));
  const highWaterMark = pages.highWaterMark();
  const meta = { ...before.meta, root, freelist: freelist[0] ?? 0, highWaterMark, txId: id };
  for (const { ids, data } of written) await state.file.write(data, 0, data.length, (ids[0] ?? 0) * pageSize);
  await state.file.datasync();
  const slot = metaSlot(id);
  await state.file.write(encodeMetaPage(meta, slot), 0, pageSize, slot * pageSize);
  await state.file.datasync();
  state.contents = { meta, leaves, branch, freelist, free: pages.free() };
  state.pending = pending;
  tell(state, written);
}

/** Everything that was written is told, but the meta page: the observer knows what it says. */
function tell(
  state: State,
  written: readonly { readonly ids: readonly number[]; readonly data: Uint8Array }[],
): void {
  const { txId: id, highWaterMark } = state.contents.meta;
  const frames = written.map(({ ids, data }) => ({ id: ids[0] ?? 0, overflow: ids.length - 1, data }));
  const info: PageFlushInfo = {
    ...{ txId: id, parentTxId: id - 1n, dbPath: state.path, pageSize, pageCount: frames.length },
    ...{ highWaterMark, timestamp: new Date(), frames },
  };
  for (const listener of state.listeners) listener(info);
}

/** What is free, and what no view needs any more. It leaves `pending`. */
function reusablePages(state: State): number[] {
  const oldest = Math.min(Number(state.contents.meta.txId), ...state.views);
  const isOver = (one: { readonly txId: bigint }): boolean => one.txId <= oldest;
  const ids = state.pending.filter(isOver).flatMap((one) => one.ids);
  state.pending = state.pending.filter((one) => !isOver(one));
  state.contents = { ...state.contents, free: [...state.contents.free, ...ids].sort((a, b) => a - b) };
  return [...state.contents.free];
}

/** Gives out runs of free pages, and new ones at the end of the file. */
function allocator(free: number[], highWaterMark: number) {
  let end = highWaterMark;
  return {
    take(count: number): number[] {
      const at = free.findIndex((id, index) => free[index + count - 1] === id + count - 1);
      if (at >= 0) return free.splice(at, count);
      end += count;
      return Array.from({ length: count }, (_, index) => end - count + index);
    },
    free: (): readonly number[] => free,
    highWaterMark: () => end,
  };
}

/** The leaves after the changes; those that changed are new ones. */
function changedLeaves(leaves: readonly Leaf[], changes: Changes): Leaf[] {
  const changed = new Map<Leaf, Map<string, string | undefined>>();
  for (const [key, value] of changes) {
    const leaf = leafOf(leaves, key);
    changed.set(leaf, (changed.get(leaf) ?? new Map()).set(key, value));
  }
  const after = leaves.flatMap((leaf) => {
    const news = changed.get(leaf);
    if (news === undefined) return [leaf];
    const kept = leaf.entries.filter(([key]) => !news.has(key));
    const added = [...news].filter((entry): entry is [string, string] => entry[1] !== undefined);
    return splitEntries([...kept, ...added].sort(([a], [b]) => compareKeys(a, b)));
  });
  return after.length === 0 ? [{ id: 0, entries: [] }] : after;
}

/** As many leaves as the entries need; none for none. */
function splitEntries(entries: readonly Entry[]): Leaf[] {
  const leaves: Entry[][] = [];
  for (const entry of entries) {
    const last = leaves.at(-1);
    if (last !== undefined && leafBytes([...last, entry]) <= pageSize) last.push(entry);
    else if (leafBytes([entry]) <= pageSize) leaves.push([entry]);
    else throw new RangeError(`the value of ${entry[0]} does not fit into a page`);
  }
  return leaves.map((one) => ({ id: 0, entries: one }));
}

/** The leaf that has a key, or would have it. */
function leafOf(leaves: readonly Leaf[], key: string): Leaf {
  const next = leaves.findIndex((leaf) => compareKeys(leaf.entries[0]?.[0] ?? "", key) > 0);
  return leaves[next < 0 ? leaves.length - 1 : Math.max(0, next - 1)] as Leaf;
}

/** Bolt orders keys by their bytes. */
function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
