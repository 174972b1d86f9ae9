// Which of a database's generations is sent next: one after the other, the oldest first.
import { abandon, type Chapter, needsBase, unsentOf } from "./chapter.ts";
import { type BeginSender, isUntold } from "./send-begin.ts";
import type { SnapshotUploads } from "./snapshot-upload.ts";

/** What is looked at. */
export interface SendOrder {
  /** Oldest first; the last is the one being captured. */
  chapters(): readonly Chapter[];
  readonly uploads: Pick<SnapshotUploads, "isBusy" | "isRefused">;
  readonly told: BeginSender["told"];
}

/** The oldest chapter that is not finished. One that can never be sent is passed over, and told to its successor. */
export function headOf(state: SendOrder): Chapter | undefined {
  const chapters = state.chapters();
  const last = chapters.at(-1);
  for (const [index, chapter] of chapters.entries()) {
    if (chapter.cursor().isAbandoned) continue;
    if (chapter === last) return chapter;
    const isUploading = state.uploads.isBusy(chapter.generation);
    if (needsBase(chapter) && !isUploading) abandon(chapter, chapters[index + 1]);
    else if (isUploading || unsentOf(chapter).length > 0) return chapter;
  }
  return;
}

/** Whether nothing is left that can be sent. */
export function isDrained(state: SendOrder): boolean {
  const chapters = state.chapters();
  return chapters.every((chapter) => {
    const isUploading =
      state.uploads.isBusy(chapter.generation) && !state.uploads.isRefused(chapter.generation);
    const isNothingLeft = needsBase(chapter) || (unsentOf(chapter).length === 0 && !isUntold(state, chapter));
    return chapter.cursor().isAbandoned || (!isUploading && isNothingLeft);
  });
}
