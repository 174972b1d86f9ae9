// What is done for a database from time to time: checkpoints, snapshots, trimming, squashing, saving the cursor.
import { basename, join } from "node:path";
import type { TxId } from "@pageferry/format";
import { type Chapter, historyAlarm, inspectShadow, lastTxIdOf, needsBase } from "./chapter.ts";
import type { TableCheckpoint } from "./cursor.ts";
import type { DatabaseState } from "./database-state.ts";
import { rolledCheckpoint } from "./reference.ts";
import {
  giveUpUnsent,
  isFinished,
  isWithinBounds,
  removeChapter,
  squashChapter,
  storedBound,
  trimBound,
} from "./retention.ts";
import { shadowCompression } from "./settings.ts";
import type { CheckpointEvent } from "./sources/capture-event.ts";
import { keepTableRoom, retireTables, tableFile, tableNumberOf, writeTable } from "./table-files.ts";
import { createWake } from "./wake.ts";

/** An acknowledgement that a crash forgets is only sent again; it need not be fsynced each second. */
const cursorSaveMs = 5000;

/** A base that was asked for is asked for again after this. */
const baseAgainMs = 30_000;

/** A checkpoint that does not come, because the disk was full, is asked for again after this. */
const checkpointAgainMs = 10_000;

/** A checkpoint waits this long for the shadow to be durable up to it. */
const flushMs = 10_000;

/** Room on a full disk is made so often while a host takes what waits, and so often while it does not. */
const relieveAgainMs = 1000;
const relieveAwayMs = 5000;

/** Making room takes at most this share of the time: a large page table is read and written for it. */
const relieveShare = 0.2;

/** A snapshot waits at most this long for the page table that a restart goes on from. */
const tableFirstMs = 10_000;
const tableLookMs = 20;

/** Called about once a second. */
export function tick(state: DatabaseState): void {
  const nowMs = performance.now();
  const { settings } = state.shared;
  if (!state.cursor.isSaved() && nowMs >= state.cursorSavedMs + cursorSaveMs) {
    state.cursorSavedMs = nowMs;
    inBackground(state, () => state.cursor.save());
  }
  const isCheckpointDue =
    state.bytesSinceCheckpoint > settings.checkpointBytes ||
    (state.bytesSinceCheckpoint > 0 && nowMs >= state.checkpointedMs + settings.checkpointMs);
  if (isCheckpointDue || state.checkpointing !== undefined) requestCheckpoint(state);
  if (isSnapshotDue(state)) requestBase(state);
  checkBounds(state);
}

/** Runs upkeep one after the other; a failure is an alarm until something succeeds, and the next tick tries again. */
export function inBackground(state: DatabaseState, act: () => Promise<void>): void {
  const done = () => state.alarms.clear("upkeep");
  state.upkeep = state.upkeep.then(act).then(done, (error: unknown) => {
    if (!state.abort.signal.aborted) state.alarms.raiseError("upkeep", error);
  });
}

/** Runs what somebody waits for in the same order. */
export function inUpkeep<Result>(state: DatabaseState, act: () => Promise<Result>): Promise<Result> {
  const done = state.upkeep.then(act);
  state.upkeep = done.then(
    () => {},
    () => {},
  );
  return done;
}

/** Asks the source for the page table of the newest state, unless one is being written; `now`: also then, it may be older. */
export function requestCheckpoint(state: DatabaseState, when?: "now"): void {
  const chapter = state.chapters.at(-1);
  const nowMs = performance.now();
  // One that a full disk swallowed is asked for again, under another name.
  const isRecent = nowMs < state.checkpointedMs + checkpointAgainMs;
  const isAsked = when !== "now" && state.checkpointing !== undefined && isRecent;
  if (isAsked || state.source === undefined || chapter === undefined) return;
  const file = nextTableFile(state);
  state.checkpointing = { file, generation: chapter.generation, bytes: state.bytesSinceCheckpoint };
  state.checkpointedMs = nowMs;
  state.source.checkpoint(join(state.place.directory, file));
}

/**
 * A checkpoint counts when the shadow is durable up to it: with a table beyond the shadow, a restart would leave out what lies
 * between.
 */
export async function acceptCheckpoint(state: DatabaseState, event: CheckpointEvent): Promise<void> {
  const chapter = state.chapters.at(-1);
  const { checkpointing } = state;
  const file = basename(event.path);
  if (checkpointing?.file !== file) return;
  try {
    if (chapter?.generation !== checkpointing.generation) return;
    // On a full disk it would wait for the room that the trimming behind it makes; the next checkpoint will do.
    const signal = AbortSignal.any([state.abort.signal, AbortSignal.timeout(flushMs)]);
    if (!(await chapter.shadow.flush(signal))) return;
    // One that came meanwhile is in use, and the older files are gone.
    if (tableNumberOf(file) < tableNumberOf(state.cursor.value().checkpoint?.file)) return;
    const { txId, stateHash } = event;
    await useCheckpoint(state, { generation: chapter.generation, txId, stateHash, file });
    state.bytesSinceCheckpoint -= checkpointing.bytes;
  } finally {
    if (state.checkpointing === checkpointing) state.checkpointing = undefined;
    state.checkpointDone.notify();
  }
}

