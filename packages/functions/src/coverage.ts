// Which transactions a generation's ranges cover, as few intervals instead of many names: a year of segments is one
// interval. A range (P, T] may be applied to any state in [P, T), so ranges that touch or overlap join.

import type { TxId } from "@pageferry/format";

/** From `from`, exclusive, to `to`, inclusive. */
export interface Stretch {
  readonly from: TxId;
  readonly to: TxId;
}

export interface Coverage {
  add(parentTxId: TxId, txId: TxId): void;
  /** Tells whether some range brings a database to or over this transaction. */
  covers(txId: TxId): boolean;
  /** The newest state that ranges lead to from this one; itself if none does. */
  reachFrom(txId: TxId): TxId;
  /** Ascending; between two of them something is missing. */
  stretches(): readonly Stretch[];
}

export function createCoverage(): Coverage {
  let joined: Stretch[] = [];
  /** The first stretch that ends at or after this transaction. */
  const find = (txId: TxId): number => {
    let low = 0;
    let high = joined.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((joined[middle] as Stretch).to < txId) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return {
    add(parentTxId, txId) {
      const first = find(parentTxId);
      let last = first;
      let [from, to] = [parentTxId, txId];
      for (let next = joined[last]; next !== undefined && next.from <= to; next = joined[++last]) {
        if (next.from < from) from = next.from;
        if (next.to > to) to = next.to;
      }
      if (last === first + 1) joined[first] = { from, to };
      else joined = [...joined.slice(0, first), { from, to }, ...joined.slice(last)];
    },
    covers(txId) {
      const stretch = joined[find(txId)];
      return stretch !== undefined && stretch.from < txId;
    },
    reachFrom(txId) {
      const stretch = joined[find(txId)];
      return stretch !== undefined && stretch.from <= txId ? stretch.to : txId;
    },
    stretches: () => joined,
  };
}

/** What is missing between stretches above `from`, in several coverages at once: only what none of them has. */
export function missingFromAll(coverages: readonly Coverage[], from: TxId): Stretch[] {
  const all = createCoverage();
  for (const coverage of coverages) {
    for (const stretch of coverage.stretches()) all.add(stretch.from, stretch.to);
  }
  const missing: Stretch[] = [];
  let reached = from;
  for (const stretch of all.stretches()) {
    if (stretch.to <= reached) continue;
    if (stretch.from > reached) missing.push({ from: reached, to: stretch.from });
    reached = stretch.to;
  }
  return missing;
}
