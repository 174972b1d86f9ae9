// Transactions that were told and wait: ordered by txid, each once, in bounded memory. Above the first bound neighbours are
// merged, newer pages over older ones; above the second the pages are let go, because the database itself has them.
import type { TxId } from "@pageferry/format";
import { createRangeMerge, type RangeMerge } from "../range-merge.ts";
import type { CapturedFrame } from "../sources/capture-event.ts";
import type { Flush, FlushTip } from "./page-flush.ts";

/** What was written in (parentTxId, txId]: one transaction, or several that were merged. */
export interface FlushRange {
  readonly parentTxId: TxId;
  readonly txId: TxId;
  readonly pageSize: number;
  readonly tip: FlushTip;
  /** Ascending, disjoint. Of one transaction they are bolt runs, merged they are whatever lies side by side. */
  readonly frames: readonly CapturedFrame[];
  /** When its newest transaction was told. */
  readonly stampMs: number;
}

/** How much may wait. Bytes count memory: a merged range holds up to twice its pages. */
export interface FlushLineBounds {
  /** Above it neighbours are merged. */
  readonly mergeBytes: number;
  /** Above it pages are let go. */
  readonly bytesMax: number;
}

/** What became of a transaction that was told. */
export type Offered = "taken" | "repeated" | "let go";

/** The line. Times are those of the flushes' stamps. */
export interface FlushLine {
  offer(flush: Flush): Offered;
  /** Of a flush that would be over the bound by itself: it is not even copied. */
  letGo(txId: TxId, stampMs: number): void;
  /** Takes out what leads on from `known`. Undefined: nothing waits, or not what comes next. What `known` includes is forgotten. */
  next(known: TxId): FlushRange | undefined;
  isEmpty(): boolean;
  /** Pages were let go: only a look at the database leads on. */
  isLost(): boolean;
  /** Forgets everything: the database is about to be looked at. */
  restart(): void;
  /** Memory held. */
  bytes(): number;
  newestTxId(): TxId | undefined;
  /** When the oldest of what waits, or was let go, was told. */
  oldestMs(): number | undefined;
  readonly figures: FlushLineFigures;
}

/** Counted since the start. */
export interface FlushLineFigures {
  /** Flushes folded into another. */
  merged: number;
  /** Times that everything was let go. */
  letGo: number;
  /** The most memory held. */
  bytesMax: number;
}

/** What a transaction takes besides its pages, of which it may have none. */
const chunkBytes = 512;

interface Chunk {
  readonly parentTxId: TxId;
  readonly txId: TxId;
  readonly pageSize: number;
  readonly tip: FlushTip;
  readonly stampMs: number;
  readonly oldestMs: number;
  readonly held: readonly CapturedFrame[] | RangeMerge;
  readonly bytes: number;
}

interface LineState {
  readonly bounds: FlushLineBounds;
  /** By txid, ascending. */
  readonly chunks: Chunk[];
  bytes: number;
  isLost: boolean;
  lostMs: number | undefined;
  done: TxId | undefined;
  newest: TxId | undefined;
  readonly figures: FlushLineFigures;
}

/** Makes an empty line. */
export function createFlushLine(bounds: FlushLineBounds): FlushLine {
  const state: LineState = {
    bounds,
    chunks: [],
    bytes: 0,
    isLost: false,
    lostMs: undefined,
    done: undefined,
    newest: undefined,
    figures: { merged: 0, letGo: 0, bytesMax: 0 },
  };
  return {
    offer: (flush) => offer(state, flush),
    letGo(txId, stampMs) {
      noteNewest(state, txId);
      loseAll(state, stampMs);
    },
    next: (known) => next(state, known),
    isEmpty: () => state.chunks.length === 0 && !state.isLost,
    isLost: () => state.isLost,
    restart() {
      state.chunks.length = 0;
      state.bytes = 0;
      state.isLost = false;
      state.lostMs = undefined;
      state.done = undefined;
    },
    bytes: () => state.bytes,
    newestTxId: () => state.newest,
    oldestMs: () =>
      state.chunks.reduce<number | undefined>(
        (oldest, chunk) => Math.min(oldest ?? chunk.oldestMs, chunk.oldestMs),
        state.lostMs,
      ),
    figures: state.figures,
  };
}

