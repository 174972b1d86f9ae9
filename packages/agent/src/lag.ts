// How far behind is it: the age of the oldest commit that is not safe yet. Zero when all is there, also while idle.
import type { TxId } from "@pageferry/format";

/** Follows commits from the file to the archive, in bounded memory. */
export interface Lag {
  /** A commit was seen in the file. Going back (another history) forgets what was before. */
  seen(txId: TxId, atMs: number): void;
  /** Everything up to here is safe. */
  safe(txId: TxId): void;
  /** Begins again: another file, another history. */
  reset(): void;
  /** The newest commit seen. */
  newestTxId(): TxId | undefined;
  newestAtMs(): number | undefined;
  /** Age of the oldest commit that is not safe, in ms. */
  lagMs(nowMs: number): number;
}

interface Mark {
  readonly txId: TxId;
  readonly atMs: number;
}

/** Commits remembered one by one; above it neighbours share the older one's time, so that the lag is never told too small. */
const marksMax = 2048;

/** Makes the lag of one database. */
export function createLag(): Lag {
  let marks: Mark[] = [];
  let newest: Mark | undefined;
  let safeTxId: TxId | undefined;

  function reset(): void {
    marks = [];
    newest = undefined;
    safeTxId = undefined;
  }

  return {
    reset,
    seen(txId, atMs) {
      if (newest !== undefined && txId < newest.txId) {
        reset();
      }
      if (newest?.txId === txId) {
        return;
      }
      newest = { txId, atMs: Math.max(atMs, newest?.atMs ?? 0) };
      if (safeTxId === undefined || txId > safeTxId) {
        marks.push(newest);
      }
      if (marks.length > marksMax) {
        marks = halved(marks);
      }
    },
    safe(txId) {
      if (safeTxId !== undefined && txId <= safeTxId) {
        return;
      }
      safeTxId = txId;
      const firstUnsafe = marks.findIndex((mark) => mark.txId > txId);
      marks.splice(0, firstUnsafe === -1 ? marks.length : firstUnsafe);
    },
    newestTxId: () => newest?.txId,
    newestAtMs: () => newest?.atMs,
    lagMs(nowMs) {
      const oldest = marks[0];
      return oldest === undefined ? 0 : Math.max(0, nowMs - oldest.atMs);
    },
  };
}

function halved(marks: readonly Mark[]): Mark[] {
  const half: Mark[] = [];
  for (let index = 0; index < marks.length; index += 2) {
    const older = marks[index];
    const newer = marks[index + 1] ?? older;
    if (older !== undefined && newer !== undefined) {
      half.push({ txId: newer.txId, atMs: older.atMs });
    }
  }
  return half;
}
