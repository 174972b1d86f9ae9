// Bases of a tailed database: begin an image, copy on, finish, and what to do when the disk is full.
import type { Meta } from "@pageferry/format";
import type { PageTable } from "../page-table.ts";
import { type BaseImage, copySome, createBaseImage, finishImage, isWhole } from "./base-image.ts";
import { isSameMeta } from "./bolt-io.ts";
import type { BaseEvent } from "./capture-event.ts";
import { allowedPages, pollDelay, spend } from "./tailer-pace.ts";
import { clear, raise, type Session, type Tailer } from "./tailer-state.ts";

/** A commit that followed another is bolt's hand, as good as its lock, for so long. */
export const writerMemoryMs = 10_000;
/** A file whose image did not hold is imaged again after this. */
const refusedRetryMs = 30_000;
/** A file that lies still looks for room for its image so often. */
const imageWaitMs = 500;
/** After a failure to write the image it is tried again so often. */
const imageRetryMs = 5000;

/** The image that is on its way, or a new one; undefined where it cannot be made now. */
export function openImage(tailer: Tailer): BaseImage | undefined {
  const { environment } = tailer;
  if (tailer.image !== undefined) return tailer.image;
  const clockMs = environment.clockMs();
  if (clockMs < tailer.imageRetryAtMs || !environment.hasImageRoom()) return undefined;
  try {
    tailer.image = createBaseImage(environment.createImage(), clockMs);
  } catch (error) {
    imageFailed(tailer, error);
  }
  return tailer.image;
}

/** Removes an image that is on its way. */
export function dropImage(tailer: Tailer): void {
  tailer.image?.file.discard();
  tailer.image = undefined;
}

/** The image could not be written: it begins again later, and capture goes on meanwhile. */
export function imageFailed(tailer: Tailer, error: unknown): void {
  dropImage(tailer);
  tailer.imageRetryAtMs = tailer.environment.clockMs() + imageRetryMs;
  const reason =
    error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.message) : String(error);
  const isFull = reason === "ENOSPC" || reason === "EDQUOT";
  const message = `${tailer.options.path}: a base could not be written to the scratch directory (${reason})`;
  const hint = isFull
    ? "Free space in the scratch directory; it needs as much as the database is long."
    : "See whether the scratch directory can be written to.";
  raise(tailer, isFull ? "disk-full" : "unavailable", message, hint);
}

/** Copies on while nothing else is to be done. Answers how long to wait; -1: the file is not what the table says. */
export function stepBase(tailer: Tailer, session: Session): number {
  const { known, knownView } = tailer;
  const table = known?.table;
  if (table == null || knownView === undefined || !(tailer.isBaseWanted || tailer.image !== undefined)) {
    return pollDelay(tailer);
  }
  const image = tailer.isCheckingImage ? undefined : openImage(tailer);
  if (image === undefined) return Math.min(imageWaitMs, pollDelay(tailer));
  const pages = allowedPages(tailer, session.pageSize);
  if (pages === 0) return Math.min(1, pollDelay(tailer));
  try {
    const bytes = copySome(image, table, session.file.readAt, pages);
    spend(tailer, bytes);
    if (bytes > 0) return 0;
    if (isWhole(image, table)) {
      finishImage(image, knownView.meta);
      tailer.image = undefined;
      tellBase(tailer, image.file.path, knownView.meta);
      return 0;
    }
    return endRound(tailer, session, image, table);
  } catch (error) {
    imageFailed(tailer, error);
    return 0;
  }
}

/**
 * Some blocks were not what the table said when they were read. If they are not now either, and no commit explains that, something
 * other than bolt wrote them.
 */
function endRound(tailer: Tailer, session: Session, image: BaseImage, table: PageTable): number {
  const { environment, options } = tailer;
  image.cursor = 2;
  image.missed = 0;
  const isStillBefore = isUnmoved(tailer, session);
  copySome(image, table, session.file.readAt, 1);
  if (isStillBefore && image.missed > 0 && isUnmoved(tailer, session)) return -1;
  if (environment.clockMs() - image.startedAtMs > options.baseDeadlineMs) raiseBusy(tailer, "base");
  return 0;
}

function isUnmoved(tailer: Tailer, session: Session): boolean {
  const view = session.metas.read();
  return view !== undefined && tailer.knownView !== undefined && isSameMeta(view, tailer.knownView);
}

/** Tells that a deadline is over. */
export function raiseBusy(tailer: Tailer, what: "scan" | "base"): void {
  const message = `${tailer.options.path}: no ${what} could be completed between its commits`;
  const hint =
    "See docs/capture.md: a file system with reflinks, a quieter moment, or the in-process observer.";
  raise(tailer, "source-too-busy", message, hint);
}

/** Tells the base of the known state, after a check where nothing but the file's own look speaks for it. */
export function tellBase(tailer: Tailer, imagePath: string, meta: Meta): void {
  const { known, environment, pace, session } = tailer;
  if (known === null) return;
  const { txId, stateHash } = known;
  const { pageSize, highWaterMark } = meta;
  const { stampMs } = pace;
  const base: BaseEvent = { type: "base", txId, imagePath, pageSize, highWaterMark, stateHash, stampMs };
  const isWriterKnown =
    environment.clockMs() - pace.linkedAtMs < writerMemoryMs ||
    (session !== undefined && environment.hasWriter(session.file));
  if (isWriterKnown) {
    settleBase(tailer, base);
    return;
  }
  tailer.isCheckingImage = true;
  environment.checkImage(imagePath, stateHash, (problem) => {
    tailer.isCheckingImage = false;
    if (problem !== undefined) {
      const hint = "Run `pageferry check` on a copy of the file.";
      raise(tailer, "corrupt", `${tailer.options.path}: ${problem}`, hint);
      tailer.imageRetryAtMs = environment.clockMs() + refusedRetryMs;
    } else if (tailer.known?.txId === txId && tailer.known.stateHash === stateHash) {
      clear(tailer, "corrupt");
      settleBase(tailer, base);
      return;
    }
    // Unsound, or the file moved on meanwhile: another image.
    environment.removeImage(imagePath);
  });
}

/** What was held back for the base goes on from it. */
function settleBase(tailer: Tailer, base: BaseEvent): void {
  tailer.isMuted = false;
  tailer.isBaseWanted = false;
  tailer.emitted = { txId: base.txId, stateHash: base.stateHash };
  tailer.figures.bases += 1;
  clear(tailer, "disk-full", "unavailable", "source-too-busy");
  tailer.environment.emit(base);
}