function offer(state: LineState, flush: Flush): Offered {
  const { txId, parentTxId, pageSize, tip, frames, stampMs } = flush;
  const bytes = flush.bytes + chunkBytes;
  if (state.done !== undefined && txId <= state.done) return "repeated";
  noteNewest(state, txId);
  if (state.isLost) return "let go";
  const at = placeOf(state.chunks, txId);
  const after = state.chunks[at];
  if (after !== undefined && (after.txId === txId || parentTxId >= after.parentTxId)) return "repeated";
  const chunk = { txId, parentTxId, pageSize, tip, stampMs, oldestMs: stampMs, held: frames, bytes };
  state.chunks.splice(at, 0, chunk);
  state.bytes += bytes;
  if (state.bytes > state.bounds.mergeBytes) mergeNeighbours(state);
  state.figures.bytesMax = Math.max(state.figures.bytesMax, state.bytes);
  if (state.bytes <= state.bounds.bytesMax) return "taken";
  loseAll(state, stampMs);
  return "let go";
}

function noteNewest(state: LineState, txId: TxId): void {
  if (state.newest === undefined || txId > state.newest) state.newest = txId;
}

/** The first chunk at or above a txid; almost always the end. */
function placeOf(chunks: readonly Chunk[], txId: TxId): number {
  let at = chunks.length;
  while (at > 0 && (chunks[at - 1]?.txId ?? 0n) >= txId) at -= 1;
  return at;
}

function loseAll(state: LineState, stampMs: number): void {
  const stamps = state.chunks.map((chunk) => chunk.oldestMs);
  state.lostMs ??= Math.min(stampMs, ...stamps);
  if (!state.isLost) state.figures.letGo += 1;
  state.isLost = true;
  state.chunks.length = 0;
  state.bytes = 0;
}

function next(state: LineState, known: TxId): FlushRange | undefined {
  state.done = known;
  for (let first = state.chunks[0]; first !== undefined; first = state.chunks[0]) {
    if (first.txId > known && first.parentTxId > known) return undefined;
    state.chunks.shift();
    state.bytes -= first.bytes;
    if (first.txId <= known) continue;
    state.done = first.txId;
    const { parentTxId, txId, pageSize, tip, stampMs, held } = first;
    return { parentTxId, txId, pageSize, tip, stampMs, frames: framesOf(held) };
  }
  return undefined;
}

function framesOf(held: Chunk["held"]): readonly CapturedFrame[] {
  if (!("range" in held)) return held;
  const { frames } = held.range();
  held.clear();
  return frames;
}

/** Makes one chunk of each row of neighbours. A merged one grows by what follows it, so that each page is copied once. */
function mergeNeighbours(state: LineState): void {
  const kept: Chunk[] = [];
  for (const chunk of state.chunks) {
    const before = kept.at(-1);
    if (before === undefined || chunk.parentTxId > before.txId) kept.push(chunk);
    else {
      kept[kept.length - 1] = mergedChunk(before, chunk);
      state.figures.merged += 1;
    }
  }
  state.chunks.splice(0, state.chunks.length, ...kept);
  state.bytes = kept.reduce((sum, chunk) => sum + chunk.bytes, 0);
}

function mergedChunk(older: Chunk, newer: Chunk): Chunk {
  const merge = "range" in older.held ? older.held : createRangeMerge();
  if (!("range" in older.held)) fold(merge, older, older.held);
  fold(merge, newer, framesOf(newer.held));
  const { parentTxId } = older.parentTxId < newer.parentTxId ? older : newer;
  return {
    ...newer,
    parentTxId,
    tip: {
      ...newer.tip,
      root: newer.tip.root ?? older.tip.root,
      sequence: newer.tip.sequence ?? older.tip.sequence,
    },
    oldestMs: Math.min(older.oldestMs, newer.oldestMs),
    held: merge,
    bytes: merge.heldBytes() + chunkBytes,
  };
}

const noIds = new Uint32Array(0);

/** What was freed is not known yet, and what it hashes to neither: only the pages count. */
function fold(merge: RangeMerge, chunk: Chunk, frames: readonly CapturedFrame[]): void {
  const { parentTxId, txId, pageSize, stampMs } = chunk;
  const { highWaterMark } = chunk.tip;
  merge.add({
    ...{ parentTxId, txId, pageSize, highWaterMark, stampMs },
    ...{ pre: 0n, post: 0n, frames, freed: noIds },
  });
}
