// Moves a walk from the state T to T+1 while the file is being written: by the freelist of T+1 where it is on disk, else by
// reading the changed path. The proofs are docs/capture.md#walk.
import { pageHeader, parseFreelist } from "@pageferry/format";
import { createPageBits, type PageBits } from "../page-bits.ts";
import { equalBytes, isSameMeta, type MetaView } from "./bolt-io.ts";
import { proveFreelist } from "./freelist-proof.ts";
import type { Link } from "./link-log.ts";
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
/** A walk that is late by up to so many kept commits stops at each that it can tell; by more, it hurries on. */
const singlyMax = 16;

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
  if (!isSameMeta(after, walk.view)) {
    const result = advance(walk, after, batch);
    if (result !== "moved") return result;
  } else acceptBatch(walk, batch);
  // Told before it is moved on: a late walk gives one transaction after the other where it can.
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

/**
 * Moves to the state of `next`, or a later one, by what we read ourselves or what another thread has kept; `batch` was read before
 * `next` was seen to be the newest.
 */
function advance(walk: Walk, next: MetaView, batch: Batch | undefined): StepResult {
  const linked = checkLink(walk, next);
  if (linked === "fell" || linked === "unlinked") return linked;
  const askedAnew = new Set<number>();
  const isNext = linked === "moved";
  const isOnPath = isNext && next.meta.freelist === null;
  const path = isOnPath ? proveOwnPath(walk, next) : undefined;
  const links =
    path?.isWhole === true
      ? undefined
      : (ownLink(walk, isNext && !isOnPath ? next : undefined) ?? keptLinks(walk));
  if (links === undefined && path === undefined) return "gap";
  const isMoved =
    links === undefined ? advanceByPath(walk, next, path, askedAnew) : advanceByLinks(walk, links, askedAnew);
  if (!isMoved) return "gap";
  walk.file.links?.forget(walk.view);
  // An entry of the batch may have the id of a page that was written after we read it; then it was asked for on the way.
  if (batch !== undefined) acceptBatch(walk, batch, askedAnew);
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

/** From commit to commit, to the newest; or to the first of a few that leaves nothing to read, and can be told. */
function advanceByLinks(walk: Walk, links: readonly Link[], askedAnew: Set<number>): boolean {
  for (const [index, { view, runs }] of links.entries()) {
    if (view.meta.highWaterMark < walk.view.meta.highWaterMark) return false;
    if (view.meta.freelist === null) {
      const path = readChangedPath(walk, view, keptRuns(walk, runs));
      if (!advanceByPath(walk, view, path, askedAnew)) return false;
      if (links.length <= singlyMax && isComplete(walk)) return true;
    } else advanceByFreelist(walk, view, runs, index === links.length - 1, askedAnew);
  }
  return true;
}

/** Chain: what T+1's freelist names is not live in T+1, everything else we know is, and T+2 may only overwrite the former. */
function advanceByFreelist(
  walk: Walk,
  view: MetaView,
  freelistRun: Uint8Array,
  isNewest: boolean,
  askedAnew: Set<number>,
): void {
  const free = parseFreelist(freelistRun);
  dropFree(walk, free);
  walk.view = view;
  walk.freeIds = free;
  walk.links += 1;
  // That of a commit between is of no use: the next one frees it.
  if (isNewest) acceptRun(walk, view.meta.freelist as number, freelistRun);
  askAnew(walk, view.meta.root, walk.frontier.later, askedAnew);
}

function askAnew(walk: Walk, id: number, into: PageBits, askedAnew: Set<number>): void {
  if (isKnown(walk, id) || isAwaited(walk, id)) return;
  into.add(id);
  askedAnew.add(id);
}

function ownLink(walk: Walk, next: MetaView | undefined): Link[] | undefined {
  if (next === undefined) return undefined;
  const freelistRun = proveFreelist(walk.file, next);
  return freelistRun === undefined ? undefined : [{ view: next, runs: freelistRun }];
}

function keptLinks(walk: Walk): Link[] | undefined {
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
  readonly entries: readonly { readonly entry: BatchEntry; readonly children: Uint32Array }[];
  /** References that are not known at T and were not read. */
  readonly unread: readonly number[];
  /** References that are known or awaited at T. */
  readonly retained: readonly number[];
  readonly isWhole: boolean;
}

/**
 * Reach: T+1 overwrites nothing that is reachable at T, so a reference we know is a page that stayed as it is. What is dropped is
 * found from the old root, so every known page must hang on it by known pages. A freelist drops by id and leaves known pages
 * below unread ones: the freelist may go away only when nothing is unread.
 */
function advanceByPath(
  walk: Walk,
  next: MetaView,
  path: ChangedPath | undefined,
  askedAnew: Set<number>,
): boolean {
  if (path === undefined || (walk.freeIds !== null && !isComplete(walk))) return false;
  const old = walk.view;
  walk.view = next;
  walk.links += 1;
  for (const id of path.retained) retainedBits.add(id);
  dropOld(walk, old);
  for (const id of path.retained) retainedBits.remove(id);
  walk.freeIds = null;
  for (const { entry, children } of path.entries) acceptRun(walk, entry.id, entry.run, children);
  for (const id of path.unread) askAnew(walk, id, walk.frontier.now, askedAnew);
  return true;
}

/** Heads that T+1 refers to and that were known or awaited at T. Empty between two calls. */
const retainedBits = createPageBits();

/** Gives proved runs at ascending heads; undefined: it was overtaken. */
type ReadProved = (ids: readonly number[]) => readonly BatchEntry[] | undefined;

/** Memory for the path that is being read: much garbage outside the heap means long pauses. */
const sliceMemory: Uint8Array[] = [];
const slicesKept = 8;

function proveOwnPath(walk: Walk, next: MetaView): ChangedPath | undefined {
  const old = walk.view;
  walk.view = next;
  const bytes = pathSlicePages * walk.pageSize;
  let slices = 0;
  const path = readChangedPath(walk, next, (ids) => {
    let slice = sliceMemory[slices];
    if (slice === undefined || slice.length < bytes) slice = new Uint8Array(bytes);
    if (slices < slicesKept) sliceMemory[slices] = slice;
    slices += 1;
    const entries: BatchEntry[] = [];
    readRuns(walk, ids, slice, entries);
    return isNewest(walk) ? entries : undefined;
  });
  walk.view = old;
  return path;
}

/** Runs that were kept side by side; each says in its header where it belongs. */
function keptRuns(walk: Walk, runs: Uint8Array): ReadProved {
  const kept = new Map<number, Uint8Array>();
  for (let at = 0; at < runs.length; ) {
    const { id, overflow } = pageHeader(runs.subarray(at));
    const end = at + (overflow + 1) * walk.pageSize;
    kept.set(id, runs.subarray(at, end));
    at = end;
  }
  return (ids) =>
    ids.map((id) => {
      const run = kept.get(id);
      return { id, run: run ?? noBytes, isHead: run === undefined, children: undefined };
    });
}

const noBytes = new Uint8Array(0);

/**
 * Reads from the new root on what was not known. Undefined: not even the root was proved. Stops early when it is overtaken or
 * the path is long: what was proved until then still belongs to `next`.
 */
function readChangedPath(walk: Walk, next: MetaView, readProved: ReadProved): ChangedPath | undefined {
  const entries: ChangedPath["entries"][number][] = [];
  const [unread, retained]: [number[], number[]] = [[], []];
  const asked = new Set<number>();
  let queue: number[] = [];
  let isWhole = true;
  const ask = (id: number): void => {
    if (isKnown(walk, id) || isAwaited(walk, id)) retained.push(id);
    else if (!asked.has(id)) {
      asked.add(id);
      queue.push(id);
    }
  };
  ask(next.meta.root);
  while (queue.length > 0 && entries.length < pathPagesMax) {
    const ids = queue.slice(0, pathSlicePages).sort((a, b) => a - b);
    const proved = readProved(ids);
    if (proved === undefined) {
      isWhole = false;
      break;
    }
    queue = queue.slice(ids.length);
    for (const entry of proved) {
      if (entry.isHead) {
        unread.push(entry.id);
        continue;
      }
      const children = entry.children ?? childrenOf(walk, entry.id, entry.run, next);
      entries.push({ entry, children });
      for (const child of children) ask(child);
    }
  }
  unread.push(...queue);
  return entries.length === 0 && unread.length > 0 ? undefined : { entries, unread, retained, isWhole };
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
