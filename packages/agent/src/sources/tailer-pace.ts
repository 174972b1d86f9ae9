// How often to look, how much to read between two looks, and when to say what was seen.
import type { Tailer } from "./tailer-state.ts";
import type { Walk } from "./walk.ts";

/**
 * Sleeps between two looks while the file is active. The shortest lasts about 0.1 ms whatever one asks for, a third of the time
 * between commits at 3,000 a second; not sleeping at all catches no more, costs a core, and a thread that never sleeps is made
 * to wait longest when the machine is busy.
 */
const napMsMin = 0.03;
const napMsMax = 1;
/** Below this time between commits, links are kept by a thread that does nothing else; a scan has more to lose. */
const hurriedMs = 20;
const scanHurriedMs = 100;
/** Where a scan takes less, a miss costs less than to keep changed paths does, which takes time from the application. */
const cheapScanMs = 500;
/** Without a commit for this long a file is idle: then a change wakes us, or the slow poll. */
const idleAfterMs = 250;
/** The slow poll, for what no notification tells. */
export const idlePollMs = 1000;
/** `seen` is told this often at most. */
const toldEveryMs = 250;
/** Pages between two looks at the metas, at most: 256 KiB of common pages. */
const slicePagesMax = 64;
const slicePagesMin = 8;
/** Reading and hashing costs about this much per page and per KiB, in milliseconds; only the size of slices hangs on it. */
const pageCostMs = 0.002;
const kibibyteCostMs = 0.0012;
/** Read budget is saved up for this long at most. */
const tokenMs = 50;

/** Takes note of the newest meta: stamps, the pace of commits, and a `seen` event now and then. */
export function noteSeen(tailer: Tailer, walk: Walk): void {
  const { pace, environment } = tailer;
  const { txId } = walk.view.meta;
  const clockMs = environment.clockMs();
  if (txId !== pace.seenTxId) {
    if (pace.seenTxId !== undefined) {
      const commits = Math.max(1, Number(txId - pace.seenTxId));
      const interval = Math.min(1000, (clockMs - pace.changedAtMs) / commits);
      // Falls at once and rises slowly: to look too often is cheaper than to miss a commit.
      pace.intervalMs = interval < pace.intervalMs ? interval : pace.intervalMs * 0.9 + interval * 0.1;
    }
    pace.seenTxId = txId;
    pace.changedAtMs = clockMs;
    pace.activeAtMs = clockMs;
    if (walk.links > 0) pace.linkedAtMs = clockMs;
    pace.stampMs = Math.max(pace.stampMs, environment.now());
  }
  if (pace.toldTxId !== txId && clockMs - pace.toldAtMs >= toldEveryMs) {
    pace.toldTxId = txId;
    pace.toldAtMs = clockMs;
    environment.emit({ type: "seen", txId, atMs: environment.now() });
  }
}

/** Whether commits come so close together that this thread may miss one while it reads and hashes. */
export function isHurried(tailer: Tailer): boolean {
  const { pace, environment, walk } = tailer;
  if (walk?.view.meta.freelist === null && pace.scanMs < cheapScanMs) return false;
  const limitMs = walk === undefined ? scanHurriedMs : hurriedMs;
  return pace.intervalMs < limitMs && environment.clockMs() - pace.activeAtMs < idleAfterMs;
}

/** Milliseconds until the next look while nothing is to be done; 0: at once. */
export function pollDelay(tailer: Tailer): number {
  const { pace, environment } = tailer;
  const clockMs = environment.clockMs();
  if (pace.toldTxId === pace.seenTxId && clockMs - pace.activeAtMs >= idleAfterMs) return idlePollMs;
  return Math.min(napMsMax, Math.max(napMsMin, pace.intervalMs / 8));
}

/** Pages to read between two looks at the metas: a quarter of the time between two commits. */
export function slicePages(tailer: Tailer, pageSize: number): number {
  const cost = pageCostMs + (pageSize / 1024) * kibibyteCostMs;
  return Math.round(Math.min(slicePagesMax, Math.max(slicePagesMin, tailer.pace.intervalMs / 4 / cost)));
}

/** Pages that scans and copies may read now under the read limit; 0: wait a little, but go on looking. */
export function allowedPages(tailer: Tailer, pageSize: number): number {
  const clockMs = tailer.environment.clockMs();
  const { maxReadRate } = tailer.options;
  const room = Math.max((maxReadRate * tokenMs) / 1000, slicePagesMax * pageSize);
  tailer.tokens = Math.min(room, tailer.tokens + ((clockMs - tailer.tokensAtMs) * maxReadRate) / 1000);
  tailer.tokensAtMs = clockMs;
  const pages = Math.min(slicePages(tailer, pageSize), Math.floor(tailer.tokens / pageSize));
  return pages < slicePagesMin ? 0 : pages;
}

/** Takes what was read off the budget. */
export function spend(tailer: Tailer, bytes: number): void {
  tailer.tokens -= bytes;
}
