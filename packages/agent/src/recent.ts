// What became durable a moment ago, kept in memory so that sending it needs no reading and decoding. Only a cache: what
// does not fit is read back from the shadow.
import type { TxId } from "@pageferry/format";
import { createRangeMerge, type RangePart } from "./range-merge.ts";
import type { DurableRange, Granularity } from "./shadow.ts";

/** Memory that all databases of an agent share. */
export interface Budget {
  /** Takes (or, negative, gives back) bytes; false, and nothing taken, when they are not there. */
  take(bytes: number): boolean;
}

/** Makes a budget. */
export function createBudget(bytesMax: number): Budget {
  let taken = 0;
  return {
    take(bytes) {
      if (bytes > 0 && taken + bytes > bytesMax) return false;
      taken += bytes;
      return true;
    },
  };
}

/** The recent part of one generation. */
export interface Recent {
  add(range: DurableRange): void;
  /**
   * With `interval`: everything after `parentTxId`, merged, if it is all in memory; it is handed over and forgotten.
   * `undefined`: read it from the shadow.
   */
  takeRange(parentTxId: TxId): RangePart | undefined;
  /** The parent of what `takeRange` would give: reading from the shadow can stop there. */
  startsAfter(): TxId | undefined;
  /** The segment of exactly this range, if it is in memory. A squashed range ends as one that it was made of. */
  segment(range: Pick<RangePart, "parentTxId" | "txId">): Uint8Array | undefined;
  /** Everything up to here was sent, or was read from the shadow to be sent. */
  forget(upTo: TxId): void;
  clear(): void;
}

/** Makes the memory of a generation that was sent, or is in the shadow only, up to `upTo`. */
export function createRecent(granularity: Granularity, budget: Budget, upTo: TxId | null): Recent {
  return granularity === "interval" ? recentRange(budget, upTo) : recentSegments(budget);
}

function recentRange(budget: Budget, upTo: TxId | null): Recent {
  const merge = createRangeMerge();
  let held = 0;
  // What is folded in must follow what was. After something did not fit nothing does, until the sender caught up.
  let next: TxId | "anything" | "nothing" = upTo ?? "anything";
  // Most often one commit is all there is, and can go as it is kept.
  let only: DurableRange | undefined;

  function clear(): void {
    merge.clear();
    budget.take(-held);
    held = 0;
    next = "nothing";
    only = undefined;
  }

  return {
    add(range) {
      const { part } = range;
      if (next !== "anything" && next !== part.parentTxId) return;
      only = merge.isEmpty() ? range : undefined;
      merge.add(part);
      next = part.txId;
      if (!budget.take(merge.heldBytes() - held)) return clear();
      held = merge.heldBytes();
    },
    takeRange(parentTxId) {
      if (merge.parentTxId() !== parentTxId) return;
      const range = merge.range();
      clear();
      next = range.txId;
      return range;
    },
    startsAfter: () => merge.parentTxId(),
    segment: ({ parentTxId, txId }) =>
      only?.part.txId === txId && only.part.parentTxId === parentTxId ? only.segment : undefined,
    forget(txId) {
      const parentTxId = merge.parentTxId();
      if (parentTxId === undefined) {
        next = txId;
      } else if (parentTxId < txId) {
        // It was read from the shadow meanwhile, with what came before it.
        const isAll = (merge.txId() ?? txId) <= txId;
        clear();
        next = isAll ? txId : "nothing";
      }
    },
    clear,
  };
}

function recentSegments(budget: Budget): Recent {
  const ranges = new Map<TxId, DurableRange>();

  function remove({ part, segment }: DurableRange): void {
    ranges.delete(part.txId);
    budget.take(-segment.length);
  }

  return {
    add(range) {
      if (budget.take(range.segment.length))
        ranges.set(range.part.txId, { ...range, part: { ...range.part, frames: [] } });
    },
    takeRange: () => undefined,
    startsAfter: () => undefined,
    segment({ parentTxId, txId }) {
      const range = ranges.get(txId);
      return range?.part.parentTxId === parentTxId ? range.segment : undefined;
    },
    forget(upTo) {
      for (const range of ranges.values()) {
        if (range.part.txId > upTo) break;
        remove(range);
      }
    },
    clear() {
      for (const range of ranges.values()) remove(range);
    },
  };
}
