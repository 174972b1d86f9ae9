// For tests: a small bolt database that is sound at every transaction and moves its pages as bolt does: a commit writes only pages that the
// state before it does not reach, frees what it replaced, and may use that again from the next commit on. One branch, some leaves of one key
// with overflow, and a freelist that is written anew each time, or none. What it holds follows from the commits it was given.

import {
  checkDatabase,
  encodeMetaPage,
  type MetaFields,
  metaPagesFor,
  metaSlot,
  type PageFrame,
  type StateHash,
  txId,
} from "@pageferry/format";

export const modelPageSize = 512;

/** How many keys the model holds, each in a leaf of its own. */
const modelKeys = 6;

/** One value: a letter that fills it, and how many overflow pages it takes. */
export interface ModelWrite {
  readonly key: number;
  readonly letter: number;
  readonly overflow: number;
}

interface Run {
  readonly id: number;
  readonly data: Uint8Array;
}

/** A state: what is live in it, and what its transaction wrote. */
export interface ModelState {
  readonly id: number;
  readonly meta: MetaFields;
  /** Live runs without metas: branch, leaves, freelist. */
  readonly live: readonly Run[];
  /** The runs that this transaction wrote, as bolt writes them. */
  readonly written: readonly Run[];
  readonly stateHash: StateHash;
  /** The whole file, free pages as zeros. */
  image(): Uint8Array;
}

export interface BoltModel {
  /** The newest transaction, from 1 on. */
  newest(): number;
  at(id: number): ModelState;
  commit(writes: readonly ModelWrite[]): ModelState;
  /** A copy that goes on by itself: a restored or cloned file. */
  fork(at: number): BoltModel;
}

export interface BoltModelOptions {
  readonly hasFreelist: boolean;
}

interface Layout {
  readonly leaves: readonly Run[];
  readonly root: Run;
  readonly freelist: Run | undefined;
  readonly free: readonly number[];
  readonly pending: readonly number[];
  readonly highWaterMark: number;
}

/** Transaction 1 writes every key. */
export function createBoltModel(options: BoltModelOptions): BoltModel {
  const first = commitOn(undefined, 1, allKeys(), options);
  return modelOf([first], options);
}

const allKeys = (): ModelWrite[] =>
  Array.from({ length: modelKeys }, (_, key) => ({ key, letter: 0, overflow: 0 }));

function modelOf(
  history: { readonly layout: Layout; readonly state: ModelState }[],
  options: BoltModelOptions,
): BoltModel {
  const at = (id: number) => {
    const found = history[id - 1];
    if (found === undefined) throw new RangeError(`the model has no transaction ${id}`);
    return found;
  };
  return {
    newest: () => history.length,
    at: (id) => at(id).state,
    commit(writes) {
      const id = history.length + 1;
      const next = commitOn(at(id - 1).layout, id, writes, options);
      history.push(next);
      return next.state;
    },
    fork: (id) => modelOf(history.slice(0, id), options),
  };
}

function commitOn(
  before: Layout | undefined,
  id: number,
  writes: readonly ModelWrite[],
  { hasFreelist }: BoltModelOptions,
): { readonly layout: Layout; readonly state: ModelState } {
  const pool = allocator([...(before?.free ?? []), ...(before?.pending ?? [])], before?.highWaterMark ?? 2);
  const freed: number[] = [];
  const free = (run: Run | undefined) => {
    if (run !== undefined) for (let page = 0; page < pagesOf(run); page += 1) freed.push(run.id + page);
  };
  const written: Run[] = [];
  const write = (run: Run): Run => {
    written.push(run);
    return run;
  };
  const leaves = [...(before?.leaves ?? [])];
  for (const { key, letter, overflow } of new Map(writes.map((one) => [one.key, one])).values()) {
    free(leaves[key]);
    leaves[key] = write(leafAt(pool.take(overflow + 1), key, letter, overflow));
  }
  free(before?.root);
  const root = write(branchAt(pool.take(1), leaves));
  free(before?.freelist);
  let freelist: Run | undefined;
  if (hasFreelist) {
    // Its own page comes out of the free ones, and may be one more than they are.
    const place = pool.take(1);
    freelist = write(freelistAt(place, [...pool.left(), ...freed]));
  }
  const highWaterMark = pool.highWaterMark();
  const layout = { leaves, root, freelist, free: pool.left(), pending: freed, highWaterMark };
  return { layout, state: stateOf(id, layout, written) };
}

function allocator(from: readonly number[], end: number) {
  const free = from.toSorted((a, b) => a - b);
  let highWaterMark = end;
  return {
    /** The lowest run of free pages that is long enough, else new ones at the end. */
    take(count: number): number {
      for (let at = 0; at + count <= free.length; at += 1) {
        const first = free[at] as number;
        if (free[at + count - 1] !== first + count - 1) continue;
        free.splice(at, count);
        return first;
      }
      highWaterMark += count;
      return highWaterMark - count;
    },
    left: (): readonly number[] => [...free],
    highWaterMark: () => highWaterMark,
  };
}

