// One state of an observed database, and how it moves on by what was told: from the new root down to pages that are known, and from
// the old root down to those. Nothing is taken on trust: what does not add up leaves the state as it was.
import {
  createXxh3,
  encodeMetaPage,
  isPageferryError,
  type MetaFields,
  metaSlot,
  pageDigestBytes,
  pageHeader,
  parseFreelist,
  referencedPages,
} from "@pageferry/format";
import type { PageTable } from "../page-table.ts";
import type { CapturedFrame } from "../sources/capture-event.ts";
import type { Outcome } from "../sources/outcome.ts";
import type { FlushRange } from "./flush-line.ts";

/** A state that is known to the last page. */
export interface ObservedState {
  /** With what each page refers to. */
  readonly table: PageTable;
  readonly meta: MetaFields;
  /** Pages neither free nor live, by the freelist; null where there is none. Bolt never changes it. */
  readonly leaked: number | null;
}

/** The state that a range leads to, and the delta. */
export interface Advanced {
  readonly state: ObservedState;
  readonly outcome: Outcome & { readonly frames: readonly CapturedFrame[] };
}

/** A new run of the state that a range leads to. */
interface NewRun {
  readonly id: number;
  readonly run: Uint8Array;
  readonly children: Uint32Array | undefined;
}

interface NewPages {
  readonly runs: readonly NewRun[];
  readonly blocks: ReadonlySet<number>;
  /** Heads that are referred to and were known before. */
  readonly retained: ReadonlySet<number>;
  /** Of the freelist that was told. */
  readonly freeCount: number | undefined;
}

/**
 * Moves `state` on by a range that begins at or before it, changing its table. Undefined: what was told does not lead from there to
 * a whole database, and the table is as it was.
 */
export function advanceState(state: ObservedState, range: FlushRange): Advanced | undefined {
  try {
    const meta = metaAfter(state, range);
    const pages = meta && newPagesOf(state, meta, range.frames);
    return meta && pages && settle(state, meta, pages);
  } catch (error) {
    if (isPageferryError(error, "corrupt")) return undefined;
    throw error;
  }
}

function metaAfter({ meta: before }: ObservedState, range: FlushRange): MetaFields | undefined {
  const { root = before.root, sequence = before.sequence, freelist, highWaterMark } = range.tip;
  if (highWaterMark < before.highWaterMark) return undefined;
  // A freelist that comes or goes may be one that was not told.
  if ((freelist === null) !== (before.freelist === null)) return undefined;
  const { pageSize, flags } = before;
  return { pageSize, flags, root, sequence, freelist, highWaterMark, txId: range.txId };
}

function newPagesOf(
  state: ObservedState,
  meta: MetaFields,
  frames: readonly CapturedFrame[],
): NewPages | undefined {
  const runs: NewRun[] = [];
  const blocks = new Set<number>();
  const retained = new Set<number>();
  const take = (id: number, run: Uint8Array, children?: Uint32Array): boolean => {
    for (let block = id; block < id + run.length / meta.pageSize; block += 1) {
      if (blocks.has(block)) return false;
      blocks.add(block);
    }
    runs.push({ id, run, children });
    return true;
  };
  let freeCount: number | undefined;
  if (meta.freelist !== null) {
    const run = runAt(frames, meta.freelist, meta.pageSize);
    if (run === undefined || !take(meta.freelist, run)) return undefined;
    freeCount = parseFreelist(run).length;
  }
  const queue = [meta.root];
  for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
    const run = runAt(frames, id, meta.pageSize);
    if (run === undefined) {
      if (!state.table.has(id) || retained.has(id)) return undefined;
      retained.add(id);
      continue;
    }
    const children = referencedPages(run, id, meta);
    if (!take(id, run, children)) return undefined;
    queue.push(...children);
  }
  return { runs, blocks, retained, freeCount };
}

/** The run whose first page is `id`, as its header says. Undefined: it was not told. */
function runAt(frames: readonly CapturedFrame[], id: number, pageSize: number): Uint8Array | undefined {
  let [low, high] = [0, frames.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((frames[middle]?.id ?? 0) > id) high = middle;
    else low = middle + 1;
  }
  const frame = frames[low - 1];
  if (frame === undefined || id > frame.id + frame.overflow) return undefined;
  const from = (id - frame.id) * pageSize;
  const { overflow } = pageHeader(frame.data.subarray(from, from + pageSize));
  return frame.data.subarray(from, from + (overflow + 1) * pageSize);
}

function settle(state: ObservedState, meta: MetaFields, pages: NewPages): Advanced | undefined {
  const { table } = state;
  const dropped = droppedBlocks(state, pages.retained);
  for (const id of pages.blocks) if (table.has(id) && !dropped.has(id)) return undefined;
  for (const id of pages.retained) if (dropped.has(id)) return undefined;
  const live = table.count() - dropped.size + pages.blocks.size;
  const leaked = leakedPages(meta, live, pages.freeCount);
  if (state.leaked !== null && leaked !== null && leaked !== state.leaked) return undefined;
  const pre = table.stateHash();
  const freed = Uint32Array.from(dropped)
    .filter((id) => !pages.blocks.has(id))
    .sort();
  for (const id of dropped) table.remove(id);
  for (const { id, run, children } of pages.runs) addRun(table, id, run, children);
  return {
    state: { table, meta, leaked },
    outcome: { frames: deltaFrames(meta, pages.runs), freed, pre, post: table.stateHash() },
  };
}

/** Pages that are live in a state, and neither the freelist nor anything below the retained heads. */
function droppedBlocks({ table, meta }: ObservedState, retained: ReadonlySet<number>): Set<number> {
  const dropped = new Set<number>();
  const drop = (id: number): void => {
    for (let block = id; block <= id + table.overflowOf(id); block += 1) dropped.add(block);
  };
  if (meta.freelist !== null) drop(meta.freelist);
  const stack = [meta.root];
  for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
    if (retained.has(id)) continue;
    drop(id);
    stack.push(...(table.childrenOf(id) ?? []));
  }
  return dropped;
}

/** Pages that are neither free nor live; null without a freelist. */
export function leakedPages(meta: MetaFields, live: number, freeCount: number | undefined): number | null {
  return freeCount === undefined ? null : meta.highWaterMark - 2 - freeCount - live;
}

/** The meta page and the runs, ascending: the frames of a delta. */
export function deltaFrames(
  meta: MetaFields,
  runs: readonly { readonly id: number; readonly run: Uint8Array }[],
): CapturedFrame[] {
  const slot = metaSlot(meta.txId);
  const frames = runs.map(({ id, run }) => ({ id, overflow: run.length / meta.pageSize - 1, data: run }));
  frames.sort((a, b) => a.id - b.id);
  return [{ id: slot, overflow: 0, data: encodeMetaPage(meta, slot) }, ...frames];
}

const xxh3 = createXxh3();

/** Puts a run into a table; the digest of each of its pages is made here. Answers the digests. */
export function addRun(
  table: PageTable,
  id: number,
  run: Uint8Array,
  children?: Uint32Array | undefined,
): Uint8Array {
  const { pageSize } = table;
  const blocks = run.length / pageSize;
  const digests = new Uint8Array(blocks * pageDigestBytes);
  for (let block = 0; block < blocks; block += 1) {
    const page = run.subarray(block * pageSize, (block + 1) * pageSize);
    xxh3.pageDigest(id + block, page, digests, block * pageDigestBytes);
  }
  table.addRun({ id, overflow: blocks - 1, children, digests });
  return digests;
}
