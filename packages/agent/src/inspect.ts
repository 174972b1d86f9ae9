// Looks whether the agent's own files are still there: what somebody removed under it is made again, or made good.
import { access } from "node:fs/promises";
import { join } from "node:path";
import { PageferryError } from "@pageferry/format";
import { makeDirectoryDurable } from "@pageferry/format/node";
import { type Chapter, historyAlarm, inspectShadow, lostHint, needsBase } from "./chapter.ts";
import type { DatabaseState } from "./database-state.ts";
import { inBackground, requestCheckpoint } from "./upkeep.ts";

/** Databases that lie still are looked at this much more rarely. */
const idleFactor = 12;

/** Called about once a second; looks when it is due. */
export function inspectWhenDue(state: DatabaseState): void {
  const nowMs = performance.now();
  const { inspectMs } = state.shared.settings;
  if (nowMs < state.inspectedMs + (state.isWrittenSinceInspected ? inspectMs : inspectMs * idleFactor))
    return;
  state.inspectedMs = nowMs;
  state.isWrittenSinceInspected = false;
  inBackground(state, () => inspect(state));
}

async function inspect(state: DatabaseState): Promise<void> {
  const { directory } = state.place;
  await makeDirectoryDurable(join(directory, "scratch"));
  await state.cursor.mend();
  for (const chapter of state.chapters) await inspectChapter(state, chapter);
  const { checkpoint } = state.cursor.value();
  if (checkpoint === null || (await isThere(join(directory, checkpoint.file)))) return;
  state.shared.logger.warn(
    { database: state.place.name, file: checkpoint.file },
    "the page table is gone, it is made again",
  );
  requestCheckpoint(state, "now");
}

async function inspectChapter(state: DatabaseState, chapter: Chapter): Promise<void> {
  const lost = await inspectShadow(chapter);
  if (lost === undefined) return;
  if (needsBase(chapter)) {
    state.alarms.raiseError("history", new PageferryError(historyAlarm, lost, { hint: lostHint }));
  } else state.shared.logger.warn({ database: state.place.name }, lost);
  // A restart would find the hole; beyond it there is none.
  requestCheckpoint(state, "now");
  state.sender.notify();
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== "ENOENT" && error.code !== "ENOTDIR",
  );
}