function stateOf(id: number, layout: Layout, written: readonly Run[]): ModelState {
  const { leaves, root, freelist, highWaterMark } = layout;
  const meta: MetaFields = {
    pageSize: modelPageSize,
    flags: 0,
    root: root.id,
    sequence: 0n,
    freelist: freelist?.id ?? null,
    highWaterMark,
    txId: txId(id),
  };
  const live = [...leaves, root, ...(freelist === undefined ? [] : [freelist])].sort((a, b) => a.id - b.id);
  const image = () => {
    const bytes = new Uint8Array(highWaterMark * modelPageSize);
    const [meta0, meta1] = metaPagesFor(metaPageOf(meta));
    bytes.set(meta0, 0);
    bytes.set(meta1, modelPageSize);
    for (const run of live) bytes.set(run.data, run.id * modelPageSize);
    return bytes;
  };
  const bytes = image();
  const source = {
    pageSize: modelPageSize,
    size: bytes.length,
    read: (page: number, count: number) =>
      bytes.subarray(page * modelPageSize, (page + count) * modelPageSize),
  };
  const { stateHash, problems } = checkDatabase(source, { mode: "full" });
  if (stateHash === undefined || problems.length > 0)
    throw new Error(`the model is broken: ${problems.join("; ")}`);
  return { id, meta, live, written: written.toSorted((a, b) => a.id - b.id), stateHash, image };
}

/** The meta page of a state. */
function metaPageOf(meta: MetaFields): Uint8Array {
  return encodeMetaPage(meta, metaSlot(meta.txId));
}

/**
 * What a capture of (parent, id] holds: the newest block of every page that was written, as single bolt runs for one transaction, else in
 * maximal runs; `isThrifty` leaves out what is not live in the end, as the agent does. The meta page comes first.
 */
export function framesOf(model: BoltModel, parent: number, id: number, isThrifty: boolean): PageFrame[] {
  const { meta, live } = model.at(id);
  const first: PageFrame = { id: BigInt(metaSlot(meta.txId)), overflow: 0, data: metaPageOf(meta) };
  if (id === parent + 1) {
    const runs = model.at(id).written.map((run) => frameAt(run.id, run.data));
    return [first, ...runs];
  }
  const blocks = new Map<number, Uint8Array>();
  for (let at = parent + 1; at <= id; at += 1) {
    for (const run of model.at(at).written) {
      for (let page = 0; page < pagesOf(run); page += 1) blocks.set(run.id + page, blockOf(run, page));
    }
  }
  const isLive = new Set(
    live.flatMap((run) => Array.from({ length: pagesOf(run) }, (_, page) => run.id + page)),
  );
  const ids = [...blocks.keys()].filter(
    (page) => page < meta.highWaterMark && (!isThrifty || isLive.has(page)),
  );
  ids.sort((a, b) => a - b);
  const frames: PageFrame[] = [first];
  for (let from = 0; from < ids.length; ) {
    let to = from + 1;
    while (to < ids.length && ids[to] === (ids[to - 1] as number) + 1) to += 1;
    const data = Buffer.concat(ids.slice(from, to).map((page) => blocks.get(page) as Uint8Array));
    frames.push(frameAt(ids[from] as number, data));
    from = to;
  }
  return frames;
}

function frameAt(id: number, data: Uint8Array): PageFrame {
  return { id: BigInt(id), overflow: data.length / modelPageSize - 1, data };
}

const pagesOf = (run: Run): number => run.data.length / modelPageSize;
const blockOf = (run: Run, page: number): Uint8Array =>
  run.data.subarray(page * modelPageSize, (page + 1) * modelPageSize);

const branchFlag = 1;
const leafFlag = 2;
const freelistFlag = 0x10;

function pageAt(id: number, flags: number, count: number, overflow: number): Buffer {
  const page = Buffer.alloc((overflow + 1) * modelPageSize);
  page.writeUInt32LE(id, 0);
  page.writeUInt16LE(flags, 8);
  page.writeUInt16LE(count, 10);
  page.writeUInt32LE(overflow, 12);
  return page;
}

function branchAt(id: number, leaves: readonly Run[]): Run {
  const page = pageAt(id, branchFlag, leaves.length, 0);
  for (const [at, leaf] of leaves.entries()) {
    const element = 16 + at * 16;
    const key = 16 + leaves.length * 16 + at;
    page.writeUInt32LE(key - element, element);
    page.writeUInt32LE(1, element + 4);
    page.writeUInt32LE(leaf.id, element + 8);
    page[key] = at;
  }
  return { id, data: page };
}

function leafAt(id: number, key: number, letter: number, overflow: number): Run {
  const page = pageAt(id, leafFlag, 1, overflow);
  // Long enough to need the overflow pages, the last of them too.
  const bytes = overflow * modelPageSize + 64;
  page.writeUInt32LE(16, 20);
  page.writeUInt32LE(1, 24);
  page.writeUInt32LE(bytes, 28);
  page[32] = key;
  page.fill(letter, 33, 33 + bytes);
  return { id, data: page };
}

function freelistAt(id: number, ids: readonly number[]): Run {
  const page = pageAt(id, freelistFlag, ids.length, 0);
  for (const [at, free] of ids.toSorted((a, b) => a - b).entries())
    page.writeBigUInt64LE(BigInt(free), 16 + at * 8);
  return { id, data: page };
}
