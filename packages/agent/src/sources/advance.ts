// Moves a walk from the state T to T+1 while the file is being written: by the freelist of T+1 where it is on disk, else by
// reading the changed path. The proofs are docs/capture.md#walk.
import { parseFreelist } from "@pageferry/format";
import { createPageBits } from "../page-bits.ts";
import { equalBytes, isSameMeta, type MetaView } from "./bolt-io.ts";
import { proveFreelist } from "./freelist-proof.ts";
import type { ChainLink } from "./link-log.ts";
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
  const freelistRun = proveFreelist(walk.file, walk.view);
  if (freelistRun === undefined) return "gap";
  walk.freeIds = parseFreelist(freelistRun);
  acceptRun(walk, walk.view.meta.freelist, freelistRun);
  return "moved";
}

/** Moves to the state of `next`, or a later one; `batch` was read before `next` was seen to be the newest. */
function advance(walk: Walk, next: MetaView, batch: Batch | undefined): StepResult {
  const linked = checkLink(walk, next);
  if (linked === "fell" || linked === "unlinked") return linked;
  const isMoved =
    linked === "moved" && next.meta.freelist === null
      ? advanceByPath(walk, next, batch)
      : advanceByFreelist(walk, linked === "moved" ? next : undefined, batch);
  if (!isMoved) return "gap";
  const { root } = walk.view.meta;
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

/**
 * Chain: what T+1's freelist names is not live in T+1, everything else we know is, and T+2 may only overwrite the former. Where
 * `next` is not the next, or was overtaken, the links that were kept by another thread lead to the newest.
 */
function advanceByFreelist(walk: Walk, next: MetaView | undefined, batch: Batch | undefined): boolean {
  const links = ownLink(walk, next) ?? keptLinks(walk);
  const last = links?.at(-1);
  if (links === undefined || last === undefined) return false;
  for (const { view, freelistRun } of links) {
    if (view.meta.highWaterMark < walk.view.meta.highWaterMark) return false;
    const free = parseFreelist(freelistRun);
    dropFree(walk, free);
    walk.view = view;
    walk.freeIds = free;
    walk.links += 1;
  }
  acceptRun(walk, last.view.meta.freelist as number, last.freelistRun);
  if (batch !== undefined) acceptBatch(walk, batch);
  return true;
}

function ownLink(walk: Walk, next: MetaView | undefined): ChainLink[] | undefined {
  if (next === undefined) return undefined;
  const freelistRun = proveFreelist(walk.file, next);
  return freelistRun === undefined ? undefined : [{ view: next, freelistRun }];
}

function keptLinks(walk: Walk): ChainLink[] | undefined {
  const newest = walk.file.links === undefined ? undefined : walk.file.metas.read();
  if (newest === undefined || newest.meta.txId <= walk.view.meta.txId) return undefined;
  return walk.file.links?.follow(walk.view, newest);
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
  walk.links += 1;
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
