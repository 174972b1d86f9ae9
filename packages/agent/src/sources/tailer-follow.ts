// Following: an exact table, and a walk over it that becomes a delta as soon as it is complete and there is room for it.
import { stepWalk } from "./advance.ts";
import { overlayFrames } from "./base-image.ts";
import { applyDelta, countLeaked, deltaEvent } from "./outcome.ts";
import { imageFailed, stepBase } from "./tailer-base.ts";
import { confirmFall, metasAbsent, unsettle } from "./tailer-file.ts";
import { noteSeen, slicePages } from "./tailer-pace.ts";
import type { Session, Tailer } from "./tailer-state.ts";
import { rewindWalk, type Walk } from "./walk.ts";

/** While nobody takes deltas the walk goes on from commit to commit, and looks this often. */
const heldBackMs = 0.5;
/** Where nothing can be followed between two scans, scans take a third of the time at most, and ranges stay this short. */
const breakWaitMsMax = 150;

/** Follows the file by one slice, or copies on while it is quiet. Answers how long to wait. */
export function stepFollow(tailer: Tailer, session: Session, walk: Walk, canEmit: boolean): number {
  const result = stepWalk(walk, slicePages(tailer, session.pageSize));
  if (result === "absent") return metasAbsent(tailer);
  tailer.absentSinceMs = undefined;
  if (result === "fell") return confirmFall(tailer, session);
  tailer.fall = undefined;
  if (result === "moved" || result === "complete") {
    noteSeen(tailer, walk);
    if (result === "moved") return 0;
    if (walk.links === 0) return copyOn(tailer, session);
    if (!canEmit && !tailer.isMuted) return heldBackMs;
    return finishDelta(tailer, walk) ? 0 : giveUp(tailer);
  }
  if (result === "unlinked") tailer.isSuspect = true;
  return giveUp(tailer);
}

function copyOn(tailer: Tailer, session: Session): number {
  const waitMs = stepBase(tailer, session);
  if (waitMs >= 0) return waitMs;
  tailer.isSuspect = true;
  return giveUp(tailer);
}

function giveUp(tailer: Tailer): number {
  const clockMs = tailer.environment.clockMs();
  tailer.figures.breaks += 1;
  unsettle(tailer);
  if (tailer.pace.deltasSinceScan > 0) return 0;
  const waitMs = Math.min(breakWaitMsMax, 2 * tailer.pace.scanMs);
  tailer.retryAtMs = clockMs + waitMs;
  return waitMs;
}

/** Settles the walk's state and tells it. False: its pages do not add up. */
function finishDelta(tailer: Tailer, walk: Walk): boolean {
  const { known, image } = tailer;
  const table = known?.table;
  if (known === null || table == null) return false;
  const parentTxId = known.txId;
  const outcome = applyDelta(walk, table, tailer.leaked);
  if (outcome === undefined) {
    tailer.figures.refusals += 1;
    return false;
  }
  const { frames } = outcome;
  tailer.pace.deltasSinceScan += 1;
  if (image !== undefined) {
    try {
      if (frames !== null) overlayFrames(image, walk.pageSize, frames);
      else for (let id = walk.fresh.next(0); id >= 0; id = walk.fresh.next(id + 1)) image.copied.remove(id);
    } catch (error) {
      imageFailed(tailer, error);
    }
  }
  const { txId } = walk.view.meta;
  tailer.known = { txId, stateHash: outcome.post, identity: known.identity, table };
  tailer.knownView = walk.view;
  tailer.leaked = countLeaked(walk, table.count());
  if (frames === null) {
    // Too much changed for a delta: the history goes on with a base.
    tailer.isMuted = true;
    tailer.isBaseWanted = true;
  }
  if (frames !== null && !tailer.isMuted) {
    tailer.emitted = { txId, stateHash: outcome.post };
    tailer.figures.deltas += 1;
    tailer.environment.emit(deltaEvent(walk, outcome, frames, parentTxId, tailer.pace.stampMs));
  }
  rewindWalk(walk, walk.view);
  return true;
}
