// What of the shadow may go: what is stored and checkpointed; and, above its bound, what squashing and giving up leave.
import { rm } from "node:fs/promises";
import type { CompressionConfig, Generation, TxId } from "@pageferry/format";
import { type Chapter, newest, reachOf, unsentOf } from "./chapter.ts";
import type { Cursor } from "./cursor.ts";
import { squashed } from "./shadow-squash.ts";

/** A merged record's pages: they are put together in memory. */
const squashedBytesMax = 32 * 1024 * 1024;

/** Records kept one by one; each has some 300 bytes of facts in memory. */
const entriesMax = 50_000;

/**
 * Up to where a chapter's shadow may be trimmed; `null`: not at all. The page table's checkpoint must be beyond it, because a
 * restart rolls it forward; and the host must have stored it, as far as it can say so (`isHealing`). What follows a snapshot that
 * is on its way (`uploadingTxId`) must stay: it is sent as soon as the snapshot was.
 */
export function trimBound(
  chapter: Chapter,
  chapters: readonly Chapter[],
  checkpoint: Cursor["checkpoint"],
  isHealing: boolean,
  uploadingTxId: TxId | null = null,
): TxId | null {
  const own = chapters.indexOf(chapter);
  const checkpointed = chapters.findIndex((one) => one.generation === checkpoint?.generation);
  if (checkpoint === null || checkpointed < own) return null;
  const atCheckpoint = checkpointed === own ? checkpoint.txId : null;
  const { isAbandoned, baseNeededFrom } = chapter.cursor();
  if (isAbandoned || baseNeededFrom !== null) {
    // What a snapshot must stand for will never be sent.
    const bound = atCheckpoint ?? lastOf(chapter);
    return isAbandoned || uploadingTxId === null ? bound : smaller(bound, uploadingTxId);
  }
  const sent = storedBound(chapter, isHealing);
  return atCheckpoint === null ? sent : smaller(sent, atCheckpoint);
}

/**
 * Up to where a chapter can do without what it was read from: what was sent, and stored as far as the host can say so. `null`: not
 * at all, and also where a hole waits for a snapshot.
 */
export function storedBound(chapter: Chapter, isHealing: boolean): TxId | null {
  const { isAbandoned, baseNeededFrom } = chapter.cursor();
  if (isAbandoned || baseNeededFrom !== null) return null;
  const reach = reachOf(chapter);
  return isHealing ? smaller(reach, chapter.storedTxId) : reach;
}

function lastOf(chapter: Chapter): TxId | null {
  return chapter.shadow.entries().at(-1)?.txId ?? null;
}

function smaller(a: TxId | null, b: TxId | null): TxId | null {
  if (a === null || b === null) return null;
  return a < b ? a : b;
}

/**
 * Whether an older chapter is over: sent, stored (with `isHealing`), and nothing of it is needed to roll the page table
 * forward.
 */
export function isFinished(
  chapter: Chapter,
  chapters: readonly Chapter[],
  checkpoint: Cursor["checkpoint"],
  isHealing: boolean,
): boolean {
  const own = chapters.indexOf(chapter);
  if (own === chapters.length - 1) return false;
  const checkpointed = chapters.findIndex((one) => one.generation === checkpoint?.generation);
  if (checkpoint !== null && checkpointed !== -1 && checkpointed <= own) return false;
  if (chapter.cursor().isAbandoned) return true;
  if (unsentOf(chapter).length > 0) return false;
  const reach = reachOf(chapter);
  return !isHealing || reach === null || (chapter.storedTxId !== null && chapter.storedTxId >= reach);
}

/** Closes a chapter and removes what it has on disk. */
export async function removeChapter(chapter: Chapter): Promise<void> {
  chapter.recent.clear();
  await chapter.shadow.close();
  await rm(chapter.shadow.directory, { recursive: true, force: true });
}

/** The bytes and the number of records of all chapters' shadows are within their bounds. */
export function isWithinBounds(chapters: readonly Chapter[], bytesMax: number): boolean {
  const bytes = chapters.reduce((sum, chapter) => sum + chapter.shadow.bytes(), 0);
  const entries = chapters.reduce((sum, chapter) => sum + chapter.shadow.entries().length, 0);
  return bytes <= bytesMax && entries <= entriesMax;
}

/** Merges what is consecutive in a chapter's shadow; its points in between are given up, what they hold is not. */
export async function squashChapter(chapter: Chapter, compression: CompressionConfig): Promise<void> {
  await chapter.shadow.squash((entries) => {
    const boundaries = [reachOf(chapter), chapter.inFlightTxId].filter((boundary) => boundary !== null);
    const { sourceKind: source } = chapter;
    return squashed(entries, { rawBytesMax: squashedBytesMax, boundaries, source, compression });
  });
}

/**
 * Gives up what was not sent: it is over the bound even when merged. A snapshot of what comes next stands for it; older
 * generations end where they were acknowledged.
 */
export function giveUpUnsent(chapters: readonly Chapter[]): void {
  for (const chapter of chapters.slice(0, -1)) {
    if (unsentOf(chapter).length > 0) chapter.update({ isAbandoned: true });
  }
  const current = chapters.at(-1);
  const last = current === undefined ? null : newest(lastOf(current), reachOf(current));
  if (current !== undefined && last !== null) current.update({ baseNeededFrom: last });
}

/** A snapshot seldom takes less than this share of its image, so that with a shadow that is smaller nothing would be won. */
const snapshotShare = 0.25;

/**
 * Whether it is the shadow that leaves no room for the snapshot of an image of so many bytes, while nothing of the shadow can be sent before that
 * snapshot is: each would wait for the other for ever. A later snapshot stands for what is let go.
 */
export function isInTheWay(
  chapters: readonly Chapter[],
  generation: Generation,
  imageBytes: number,
): boolean {
  const chapter = chapters.at(-1);
  if (chapter?.generation !== generation || chapter.cursor().baseNeededFrom === null) return false;
  return chapter.shadow.bytes() >= imageBytes * snapshotShare;
}
