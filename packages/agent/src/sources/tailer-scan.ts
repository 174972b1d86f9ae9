// The scan of a whole file: at the start, after a break, and through a reflink where the file is too busy. Its outcome is
// always compared with what is known. docs/capture.md#outcomes.
import type { StateHash, TxId } from "@pageferry/format";
import { createPageTable, type PageTable } from "../page-table.ts";
import { beginScan, stepWalk } from "./advance.ts";
import { createBaseImage, finishImage, forgetChanged, overlayFrames, writeRun } from "./base-image.ts";
import { createMetaReader, type MetaView } from "./bolt-io.ts";
import { decideGeneration, type GenerationDecision } from "./decide-generation.ts";
import { countLeaked, deltaEvent, diffScan, type Outcome } from "./outcome.ts";
import { dropImage, imageFailed, openImage, raiseBusy, tellBase, writerMemoryMs } from "./tailer-base.ts";
import { confirmFall, metasAbsent, unsettle } from "./tailer-file.ts";
import { allowedPages, noteSeen, spend } from "./tailer-pace.ts";
import { clear, noScan, type Session, type Tailer } from "./tailer-state.ts";
import { createWalk, type Walk, type WalkFile } from "./walk.ts";

/** A file that nobody vouches for moved while it was scanned: look again after this. */
const distrustMs = 250;
/** Once reflinks have helped, they are used this often for as long as nothing else does. */
const cloneEveryMs = 10_000;

/** Reads on, until the scan holds a state. Answers how long to wait. */
export function stepScan(tailer: Tailer, session: Session, canEmit: boolean): number {
  const { scan, environment } = tailer;
  tailer.busySinceMs ??= environment.clockMs();
  scan.begunAtMs ??= environment.clockMs();
  if (
    environment.clockMs() - tailer.busySinceMs > tailer.options.baseDeadlineMs &&
    scan.clone === undefined
  ) {
    useClone(tailer, session);
  }
  if (scan.walk === undefined) return beginAttempt(tailer, session);
  const walk = scan.walk;
  const pages = allowedPages(tailer, session.pageSize);
  const before = walk.fresh.count();
  const result = stepWalk(walk, pages);
  spend(tailer, Math.max(0, walk.fresh.count() - before) * session.pageSize);
  if (result !== "absent") tailer.absentSinceMs = undefined;
  switch (result) {
    case "moved":
      tailer.fall = undefined;
      if (scan.clone === undefined) noteSeen(tailer, walk);
      return pages === 0 ? 1 : 0;
    case "complete":
      tailer.fall = undefined;
      if (scan.clone === undefined) noteSeen(tailer, walk);
      return canEmit ? finishScan(tailer, session, walk) : 1;
    case "absent":
      return metasAbsent(tailer);
    case "fell":
      return confirmFall(tailer, session);
    case "unlinked":
      tailer.isSuspect = true;
      return endAttempt(tailer);
    case "gap":
      return endAttempt(tailer);
  }
}

function beginAttempt(tailer: Tailer, session: Session): number {
  const { scan } = tailer;
  const file: WalkFile = { readAt: session.file.readAt, metas: session.metas, links: session.links };
  const view = file.metas.read();
  if (view === undefined) return metasAbsent(tailer);
  tailer.absentSinceMs = undefined;
  scan.stats = session.file.stats();
  // The first scan writes the image as it goes; later ones compare, and the image follows by what differs.
  const isImaged =
    referenceOf(tailer, session) === null && tailer.isBaseWanted && openImage(tailer) !== undefined;
  if (isImaged) tailer.image?.copied.clear();
  scan.walk = makeWalk(tailer, session, file, view, isImaged);
  noteSeen(tailer, scan.walk);
  tailer.figures.scans += 1;
  return beginScan(scan.walk) === "moved" ? 0 : endAttempt(tailer);
}

