// What is done for a database from time to time: checkpoints, snapshots, trimming, squashing, healing, saving the cursor.
import { readdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { formatTxId, type Needs } from "@pageferry/format";
import { type Chapter, historyAlarm, lastTxIdOf, needsBase } from "./chapter.ts";
import type { DatabaseState } from "./database-state.ts";
import { planHealing } from "./healing.ts";
import { referenceFile } from "./reference.ts";
import {
  giveUpUnsent,
  isFinished,
  isWithinBounds,
  removeChapter,
  squashChapter,
  trimBound,
} from "./retention.ts";
import { shadowCompression } from "./settings.ts";
import type { CheckpointEvent } from "./sources/capture-event.ts";

/** An acknowledgement that a crash forgets is only sent again; it need not be fsynced each second. */
const cursorSaveMs = 5000;

/** A base that was asked for is asked for again after this. */
const baseAgainMs = 30_000;

/** A checkpoint that does not come is asked for again after this. */
const checkpointAgainMs = 120_000;

/** What was healed is healed again only after this: a host needs a while to put things away. */
const healAgainMs = 5 * 60_000;

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
  if (isCheckpointDue) requestCheckpoint(state);
  if (isSnapshotDue(state)) requestBase(state);
  checkBounds(state);
}

/** Runs upkeep one after the other; a failure is an alarm, and the next tick tries again. */
export function inBackground(state: DatabaseState, act: () => Promise<void>): void {
  state.upkeep = state.upkeep.then(act).catch((error: unknown) => {
    if (!state.abort.signal.aborted) state.alarms.raiseError("shadow", error);
  });
}

/** Asks the source for the page table of the newest state, unless one is being written. */
export function requestCheckpoint(state: DatabaseState): void {
  const chapter = state.chapters.at(-1);
  const nowMs = performance.now();
  // One that a full disk swallowed is asked for again, under another name.
  const isAsked = state.checkpointing !== undefined && nowMs < state.checkpointedMs + checkpointAgainMs;
  if (isAsked || state.source === undefined || chapter === undefined) return;
  state.tableNumber += 1;
  const file = `pages-${state.tableNumber}.table`;
  state.checkpointing = { file, generation: chapter.generation };
  state.checkpointedMs = nowMs;
  state.bytesSinceCheckpoint = 0;
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
    await chapter.shadow.flush(state.abort.signal);
    if (state.abort.signal.aborted) return;
    const { generation } = chapter;
    state.cursor.update({ checkpoint: { generation, txId: event.txId, stateHash: event.stateHash, file } });
    await state.cursor.save();
    await removeTables(state.place.directory, file);
    await tidy(state);
  } finally {
    if (state.checkpointing === checkpointing) state.checkpointing = undefined;
    state.checkpointDone.notify();
  }
}

const tablePattern = /^pages-(\d+)\.table$/;

/** The number in the name of a page table's file; 0 for another name. */
export function tableNumberOf(file: string | undefined): number {
  return Number(tablePattern.exec(file ?? "")?.[1] ?? 0);
}

/** Removes the page tables that are older than `kept`, and the one that the start was made from. */
export async function removeTables(directory: string, kept: string | undefined): Promise<void> {
  const names = await readdir(directory);
  const doomed = names.filter(
    (name) =>
      name === referenceFile || (tablePattern.test(name) && tableNumberOf(name) < tableNumberOf(kept)),
  );
  await Promise.all(doomed.map((name) => rm(join(directory, name), { force: true })));
}

/** Asks for a base, unless one is on its way. */
export function requestBase(state: DatabaseState): void {
  const chapter = state.chapters.at(-1);
  const nowMs = performance.now();
  if (chapter === undefined || state.source === undefined || nowMs < state.baseAskedMs + baseAgainMs) return;
  if (state.uploads.isBusy(chapter.generation)) return;
  state.baseAskedMs = nowMs;
  state.source.requestBase();
}

