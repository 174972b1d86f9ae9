// Do these segments follow one another, and does each hold what its header says? See docs/format.md#chain.
import { PageferryError } from "./errors.ts";
import type { Segment } from "./segment.ts";
import { formatTxId, type TxId } from "./txid.ts";

/** The part of a segment that a chain is made of: it brings a database from `parentTxId` to `txId`. */
export interface Link {
  readonly parentTxId: TxId;
  readonly txId: TxId;
}

/** Contiguous, or the first range that is missing. */
export type ChainResult = { readonly ok: true } | { readonly ok: false; readonly gap: Link };

/**
 * Tells whether `segments`, in this order, lead on from the state of `fromTxId`, each beginning exactly where the one
 * before it ended. `gap` is what would have to be found to go on: from the last state reached to the next parent.
 */
export function checkChain(fromTxId: TxId, segments: Iterable<Link>): ChainResult {
  let reached = fromTxId;
  for (const segment of segments) {
    if (segment.parentTxId !== reached) {
      return { ok: false, gap: { parentTxId: reached, txId: segment.parentTxId } };
    }
    reached = segment.txId;
  }
  return { ok: true };
}

/**
 * Throws `corrupt` unless the segment is one that a restore may apply: `txId` above its parent, as many frames as the
 * header says, and every page below the high-water mark. Decoding alone does not ask this.
 */
export function checkSegment({ header, pages }: Segment): void {
  const last = pages.at(-1);
  checkRuns(header, pages.length, last === undefined ? 0n : last.id + BigInt(last.overflow) + 1n);
}

/** The same of a segment of which only this is known: how many runs it has, and where the last one ends. */
export function checkRuns(header: Segment["header"], runs: number, end: bigint): void {
  const where = `segment ${formatTxId(header.txId)}`;
  if (header.txId <= header.parentTxId) {
    throw new PageferryError("corrupt", `${where}: is not above its parent ${formatTxId(header.parentTxId)}`);
  }
  if (header.pageCount !== BigInt(runs)) {
    throw new PageferryError(
      "corrupt",
      `${where}: holds ${runs} frames, its header says ${header.pageCount}`,
    );
  }
  if (end > header.highWaterMark) {
    throw new PageferryError(
      "corrupt",
      `${where}: page ${end - 1n} is not below the high-water mark ${header.highWaterMark}`,
    );
  }
}
