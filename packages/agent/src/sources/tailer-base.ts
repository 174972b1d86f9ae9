// Bases of a tailed database: begin an image, copy on, finish, and what to do when the disk is full.
import type { Meta } from "@pageferry/format";
import { type BaseImage, copySome, createBaseImage, finishImage, isWhole } from "./base-image.ts";
import { isSameMeta } from "./bolt-io.ts";
import { allowedPages, pollDelay, spend } from "./tailer-pace.ts";
import { clear, raise, type Session, type Tailer } from "./tailer-state.ts";

/** After a failure to write the image it is tried again so often. */
const imageRetryMs = 5000;

/** The image that is on its way, or a new one; undefined where it cannot be made now. */
export function openImage(tailer: Tailer): BaseImage | undefined {
  const { environment } = tailer;
  if (tailer.image !== undefined) return tailer.image;
  const clockMs = environment.clockMs();
  if (clockMs < tailer.imageRetryAtMs) return undefined;
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
  const image = openImage(tailer);
  if (image === undefined) return Math.min(pollDelay(tailer), imageRetryMs);
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
  } catch (error) {
    imageFailed(tailer, error);
    return 0;
  }
  return endRound(tailer, session, image);
}

/** Some blocks are not what the table says. If no commit explains that, something other than bolt wrote them. */
function endRound(tailer: Tailer, session: Session, image: BaseImage): number {
  const { knownView, environment, options } = tailer;
  const view = session.metas.read();
  const isUnmoved = view !== undefined && knownView !== undefined && isSameMeta(view, knownView);
  if (isUnmoved && image.missed > 0) return -1;
  image.cursor = 2;
  image.missed = 0;
  if (environment.clockMs() - image.startedAtMs > options.baseDeadlineMs) raiseBusy(tailer, "base");
  return 0;
}

/** Tells that a deadline is over. */
export function raiseBusy(tailer: Tailer, what: "scan" | "base"): void {
  const message = `${tailer.options.path}: no ${what} could be completed between its commits`;
  const hint =
    "See docs/capture.md: a file system with reflinks, a quieter moment, or the in-process observer.";
  raise(tailer, "source-too-busy", message, hint);
}

/** Tells the base of the known state; what was held back for it goes on from there. */
export function tellBase(tailer: Tailer, imagePath: string, meta: Meta): void {
  const { known, environment } = tailer;
  if (known === null) return;
  const { txId, stateHash } = known;
  const { pageSize, highWaterMark } = meta;
  const { stampMs } = tailer.pace;
  const isUnchecked = tailer.session === undefined || !environment.hasWriter(tailer.session.file);
  tailer.isMuted = false;
  tailer.isBaseWanted = false;
  tailer.emitted = { txId, stateHash };
  tailer.figures.bases += 1;
  clear(tailer, "disk-full", "unavailable", "source-too-busy");
  environment.emit({
    type: "base",
    txId,
    imagePath,
    pageSize,
    highWaterMark,
    stateHash,
    stampMs,
    isUnchecked,
  });
}
