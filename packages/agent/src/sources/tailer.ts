// One database, captured: a step at a time, never waiting, never throwing. The worker steps many of them; tests step one
// against a simulated writer. The algorithm and its proof are docs/capture.md.
import { isPageferryError } from "@pageferry/format";
import { checkPath, closeSession, isSettled, openSession, unsettle } from "./tailer-file.ts";
import { stepFollow } from "./tailer-follow.ts";
import { isHurried } from "./tailer-pace.ts";
import { stepScan } from "./tailer-scan.ts";
import { raise, type Tailer } from "./tailer-state.ts";
import { restWalk } from "./walk.ts";

/** What is wrong in the file itself is looked at again after this; for some seconds it may be a file that is being copied. */
const corruptRetryMs = 5000;
const corruptGraceMs = 3000;
const corruptSoonMs = 250;
const readRetryMs = 1000;

/**
 * Does a small piece of work, some tenths of a millisecond, and answers how many milliseconds the next may wait; a change of the
 * file may cut that short. `canEmit` false: deltas are held back, and merged.
 */
export function stepTailer(tailer: Tailer, canEmit: boolean): number {
  const waitMs = tailer.retryAtMs - tailer.environment.clockMs();
  if (waitMs > 0) return waitMs;
  try {
    const { session } = tailer;
    if (session === undefined) return openSession(tailer);
    checkPath(tailer, session);
    if (tailer.session === undefined) return 0;
    const { walk } = tailer;
    session.links?.want(isHurried(tailer));
    return walk === undefined
      ? stepScan(tailer, session, canEmit)
      : stepFollow(tailer, session, walk, canEmit);
  } catch (error) {
    return troubled(tailer, error);
  }
}

/** Whether all that is committed was told. */
export function isDrained(tailer: Tailer): boolean {
  return tailer.session !== undefined && !tailer.isMuted && isSettled(tailer, tailer.session);
}

/** Whether there is no file that could be read. */
export function isAtLoss(tailer: Tailer): boolean {
  return tailer.session === undefined && tailer.openFailedSinceMs !== undefined;
}

/** The file was written, renamed or removed: it is looked at, and so is its path. */
export function wakeTailer(tailer: Tailer): void {
  const clockMs = tailer.environment.clockMs();
  tailer.pace.activeAtMs = clockMs;
  tailer.pathCheckAtMs = clockMs;
}

/** The file lies still: memory for the next delta is given back. */
export function restTailer(tailer: Tailer): void {
  if (tailer.walk?.links === 0) restWalk(tailer.walk);
}

/** Ends it: files are closed and an unfinished image is removed. */
export function endTailer(tailer: Tailer): void {
  closeSession(tailer);
  tailer.image?.file.discard();
  tailer.image = undefined;
}

function troubled(tailer: Tailer, error: unknown): number {
  const { path } = tailer.options;
  if (isPageferryError(error, "corrupt")) {
    // Proved bytes that are no tree: the file is damaged, or something other than bolt writes it.
    const clockMs = tailer.environment.clockMs();
    tailer.corruptSinceMs ??= clockMs;
    const isPatient = clockMs - tailer.corruptSinceMs < corruptGraceMs;
    if (!isPatient) {
      raise(tailer, "corrupt", `${path}: ${error.message}`, "Run `pageferry check` on a copy of the file.");
    }
    unsettle(tailer);
    tailer.retryAtMs = clockMs + (isPatient ? corruptSoonMs : corruptRetryMs);
    return tailer.retryAtMs - clockMs;
  }
  const reason =
    error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.message) : String(error);
  raise(
    tailer,
    "unreadable",
    `${path}: reading failed (${reason})`,
    "It is tried again; see the system's log.",
  );
  closeSession(tailer);
  tailer.retryAtMs = tailer.environment.clockMs() + readRetryMs;
  return readRetryMs;
}
