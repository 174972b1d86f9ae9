// When a host compacts an archive: soon after a window has ended, since until then a restore of the newest point fetches its fine objects one by
// one. Looked at often, by what is remembered of the archive, so that a look costs nothing. A pure decision.

/** A host looks so many times in each window of the finest level: after a window's end, a sixth of it may go by. */
const looksPerWindow = 6;

/** When an archive was compacted last, and the finest window that its newest point was in. */
export interface Compacted {
  readonly window: number;
  readonly atMs: number;
}

/** How often to look, ms. */
export function compactLookMs(finestMs: number): number {
  return Math.max(1, Math.floor(finestMs / looksPerWindow));
}

/**
 * Says what to note when it is time to compact: a window of the finest level has ended, or one has gone by since the last time, in which late
 * objects may have come; `undefined`: it is not time.
 */
export function compactDue(
  last: Compacted | undefined,
  { newestMs, nowMs, finestMs }: { newestMs: number; nowMs: number; finestMs: number },
): Compacted | undefined {
  const window = Math.floor(newestMs / finestMs);
  const isSame = last !== undefined && last.window === window;
  // A clock that was set back must hold up nothing.
  const isRecent = last !== undefined && nowMs >= last.atMs && nowMs < last.atMs + finestMs;
  return isSame && isRecent ? undefined : { window, atMs: nowMs };
}