/** The table that a scan is compared with; none where there is none, or of another page size. */
function referenceOf(tailer: Tailer, session: Session): PageTable | null {
  const table = tailer.known?.table ?? null;
  return table?.pageSize === session.pageSize ? table : null;
}

function makeWalk(tailer: Tailer, session: Session, file: WalkFile, view: MetaView, isImaged: boolean): Walk {
  const { pageSize } = session;
  const reference = referenceOf(tailer, session);
  const onAccept = (id: number, run: Uint8Array): void => {
    const { image } = tailer;
    if (image === undefined) return;
    try {
      writeRun(image, pageSize, id, run);
    } catch (error) {
      // The scan goes on; the image begins again when there is room.
      imageFailed(tailer, error);
    }
  };
  const fresh = tailer.scan.spare ?? createPageTable(pageSize);
  fresh.clear(true);
  tailer.scan.spare = undefined;
  return createWalk({ file, pageSize, view, reference, fresh, ...(isImaged ? { onAccept } : {}) });
}

function endAttempt(tailer: Tailer): number {
  const { clone } = tailer.scan;
  clone?.file.close();
  clone?.image.discard();
  tailer.scan.clone = undefined;
  tailer.scan.spare = tailer.scan.walk?.fresh;
  tailer.scan.walk = undefined;
  tailer.scan.restarts += 1;
  tailer.figures.scanRestarts += 1;
  return 0;
}

/** The deadline is over: where the file system has reflinks the file is scanned as it was at one instant. */
function useClone(tailer: Tailer, session: Session): void {
  const { environment, scan } = tailer;
  const clone = environment.cloneFile();
  tailer.busySinceMs = environment.clockMs();
  if (clone === undefined) {
    raiseBusy(tailer, "scan");
    return;
  }
  dropImage(tailer);
  scan.clone = clone;
  const file = { readAt: clone.file.readAt, metas: createMetaReader(clone.file.readAt, session.pageSize) };
  const view = file.metas.read();
  if (view === undefined) {
    unsettle(tailer);
    return;
  }
  scan.walk = makeWalk(tailer, session, file, view, false);
  beginScan(scan.walk);
}

/**
 * Whether the scan saw a bolt file and not one that another program is writing over. Its lock, or a commit that followed
 * another while we read, is bolt's hand; otherwise the file must have been quiet and long enough.
 */
function isTrusted(tailer: Tailer, session: Session, walk: Walk): boolean {
  const { environment, pace, scan } = tailer;
  if (walk.links > 0 || environment.hasWriter(session.file)) return true;
  // Nothing follows anything in a clone: it is the commits before it that speak for it.
  if (scan.clone !== undefined && environment.clockMs() - pace.linkedAtMs < writerMemoryMs) return true;
  const before = tailer.scan.stats;
  const after = session.file.stats();
  const isQuiet =
    before?.size === after.size && before.mtimeNs === after.mtimeNs && before.ctimeNs === after.ctimeNs;
  return isQuiet && after.size >= walk.view.meta.highWaterMark * session.pageSize;
}

interface Found {
  readonly txId: TxId;
  readonly stateHash: StateHash;
  readonly outcome: Outcome | null;
  readonly decision: GenerationDecision;
}

