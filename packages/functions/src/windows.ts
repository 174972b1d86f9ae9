// Where one window of time ends and the next begins, by what names tell: the cuts at which compaction merges, and the points that stay
// when finer ones go. Both must cut at the same places, or nothing could ever go. See docs/operations.md#time.

import type { TxId } from "@pageferry/format";

/** What names tell of a point. */
export interface Stamped {
  readonly txId: TxId;
  /** The commit stamp, which never falls within a generation; null where nobody read it. */
  readonly stampMs: number | null;
}

/** How compaction cuts time, finest first: 30 s, 5 min, 1 h. */
export const compactionLevelsDefault: readonly number[] = [30_000, 300_000, 3_600_000];

/** Where the clock stands still, a level ends after so many times more transactions than the one below it. */
const stuckTransactionsBits = 6n;

/**
 * Whether a window of a level (0 is the finest) ends between two points that follow one another. A clock that was set back makes stamps stand
 * still until it has caught up, for years perhaps: then transactions are counted, so that windows go on ending.
 */
export function endsWindow(
  before: Stamped,
  after: Stamped,
  level: number,
  levelsMs: readonly number[],
): boolean {
  const windowMs = levelsMs[level];
  if (windowMs === undefined) return false;
  const isStuck = before.stampMs === after.stampMs || before.stampMs === null || after.stampMs === null;
  if (!isStuck) {
    return (
      Math.floor((before.stampMs as number) / windowMs) !== Math.floor((after.stampMs as number) / windowMs)
    );
  }
  const bits = stuckTransactionsBits * BigInt(level + 1);
  return before.txId >> bits !== after.txId >> bits;
}

/** An agent may be late with the last commits of a window by so much; what comes later still is merged by the next level. */
const settleMs = 5000;

/** Whether the window that a point lies in is over by the clock; one that seems to lie ahead never is. */
export function isWindowOver(
  { stampMs }: Pick<Stamped, "stampMs">,
  level: number,
  levelsMs: readonly number[],
  nowMs: number,
): boolean {
  const windowMs = levelsMs[level];
  if (windowMs === undefined || stampMs === null) return false;
  return nowMs >= (Math.floor(stampMs / windowMs) + 1) * windowMs + settleMs;
}
