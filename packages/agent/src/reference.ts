// The state a restart goes on from: the page table's checkpoint, rolled forward by what the shadow holds beyond it.
import { join } from "node:path";
import { formatTxId, PageferryError } from "@pageferry/format";
import { type Chapter, lastTxIdOf } from "./chapter.ts";
import type { Cursor, TableCheckpoint } from "./cursor.ts";
import { readPageTable, rollForward, type SavedTable, writePageTable } from "./page-table-file.ts";
import { decodeRange } from "./range-segment.ts";
import { readLogEntry } from "./shadow-file.ts";
import type { CaptureReference } from "./sources/capture-event.ts";

/** The rolled-forward table's file. It is made at each start; only the checkpoint is durable. */
export const referenceFile = "reference.table";

/**
 * Makes the reference for the source, or says `undefined` where there is none to be had. Throws `corrupt`, `gap` or `not-found`
 * where there should be one: then only a new generation is sound.
 */
export async function openReference(
  directory: string,
  cursor: Cursor,
  chapters: readonly Chapter[],
): Promise<CaptureReference | undefined> {
  const { checkpoint, identity } = cursor;
  const current = chapters.at(-1);
  if (checkpoint === null || identity === null || current === undefined) return;
  const rolled = await rolledCheckpoint(directory, checkpoint, chapters);
  if (rolled === undefined) return;
  const last = lastTxIdOf(current);
  if (last !== null && last > rolled.txId) {
    const where = `${formatTxId(last)} was acknowledged, the shadow ends at ${formatTxId(rolled.txId)}`;
    throw new PageferryError("gap", `shadow of ${current.generation}: ${where}`);
  }
  if (rolled.txId === checkpoint.txId) {
    return { tablePath: join(directory, checkpoint.file), ...stateOf(rolled), identity };
  }
  const path = join(directory, referenceFile);
  await writePageTable(path, rolled);
  return { tablePath: path, ...stateOf(rolled), identity };
}

/**
 * The checkpoint's table, rolled forward by all that is durable in the shadow. `undefined`: nothing leads from it to the present
 * generation. Throws `corrupt`, `gap` or `not-found` where it does not add up.
 */
export async function rolledCheckpoint(
  directory: string,
  checkpoint: TableCheckpoint,
  chapters: readonly Chapter[],
): Promise<SavedTable | undefined> {
  const from = chapters.findIndex((chapter) => chapter.generation === checkpoint.generation);
  if (from === -1) return;
  // Nothing leads from the table into a generation that began with a snapshot, or at a restored point; its transactions may even be lower.
  const later = chapters.slice(from + 1).map((chapter) => chapter.cursor());
  if (later.some(({ via, parentStateHash }) => via === "snapshot" || parentStateHash !== null)) return;
  const tablePath = join(directory, checkpoint.file);
  const saved = readPageTable(tablePath);
  if (saved.txId !== checkpoint.txId || saved.stateHash !== checkpoint.stateHash) {
    throw new PageferryError(
      "corrupt",
      `page table ${tablePath}: it is of another state than the cursor says`,
    );
  }
  return rolledForward(saved, chapters.slice(from));
}

function stateOf({ txId, stateHash }: SavedTable): Pick<CaptureReference, "txId" | "stateHash"> {
  return { txId, stateHash };
}

async function rolledForward(saved: SavedTable, chapters: readonly Chapter[]): Promise<SavedTable> {
  let rolled = saved;
  for (const chapter of chapters) {
    for (const entry of chapter.shadow.entries()) {
      if (entry.txId <= rolled.txId) continue;
      const part = await decodeRange(await readLogEntry(entry));
      // A merged record may begin before the checkpoint: what it brings and frees is the same from anywhere inside it.
      const isInside = part.parentTxId < rolled.txId;
      rolled = rollForward(rolled, isInside ? { ...part, parentTxId: rolled.txId } : part);
    }
  }
  return rolled;
}