function finishScan(tailer: Tailer, session: Session, walk: Walk): number {
  if (!isTrusted(tailer, session, walk)) {
    tailer.retryAtMs = tailer.environment.clockMs() + distrustMs;
    return endAttempt(tailer);
  }
  const found = judgeScan(tailer, session, walk);
  const before = tailer.known?.table ?? null;
  const { clone } = tailer.scan;
  const { txId, stateHash } = found;
  tailer.known = { txId, stateHash, identity: session.file.identity, table: walk.fresh };
  tailer.knownView = walk.view;
  tailer.leaked = countLeaked(walk, walk.fresh.count());
  tailer.walk = createWalk({
    file: { readAt: session.file.readAt, metas: session.metas, links: session.links },
    pageSize: session.pageSize,
    view: walk.view,
    base: walk.fresh,
  });
  if (tailer.image !== undefined && found.outcome !== null) {
    if (found.outcome.frames !== null) overlayFrames(tailer.image, session.pageSize, found.outcome.frames);
    else if (before !== null) forgetChanged(tailer.image, before, walk.fresh);
  }
  tellFound(tailer, session, walk, found);
  settleClone(tailer, walk, clone !== undefined);
  const clockMs = tailer.environment.clockMs();
  tailer.pace.deltasSinceScan = 0;
  tailer.pace.scanMs = clockMs - (tailer.scan.begunAtMs ?? clockMs);
  tailer.scan = noScan();
  tailer.isSuspect = false;
  tailer.fall = undefined;
  tailer.corruptSinceMs = undefined;
  clear(tailer, "corrupt", "source-too-busy");
  return 0;
}

function judgeScan(tailer: Tailer, session: Session, walk: Walk): Found {
  const { known } = tailer;
  const { txId } = walk.view.meta;
  const stateHash = walk.fresh.stateHash();
  const reference = referenceOf(tailer, session);
  const outcome = reference === null ? null : diffScan(walk, reference);
  // A state that was never told cannot be a parent: it is in no archive.
  const hasDiff = outcome?.frames != null && !tailer.isMuted;
  const { isSuspect } = tailer;
  const { identity } = session.file;
  const told = tailer.isBegun ? undefined : tailer.options;
  const seen = { txId, stateHash, identity, isSuspect, hasDiff };
  const decision = decideGeneration(known, seen, told?.forced, told?.isKnownRestored);
  return { txId, stateHash, outcome, decision };
}

function tellFound(tailer: Tailer, session: Session, walk: Walk, found: Found): void {
  const { decision, outcome, txId, stateHash } = found;
  if (!tailer.isBegun || decision.via !== "continue") {
    const parent = tailer.isMuted ? tailer.emitted : decision.parent;
    const { pageSize } = session;
    const { identity } = session.file;
    const { reason, via } = decision;
    tailer.environment.emit({ type: "begin", reason, via, parent, txId, stateHash, pageSize, identity });
    tailer.isBegun = true;
  }
  const parent = decision.parent;
  const isSameState = parent?.txId === txId && parent.stateHash === stateHash;
  if (decision.via === "snapshot") tailer.isMuted = true;
  if (tailer.isMuted || isSameState) {
    tailer.isBaseWanted ||= tailer.isMuted;
    // What is committed next leads on from there.
    if (!tailer.isMuted) tailer.emitted = { txId, stateHash };
    return;
  }
  if (outcome?.frames == null || parent === null) {
    // Too much changed for a delta: the history goes on with a base.
    tailer.isMuted = true;
    tailer.isBaseWanted = true;
    return;
  }
  tailer.emitted = { txId, stateHash };
  tailer.figures.deltas += 1;
  tailer.environment.emit(deltaEvent(walk, outcome, outcome.frames, parent.txId, tailer.pace.stampMs));
}

/** After a scan of a clone: the clone is the base, if one is wanted. */
function settleClone(tailer: Tailer, walk: Walk, isClone: boolean): void {
  tailer.busySinceMs = undefined;
  const { clone } = tailer.scan;
  if (!isClone || clone === undefined) return;
  clone.file.close();
  // The file is as busy as before: the next break need not wait for the deadline.
  tailer.busySinceMs = tailer.environment.clockMs() + cloneEveryMs - tailer.options.baseDeadlineMs;
  if (!tailer.isBaseWanted) {
    clone.image.discard();
    return;
  }
  dropImage(tailer);
  const image = createBaseImage(clone.image, tailer.environment.clockMs());
  finishImage(image, walk.view.meta);
  tellBase(tailer, image.file.path, walk.view.meta);
}