/**
 * Waits for the first page table of a generation. A process that dies with a snapshot at the host and no table of it would have
 * to begin again from nothing.
 */
export async function untilTable(state: DatabaseState, base: TxId, signal: AbortSignal): Promise<void> {
  const pause = createWake();
  const endMs = performance.now() + tableFirstMs;
  const isThere = () => {
    const { checkpoint } = state.cursor.value();
    return checkpoint?.generation === state.chapters.at(-1)?.generation && (checkpoint?.txId ?? -1n) >= base;
  };
  const isComing = () => !isThere() && state.source !== undefined && performance.now() < endMs;
  while (isComing() && !signal.aborted) await pause.wait(tableLookMs, signal);
  if (!signal.aborted) await state.cursor.save().catch(() => {});
}

async function useCheckpoint(state: DatabaseState, checkpoint: TableCheckpoint): Promise<void> {
  const { directory } = state.place;
  state.cursor.update({ checkpoint });
  // Without it nothing could be trimmed: it may have the room that other savings have to wait for.
  await state.cursor.save("reserved");
  await retireTables(directory, checkpoint.file);
  await tidy(state);
  await keepTableRoom(directory, checkpoint.file);
  await state.cursor.keepRoom();
}

/**
 * Makes room on a full disk: the checkpoint is rolled forward to the end of the shadow, in the room of the reserve, and the host
 * is asked what it stored; then more can be trimmed. The source's own checkpoint would be beyond what is durable.
 */
export function relieve(state: DatabaseState): void {
  if (state.isRelieving || performance.now() < state.relieveDueMs) return;
  state.isRelieving = true;
  state.sender.hastenNeeds();
  inBackground(state, async () => {
    const beganMs = performance.now();
    try {
      await tidy(state);
      // A source that is about to read its table has it taken away by a newer one.
      if (state.source === undefined || state.isSourceHeard)
        await rollCheckpoint(state).catch((error: unknown) => letStoredGo(state, error));
    } finally {
      const endMs = performance.now();
      const restMs = state.sender.isAway() ? relieveAwayMs : relieveAgainMs;
      state.relieveDueMs = endMs + Math.max(restMs, (endMs - beganMs) / relieveShare);
      state.isRelieving = false;
    }
  });
}

/**
 * Where even a table has no room, the log goes without one if replicas have all of it; else nothing would ever free the disk. A process
 * that dies before the source's next table begins a new generation.
 */
async function letStoredGo(state: DatabaseState, error: unknown): Promise<void> {
  const chapter = state.chapters.at(-1);
  const last = chapter?.shadow.entries().at(-1)?.txId;
  const stored = chapter === undefined ? null : storedBound(chapter, state.isHealing);
  const isStored = last !== undefined && stored !== null && stored >= last;
  if (!isStored || state.source === undefined) throw error;
  await chapter?.shadow.trim(last);
  requestCheckpoint(state, "now");
}

/** Rolls the checkpoint forward to the end of the shadow, so that a restart needs nothing of it. Errors: as `rolledCheckpoint`, `disk-full`. */
export async function rollCheckpoint(state: DatabaseState): Promise<void> {
  const { directory } = state.place;
  const { checkpoint } = state.cursor.value();
  const chapter = state.chapters.at(-1);
  const last = chapter?.shadow.entries().at(-1)?.txId;
  if (checkpoint === null || chapter === undefined || last === undefined || last <= checkpoint.txId) return;
  const rolled = await rolledCheckpoint(directory, checkpoint, state.chapters);
  if (rolled === undefined) return;
  const file = nextTableFile(state);
  await writeTable(directory, file, rolled);
  // A generation that began meanwhile at a restored point has one of its own.
  if (state.cursor.value().checkpoint !== checkpoint) return;
  const { txId, stateHash } = rolled;
  await useCheckpoint(state, { generation: chapter.generation, txId, stateHash, file });
}

/** The name of the next page table. */
export function nextTableFile(state: DatabaseState): string {
  state.tableNumber += 1;
  return tableFile(state.tableNumber);
}

/** Asks for a base, unless one is on its way. */
export function requestBase(state: DatabaseState): void {
  const chapter = state.chapters.at(-1);
  const nowMs = performance.now();
  if (chapter === undefined || state.source === undefined || nowMs < state.baseAskedMs + baseAgainMs) return;
  // The file is not that chapter's any more: the base would come into the generation that is about to begin, which may need none.
  if (state.restoredFrom !== null) return;
  if (state.uploads.isBusy(chapter.generation)) return;
  state.baseAskedMs = nowMs;
  state.source.requestBase();
}

function isSnapshotDue(state: DatabaseState): boolean {
  const chapter = state.chapters.at(-1);
  if (chapter === undefined || state.sender.isHalted() || state.isHostBuilding) return false;
  const { baseTxId, baseAtMs, via } = chapter.cursor();
  const last = lastTxIdOf(chapter);
  // One that began with a bridge has no snapshot of its own before the first is due.
  if (last === null || (baseTxId === null ? via === "snapshot" : last <= baseTxId)) return false;
  return state.shared.now() - baseAtMs >= state.shared.settings.snapshotIntervalMs;
}

