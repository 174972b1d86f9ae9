// Captured transactions folded into one range (parentTxId, txId]: the newest of every page that is still live at its end.
// A page that a later transaction of the range freed is left out: no restore of a state at or after the end reads it.
import { giveBack, type StateHash, type TxId } from "@pageferry/format";
import type { CapturedFrame } from "./sources/capture-event.ts";

/** What can be folded in: a captured delta, a shadow record that was decoded, or another range. */
export interface RangePart {
  readonly parentTxId: TxId;
  readonly txId: TxId;
  readonly pageSize: number;
  readonly highWaterMark: number;
  readonly pre: StateHash;
  readonly post: StateHash;
  readonly stampMs: number;
  readonly frames: readonly CapturedFrame[];
  readonly freed: Uint32Array;
}

/** A range that grows. It keeps copies of the pages, in one buffer. */
export interface RangeMerge {
  /** Folds in what follows. The first part gives parent and `pre`; page sizes must be equal. */
  add(part: RangePart): void;
  /** Whether nothing was folded in. */
  isEmpty(): boolean;
  /** Bytes of the pages so far. */
  rawBytes(): number;
  /** Bytes of memory held. */
  heldBytes(): number;
  parentTxId(): TxId | undefined;
  txId(): TxId | undefined;
  /** The range, with frames that are views into a new buffer. Asserts that something was folded in. */
  range(): RangePart;
  /** Empties it and lets its memory go. */
  clear(): void;
}

/**
 * Emptied buffers for the next short-lived range: allocating anew for each commit makes the collector run all the time. A large
 * range lets its buffer go.
 */
const spareSlabs: Uint8Array[] = [];
const spareSlabsMax = 4;
const slabBytes = 1024 * 1024;

function takeSlab(byteCount: number, isShortLived: boolean): Uint8Array {
  if (!isShortLived || byteCount > slabBytes) return new Uint8Array(byteCount);
  return spareSlabs.pop() ?? new Uint8Array(slabBytes);
}

function giveSlab(slab: Uint8Array): void {
  if (slab.length === slabBytes && spareSlabs.length < spareSlabsMax) spareSlabs.push(slab);
  else giveBack(slab);
}

/** Gives the memory of a range's pages back, where it is `range()`'s own and nobody needs them any more. */
export function giveBackPages({ frames }: Pick<RangePart, "frames">): void {
  const [first] = frames;
  if (first !== undefined) giveBack(first.data);
}

interface MergeState {
  readonly isShortLived: boolean;
  first: RangePart | undefined;
  last: RangePart | undefined;
  /** Where each page's newest bytes are: its slot in `slab`. */
  slots: Map<number, number>;
  freed: Set<number>;
  free: number[];
  slab: Uint8Array;
}

/** How a range is used. */
export interface RangeMergeOptions {
  /** It is emptied soon, and often: it may take a buffer larger than it needs. Default false. */
  readonly isShortLived?: boolean;
}

/** Makes an empty range. */
export function createRangeMerge(options: RangeMergeOptions = {}): RangeMerge {
  const state: MergeState = {
    isShortLived: options.isShortLived ?? false,
    first: undefined,
    last: undefined,
    slots: new Map(),
    freed: new Set(),
    free: [],
    slab: new Uint8Array(),
  };
  return {
    add: (part) => add(state, part),
    isEmpty: () => state.last === undefined,
    rawBytes: () => state.slots.size * (state.last?.pageSize ?? 0),
    heldBytes: () => state.slab.length,
    parentTxId: () => state.first?.parentTxId,
    txId: () => state.last?.txId,
    range: () => rangeOf(state),
    clear() {
      giveSlab(state.slab);
      Object.assign(state, {
        first: undefined,
        last: undefined,
        slots: new Map(),
        freed: new Set(),
        free: [],
      });
      state.slab = new Uint8Array();
    },
  };
}

function add(state: MergeState, part: RangePart): void {
  // Only the newest transaction's meta page stays; the frames of `part` bring it.
  drop(state, 0);
  drop(state, 1);
  for (const id of part.freed) {
    drop(state, id);
    state.freed.add(id);
  }
  for (const frame of part.frames) {
    for (let block = 0; block <= frame.overflow; block += 1) {
      const from = block * part.pageSize;
      put(state, frame.id + block, frame.data.subarray(from, from + part.pageSize));
    }
  }
  // Without their pages, which would keep the capture's buffers alive.
  const facts = { ...part, frames: [], freed: new Uint32Array() };
  state.first ??= facts;
  state.last = facts;
}

function drop(state: MergeState, id: number): void {
  const slot = state.slots.get(id);
  if (slot !== undefined) {
    state.slots.delete(id);
    state.free.push(slot);
  }
}

function put(state: MergeState, id: number, page: Uint8Array): void {
  const slot = state.slots.get(id) ?? state.free.pop() ?? state.slots.size;
  const at = slot * page.length;
  if (at + page.length > state.slab.length) {
    const larger = takeSlab(Math.max(at + page.length, state.slab.length * 2), state.isShortLived);
    larger.set(state.slab);
    giveSlab(state.slab);
    state.slab = larger;
  }
  state.slab.set(page, at);
  state.slots.set(id, slot);
  state.freed.delete(id);
}

function rangeOf(state: MergeState): RangePart {
  const { first, last } = state;
  if (first === undefined || last === undefined) {
    throw new RangeError("an empty range has no pages");
  }
  const ids = Uint32Array.from(state.slots.keys()).sort();
  const { pageSize } = last;
  const bytes = new Uint8Array(ids.length * pageSize);
  ids.forEach((id, index) => {
    const from = (state.slots.get(id) ?? 0) * pageSize;
    bytes.set(state.slab.subarray(from, from + pageSize), index * pageSize);
  });
  return {
    ...last,
    parentTxId: first.parentTxId,
    pre: first.pre,
    frames: runsOf(ids, bytes, pageSize),
    freed: Uint32Array.from(state.freed).sort(),
  };
}

/** Maximal runs of consecutive ids; the meta page, id 0 or 1, stays a frame of its own. */
function runsOf(ids: Uint32Array, bytes: Uint8Array, pageSize: number): CapturedFrame[] {
  const frames: CapturedFrame[] = [];
  for (let start = 0, end = 1; start < ids.length; start = end, end += 1) {
    const id = ids[start] ?? 0;
    while (id > 1 && ids[end] === id + end - start) {
      end += 1;
    }
    frames.push({ id, overflow: end - start - 1, data: bytes.subarray(start * pageSize, end * pageSize) });
  }
  return frames;
}
