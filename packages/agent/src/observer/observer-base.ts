// Bases of an observed database: an image that is written by the first look, or copied block by block against the page table in
// short views, so that no reader pins pages for long and commits go on meanwhile.

import {
  type BaseImage,
  copySome,
  createBaseImage,
  finishImage,
  isWhole,
  wantedBlocks,
} from "../sources/base-image.ts";
import type { BaseEvent, CaptureEvent } from "../sources/capture-event.ts";
import { createImageFile } from "../sources/database-file.ts";
import { metaOf, readPages } from "./observed-database.ts";
import { pauseReading } from "./observer-pace.ts";
import { type ObserverState, raise, wantLook } from "./observer-state.ts";

/** Pages copied between two commits: the commit that comes meanwhile waits for less than a millisecond of reading. */
const slicePages = 64;

/** After a failure to write the image it is tried again so often. */
const imageRetryMs = 5000;

/** The image that is on its way, or a new one; undefined where it cannot be made now. */
export function openImage(state: ObserverState): BaseImage | undefined {
  const clockMs = state.clockMs();
  if (state.image !== undefined || clockMs < state.imageAtMs) return state.image;
  try {
    state.image = createBaseImage(createImageFile(state.scratch), clockMs);
  } catch (error) {
    imageFailed(state, error);
  }
  return state.image;
}

/** The image could not be written: it begins again later, and everything else goes on. */
export function imageFailed(state: ObserverState, error: unknown): void {
  dropImage(state);
  state.isBaseWanted = true;
  state.imageAtMs = state.clockMs() + imageRetryMs;
  const reason =
    error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.message) : String(error);
  const isFull = reason === "ENOSPC" || reason === "EDQUOT";
  const message = `${state.database.path}: a base could not be written to the scratch directory (${reason})`;
  const hint = isFull
    ? "Free space in the scratch directory; it needs as much as the database is long."
    : "See whether the scratch directory can be written to.";
  raise(state, isFull ? "disk-full" : "unavailable", message, hint);
}

/** Removes an image that is on its way. */
export function dropImage(state: ObserverState): void {
  state.image?.file.discard();
  state.image = undefined;
}

/** Whether there is something to copy now. */
export function isCopying(state: ObserverState): boolean {
  if (state.now === undefined || state.look !== undefined) return false;
  return state.image !== undefined || (state.isBaseWanted && state.clockMs() >= state.imageAtMs);
}

/** Copies a slice, and tells the base when that was the last. */
export async function* copyOn(state: ObserverState): AsyncGenerator<CaptureEvent> {
  const { now, database } = state;
  const image = openImage(state);
  if (now === undefined || image === undefined) return;
  const wanted = wantedBlocks(image, now.table, slicePages);
  if (wanted !== undefined) {
    const { first, count } = wanted;
    const pages = await database.view((transaction) => readPages(database, transaction, first, count));
    write(state, () => copySome(image, now.table, readerOf(pages), count));
    await pauseReading(state, pages.length);
    return;
  }
  if (isWhole(image, now.table)) {
    yield* tellBase(state);
    return;
  }
  // Some blocks were not what the table says when they were read: a commit that was not told yet explains that, and brings them.
  image.cursor = 2;
  if (image.missed > 0 && state.line.isEmpty() && !(await hasMoved(state))) wantLook(state, "unproved");
  image.missed = 0;
}

function write(state: ObserverState, act: () => void): void {
  try {
    act();
  } catch (error) {
    imageFailed(state, error);
  }
}

function readerOf(pages: Uint8Array) {
  return (_position: number, into: Uint8Array): number => {
    into.set(pages);
    return pages.length;
  };
}

/** Whether the database is beyond what is settled. */
async function hasMoved({ database, now }: ObserverState): Promise<boolean> {
  const newest = await database.view(async (transaction) => metaOf(database, transaction).txId);
  return newest !== now?.meta.txId;
}

/** Tells the image as a base, if it is whole. */
export function* tellBase(state: ObserverState): Generator<CaptureEvent> {
  const { now, known, image } = state;
  if (now === undefined || known === null || image === undefined || !isWhole(image, now.table)) return;
  const { txId, pageSize, highWaterMark } = now.meta;
  write(state, () => finishImage(image, { ...now.meta, checksum: 0n }));
  if (state.image === undefined) return;
  state.image = undefined;
  state.isMuted = false;
  state.isBaseWanted = false;
  const { stateHash } = known;
  state.emitted = { txId, stateHash };
  state.toldTxId = txId;
  for (const code of ["disk-full", "unavailable"] as const) {
    if (state.alarms.delete(code)) yield { type: "cleared", code };
  }
  const { stampMs } = state;
  const imagePath = image.file.path;
  const base: BaseEvent = { type: "base", txId, imagePath, pageSize, highWaterMark, stateHash, stampMs };
  yield base;
}