function isSnapshotDue(state: DatabaseState): boolean {
  const chapter = state.chapters.at(-1);
  if (chapter === undefined || state.sender.isHalted()) return false;
  const { baseTxId, baseAtMs } = chapter.cursor();
  const last = lastTxIdOf(chapter);
  if (baseTxId === null || last === null || last <= baseTxId) return false;
  return state.shared.now() - baseAtMs >= state.shared.settings.snapshotIntervalMs;
}

/** Trims what is stored and checkpointed, and removes generations that are over. */
export async function tidy(state: DatabaseState, isHealing = state.isHealing): Promise<void> {
  const { checkpoint } = state.cursor.value();
  for (const chapter of state.chapters) {
    const bound = trimBound(chapter, state.chapters, checkpoint, isHealing);
    if (bound !== null) await chapter.shadow.trim(bound);
  }
  await removeFinished(state, isHealing);
}

async function removeFinished(state: DatabaseState, isHealing: boolean): Promise<void> {
  const { checkpoint } = state.cursor.value();
  const finished = state.chapters.filter(
    (chapter) =>
      isFinished(chapter, state.chapters, checkpoint, isHealing) && !state.uploads.isBusy(chapter.generation),
  );
  if (finished.length === 0) return;
  const names = new Set(finished.map((chapter) => chapter.generation));
  state.chapters = state.chapters.filter((chapter) => !names.has(chapter.generation));
  const { generations } = state.cursor.value();
  state.cursor.update({ generations: generations.filter(({ generation }) => !names.has(generation)) });
  await state.cursor.save();
  for (const chapter of finished) await removeChapter(chapter);
}

/**
 * Looks after a shadow that is over its bound: first what can be trimmed is learned; if that does not help for a while it is
 * squashed, and again each time it has grown by a quarter since.
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
  } else if (nowMs >= state.overSinceMs + silentMs && bytes >= state.squashedBytes * 1.25) {
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

/** Takes what the host needs: remembers what it stored, and heals what it misses. */
export function acceptNeeds(state: DatabaseState, needs: Needs): void {
  const nowMs = performance.now();
  for (const chapter of state.chapters) {
    chapter.storedTxId = needs.generations[chapter.generation]?.storedTxId ?? null;
  }
  const { epochMax } = state.cursor.value();
  if (needs.newestEpoch > epochMax) state.cursor.update({ epochMax: needs.newestEpoch });
  const facts = state.chapters.map((chapter) => ({
    generation: chapter.generation,
    isCurrent: chapter === state.chapters.at(-1),
    acknowledgedTxId: chapter.cursor().acknowledgedTxId,
    baseTxId: chapter.cursor().baseTxId,
    entries: chapter.shadow.entries(),
    sinceAcknowledgedMs: nowMs - state.lastAcknowledgedMs,
  }));
  for (const healing of planHealing(needs, facts)) {
    const chapter = state.chapters.find((one) => one.generation === healing.generation);
    const resend = healing.resend.filter((range) =>
      isNewly(state, `${healing.generation}/${formatTxId(range.txId)}`),
    );
    if (chapter !== undefined) state.sender.resend(chapter, resend);
    if (healing.snapshot && isNewly(state, `${healing.generation}/snapshot`)) requestBase(state);
  }
  inBackground(state, () => tidy(state));
}

function isNewly(state: DatabaseState, what: string): boolean {
  const nowMs = performance.now();
  for (const [key, atMs] of state.healedMs) {
    if (nowMs > atMs + healAgainMs) state.healedMs.delete(key);
  }
  if (state.healedMs.has(what)) return false;
  state.healedMs.set(what, nowMs);
  return true;
}

/** Whether what a chapter holds will be points of the archive: it stands on something, and has no hole. */
export function isWhole(state: DatabaseState, chapter: Chapter): boolean {
  return !chapter.cursor().isAbandoned && (!needsBase(chapter) || state.uploads.isBusy(chapter.generation));
}
