// Moves a walk from the state T to T+1 while the file is being written: by the freelist of T+1 where it is on disk, else by
// reading the changed path. The proofs are docs/capture.md#chain and #reach.
import { PageferryError, pageHeader, parseFreelist } from "@pageferry/format";
import { createPageBits } from "../page-bits.ts";
import { equalBytes, isSameMeta, type MetaView } from "./bolt-io.ts";
import {
  acceptBatch,
  acceptRun,
  type Batch,
  type BatchEntry,
  childrenOf,
  dropBlock,
  isAwaited,
  isComplete,
  isKnown,
  isNewest,
  readBatch,
  readRuns,
  type Walk,
} from "./walk.ts";

/**
 * How a step ended. `moved`: go on. `complete`: the walk holds its state. The others end the walk:
 * `gap`: a commit was missed, ids prove nothing any more. `unlinked`: T+1 does not follow our T. `fell`: the newest meta is
 * not above ours, but another. `absent`: no valid meta, look again.
 */
export type StepResult = "moved" | "complete" | "gap" | "unlinked" | "fell" | "absent";

/**
 * Pages of a changed path that are read in one go when there is no freelist: enough for every branch of a common commit. What is
 * over goes to the frontier, at the price that retained pages below it are read again.
 */
const pathPagesMax = 1024;
/** Pages of a path that are read between two looks at the metas. */
const pathSlicePages = 32;

/** Reads and proves a slice of at most `pages` runs, following the file's commits on the way. */
export function stepWalk(walk: Walk, pages: number): StepResult {
  const before = walk.file.metas.read();
  if (before === undefined) return "absent";
  if (!isSameMeta(before, walk.view)) {
    const result = advance(walk, before, undefined);
    if (result !== "moved") return result;
  }
  if (isComplete(walk)) return "complete";
  const batch = readBatch(walk, pages);
  const after = walk.file.metas.read();
  if (after === undefined) return "absent";
  if (!isSameMeta(after, walk.view)) return advance(walk, after, batch);
  acceptBatch(walk, batch);
  return isComplete(walk) ? "complete" : "moved";
}

/** Begins a scan of a state with a freelist on disk: the freelist's own run is live too. */
export function beginScan(walk: Walk): StepResult {
  if (walk.view.meta.freelist === null) return "moved";
  const freelist = proveFreelist(walk, walk.view);
  if (freelist === undefined) return "gap";
  walk.freeIds = freelist.ids;
  acceptRun(walk, walk.view.meta.freelist, freelist.run);
  return "moved";
}

/** Moves to the state of `next`; `batch` was read before `next` was seen to be the newest. */
function advance(walk: Walk, next: MetaView, batch: Batch | undefined): StepResult {
  const linked = checkLink(walk, next);
  if (linked !== "moved") return linked;
  const isMoved =
    next.meta.freelist === null ? advanceByPath(walk, next, batch) : advanceByFreelist(walk, next, batch);
  if (!isMoved) return "gap";
  walk.links += 1;
  const { root } = next.meta;
  if (!isKnown(walk, root) && !isAwaited(walk, root)) walk.frontier.later.add(root);
  return "moved";
}

function checkLink(walk: Walk, next: MetaView): StepResult {
  const { meta } = walk.view;
  if (next.meta.txId <= meta.txId) return "fell";
  if (next.meta.txId !== meta.txId + 1n) return "gap";
  if (!equalBytes(next.otherRaw, walk.view.raw)) return next.other?.txId === meta.txId ? "unlinked" : "gap";
  if (next.meta.highWaterMark < meta.highWaterMark) return "unlinked";
  return "moved";
}

/** Chain: what T+1's freelist names is not live in T+1, everything else we know is, and T+2 may only overwrite the former. */
function advanceByFreelist(walk: Walk, next: MetaView, batch: Batch | undefined): boolean {
  const freelist = proveFreelist(walk, next);
  if (freelist === undefined) return false;
  dropFree(walk, freelist.ids);
  walk.view = next;
  walk.freeIds = freelist.ids;
  acceptRun(walk, next.meta.freelist as number, freelist.run);
  if (batch !== undefined) acceptBatch(walk, batch);
  return true;
}

const noIds = new Uint32Array(0);

/** Forgets what became free. What was free before is neither known nor awaited: only the news count. Both lists ascend. */
function dropFree(walk: Walk, free: Uint32Array): void {
  const before = walk.freeIds ?? noIds;
  let at = 0;
  for (const id of free) {
    while (at < before.length && (before[at] as number) < id) at += 1;
    if (before[at] !== id) dropBlock(walk, id);
  }
}