/** Trims what is stored and checkpointed, and removes generations that are over. */
export async function tidy(state: DatabaseState, isHealing = state.isHealing): Promise<void> {
  const { checkpoint } = state.cursor.value();
  for (const chapter of state.chapters) {
    const uploading = state.uploads.oldestTxId(chapter.generation);
    const bound = trimBound(chapter, state.chapters, checkpoint, isHealing, uploading);
    // With a cursor older than the trimming, a restart would find a hole where there is none.
    if (bound !== null) await chapter.shadow.trim(bound, () => state.cursor.save("reserved").catch(() => {}));
    tellStored(state, chapter, storedBound(chapter, isHealing), false);
  }
  await removeFinished(state, isHealing);
}

/** What a source keeps for us may go as far. */
function tellStored(state: DatabaseState, chapter: Chapter, upTo: TxId | null, isOver: boolean): void {
  const { origin } = chapter.cursor();
  if (origin !== null && upTo !== null) state.source?.stored?.(origin, upTo, isOver);
}

async function removeFinished(state: DatabaseState, isHealing: boolean): Promise<void> {
  const { checkpoint } = state.cursor.value();
  const finished = state.chapters.filter(
    (chapter) =>
      isFinished(chapter, state.chapters, checkpoint, isHealing) && !state.uploads.isBusy(chapter.generation),
  );
  if (finished.length === 0) return;
  for (const chapter of finished) tellStored(state, chapter, storedBound(chapter, isHealing), true);
  const names = new Set(finished.map((chapter) => chapter.generation));
  state.chapters = state.chapters.filter((chapter) => !names.has(chapter.generation));
  const { generations } = state.cursor.value();
  state.cursor.update({ generations: generations.filter(({ generation }) => !names.has(generation)) });
  await state.cursor.save();
  for (const chapter of finished) await removeChapter(chapter);
}

/**
 * Looks after a shadow that is over its bound: first what can be trimmed is learned; if that does not help for a while it is
 * squashed, and again each time it has grown by a quarter since. From a host that is away nothing is learned: it is not waited for. With
 * the policy `stop` nothing is: shadow-room.ts waits for room.
 */
export function checkBounds(state: DatabaseState): void {
  const { shadowBytesMax, silentMs } = state.shared.settings;
  const nowMs = performance.now();
  const bytes = shadowBytes(state.chapters);
  if (isWithinBounds(state.chapters, shadowBytesMax)) {
    state.overSinceMs = undefined;
    state.squashedBytes = 0;
  } else if (state.overSinceMs === undefined) {
    state.overSinceMs = nowMs;
    requestCheckpoint(state);
    state.sender.hastenNeeds();
  } else if (state.shared.settings.shadowPolicy === "stop") {
    // The source's own checkpoint may wait behind what is not taken from it.
    relieve(state);
    // What no replica has yet is in the host's queue, for as long as that keeps it.
    if (nowMs >= state.overSinceMs + silentMs) inBackground(state, () => tidy(state, false));
  } else if (
    (state.sender.isAway() || nowMs >= state.overSinceMs + silentMs) &&
    bytes >= state.squashedBytes * 1.25
  ) {
    state.overSinceMs = undefined;
    state.squashedBytes = bytes;
    inBackground(state, () => squash(state));
  }
}

function shadowBytes(chapters: readonly Chapter[]): number {
  return chapters.reduce((sum, chapter) => sum + chapter.shadow.bytes(), 0);
}

async function squash(state: DatabaseState): Promise<void> {
  const { settings, logger } = state.shared;
  const isTooMuch = () => shadowBytes(state.chapters) > settings.shadowBytesMax * 0.9;
  await tidy(state);
  for (const chapter of state.chapters) {
    // One that is gone would stop it every time.
    await inspectShadow(chapter);
    chapter.recent.clear();
    await squashChapter(chapter, shadowCompression(settings));
  }
  // What no replica has yet is in the host's queue; that must do when there is no more room here.
  if (isTooMuch()) await tidy(state, false);
  state.squashedBytes = shadowBytes(state.chapters);
  logger.info(
    { database: state.place.name, bytes: state.squashedBytes },
    "the shadow was merged, it is over its bound",
  );
  if (isTooMuch() && state.sender.isAway()) await giveUp(state);
}

async function giveUp(state: DatabaseState): Promise<void> {
  giveUpUnsent(state.chapters);
  state.alarms.raise("history", {
    code: historyAlarm,
    message: `${state.place.path}: its shadow is over ${state.shared.settings.shadowBytesMax} bytes, also when merged; what was not sent is given up`,
    hint: "A new snapshot follows when the host answers. A larger shadowBytesMax keeps more points while it is away.",
  });
  await state.cursor.save();
  requestCheckpoint(state);
}

/** Whether what a chapter holds will be points of the archive: it stands on something, and has no hole. */
export function isWhole(state: DatabaseState, chapter: Chapter): boolean {
  return !chapter.cursor().isAbandoned && (!needsBase(chapter) || state.uploads.isBusy(chapter.generation));
}