/** The freelist run of `view`, read while its meta was the newest; undefined: it was overtaken. Throws `corrupt`. */
function proveFreelist(walk: Walk, view: MetaView): { run: Uint8Array; ids: Uint32Array } | undefined {
  const id = view.meta.freelist as number;
  const { pageSize } = walk;
  let run = new Uint8Array(pageSize);
  let got = walk.file.readAt(id * pageSize, run);
  let isProved = false;
  if (got === pageSize) {
    const { overflow } = pageHeader(run);
    if (overflow > 0 && id + overflow < view.meta.highWaterMark) {
      // A freelist of many pages is read twice over at most: the header is proved before memory is taken for it.
      if (!isStill(walk, view)) return undefined;
      run = new Uint8Array((overflow + 1) * pageSize);
      got = walk.file.readAt(id * pageSize, run);
    }
    isProved = isStill(walk, view);
  } else {
    isProved = isStill(walk, view);
  }
  if (!isProved) return undefined;
  checkFreelist(id, run, got, view);
  return { run, ids: parseFreelist(run) };
}

function checkFreelist(id: number, run: Uint8Array, got: number, view: MetaView): void {
  const { highWaterMark, pageSize } = view.meta;
  const header = pageHeader(run);
  const isWhole = got === run.length && run.length === (header.overflow + 1) * pageSize;
  if (id < 2 || id >= highWaterMark || header.id !== id || !isWhole) {
    throw new PageferryError(
      "corrupt",
      `page ${id}: not the freelist that the meta of ${view.meta.txId} names`,
    );
  }
}

function isStill(walk: Walk, view: MetaView): boolean {
  const seen = walk.file.metas.read();
  return seen !== undefined && isSameMeta(seen, view);
}

/** What was proved of the changed path of T+1. */
interface ChangedPath {
  readonly entries: { readonly entry: BatchEntry; readonly children: Uint32Array }[];
  /** References that are not known at T and were not read. */
  readonly unread: number[];
}

/**
 * Reach: T+1 overwrites nothing that is reachable at T, so a reference we know is a page that stayed as it is. What is dropped is
 * found from the old root, so every known page must hang on it by known pages. A freelist drops by id and leaves known pages
 * below unread ones: the freelist may go away only when nothing is unread.
 */
function advanceByPath(walk: Walk, next: MetaView, batch: Batch | undefined): boolean {
  if (walk.freeIds !== null && !isComplete(walk)) return false;
  const old = walk.view;
  const retained: number[] = [];
  walk.view = next;
  const path = readChangedPath(walk, retained);
  if (path === undefined) return false;
  for (const id of retained) retainedBits.add(id);
  dropOld(walk, old);
  for (const id of retained) retainedBits.remove(id);
  walk.freeIds = null;
  for (const { entry, children } of path.entries) acceptRun(walk, entry.id, entry.run, children);
  // Before anything new is asked for: an entry of the batch may have the id of a page that T+1 wrote after we read it.
  if (batch !== undefined) acceptBatch(walk, batch);
  for (const id of path.unread) if (!isKnown(walk, id)) walk.frontier.now.add(id);
  return true;
}

/** Heads that T+1 refers to and that were known or awaited at T. Empty between two calls. */
const retainedBits = createPageBits();

/**
 * Reads from the new root on what was not known. Undefined: not even the root was proved. Stops early when it is overtaken or
 * the path is long: what was proved until then still belongs to `walk.view`.
 */
function readChangedPath(walk: Walk, retained: number[]): ChangedPath | undefined {
  const path: ChangedPath = { entries: [], unread: [] };
  const asked = new Set<number>();
  let queue: number[] = [];
  const ask = (id: number): void => {
    if (isKnown(walk, id) || isAwaited(walk, id)) retained.push(id);
    else if (!asked.has(id)) {
      asked.add(id);
      queue.push(id);
    }
  };
  ask(walk.view.meta.root);
  while (queue.length > 0 && path.entries.length < pathPagesMax) {
    const ids = queue.slice(0, pathSlicePages).sort((a, b) => a - b);
    const entries: BatchEntry[] = [];
    readRuns(walk, ids, new Uint8Array(ids.length * walk.pageSize), entries);
    if (!isNewest(walk)) {
      if (path.entries.length === 0) return undefined;
      break;
    }
    queue = queue.slice(ids.length);
    for (const entry of entries) {
      if (entry.isHead) {
        path.unread.push(entry.id);
        continue;
      }
      const children = entry.children ?? childrenOf(walk, entry.id, entry.run);
      path.entries.push({ entry, children });
      for (const child of children) ask(child);
    }
  }
  path.unread.push(...queue);
  return path;
}

/** Forgets every run of the old tree that the new path does not refer to, and the old freelist. Too much is safe. */
function dropOld(walk: Walk, old: MetaView): void {
  if (old.meta.freelist !== null) dropRun(walk, old.meta.freelist);
  const stack = [old.meta.root];
  for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
    if (retainedBits.has(id)) continue;
    if (isAwaited(walk, id)) {
      dropBlock(walk, id);
    } else if (isKnown(walk, id)) {
      const table = walk.fresh.has(id) ? walk.fresh : walk.base;
      for (const child of table?.childrenOf(id) ?? []) stack.push(child);
      dropRun(walk, id);
    }
  }
}

function dropRun(walk: Walk, id: number): void {
  if (!isKnown(walk, id)) return;
  const table = walk.fresh.has(id) ? walk.fresh : walk.base;
  const overflow = table?.overflowOf(id) ?? 0;
  for (let block = id; block <= id + overflow; block += 1) dropBlock(walk, block);
}
