// A step of a shadow directory's feed: finds a mirror to begin with, then goes from transaction to transaction, jumps to a snapshot
// where none leads on, and removes what is stored.
import { randomBytes } from "node:crypto";
import { closeSync, openSync, readSync, rmSync, utimesSync } from "node:fs";
import { rm } from "node:fs/promises";
import { basename } from "node:path";
import { detectPageSize, type Generation, isPageferryError, type Meta, type TxId } from "@pageferry/format";
import { createMetaReader } from "./bolt-io.ts";
import {
  attempt,
  failed,
  historyOf,
  idleLookMs,
  isMirrorGone,
  isOurs,
  isPast,
  note,
  noteStuck,
  refreshListing,
  type ShadowFeed,
  start,
  takeNext,
} from "./shadow-directory-feed.ts";
import type { MadeImage } from "./shadow-directory-image.ts";
import type { ListedSnapshot } from "./shadow-directory-listing.ts";
import type { History } from "./shadow-directory-memory.ts";
import { openMirror } from "./shadow-directory-mirror.ts";
import { decideJump, type Jump } from "./shadow-directory-plan.ts";
import { stepTrim } from "./shadow-directory-release.ts";
import { isDrained } from "./tailer.ts";
import { dropImage } from "./tailer-base.ts";
import { closeSession } from "./tailer-file.ts";
import { clear, type Tailer } from "./tailer-state.ts";

/** While an image is copied, it gets this many turns for each transaction. */
const copyTurns = 16;

/** Does what is next. Answers how long to wait; undefined: it is the tailer's turn. */
export function stepFeed(feed: ShadowFeed, tailer: Tailer, canEmit: boolean): number | undefined {
  try {
    return step(feed, tailer, canEmit);
  } catch (error) {
    failed(feed, tailer, error);
    return idleLookMs;
  }
}

function step(feed: ShadowFeed, tailer: Tailer, canEmit: boolean): number | undefined {
  const { clockMs } = feed.options;
  if (feed.job !== undefined || feed.closing.signal.aborted) return idleLookMs;
  if (clockMs() < feed.retryAtMs) return feed.retryAtMs - clockMs();
  if (feed.mirror === undefined) return stepStart(feed, tailer);
  // What is wrong in our own file is made good by another one.
  if (isMirrorGone(feed) || tailer.alarms.has("corrupt")) return loseMirror(feed, tailer);
  if (!isDrained(tailer)) return undefined;
  feed.isIdle = false;
  const isCopying = tailer.image !== undefined && feed.turns++ % copyTurns !== 0;
  if (!canEmit || isCopying) return undefined;
  const isTrimLate = clockMs() > feed.trimmedAtMs + trimLateMs;
  if (!isTrimLate && takeNext(feed, tailer)) return 0;
  if (feed.job === undefined) stepAside(feed, tailer, isTrimLate);
  feed.isIdle = feed.job === undefined && !isTrimLate;
  return isTrimLate ? 0 : idleLookMs;
}

/** A writer that never rests must not fill its disk. */
const trimLateMs = 30_000;

/** No segment leads on, or it is time to make room: looks for a snapshot to go on from, and removes what is stored. */
function stepAside(feed: ShadowFeed, tailer: Tailer, isTrimLate: boolean): void {
  const { known } = tailer;
  if (known === null || !refreshListing(feed, tailer)) return;
  const { txId } = known;
  const jump = isTrimLate ? undefined : nextJump(feed, { txId, stampMs: feed.stampMs });
  if (jump !== undefined) {
    startJump(feed, tailer, jump);
    return;
  }
  if (!isTrimLate) noteStuck(feed, tailer, txId);
  stepTrim(feed, tailer, txId, (snapshot) => startJump(feed, tailer, { snapshot, seam: "unprovable" }));
}

/** Ends it. False: what takes its time is still ending. */
export function closeFeed(feed: ShadowFeed): boolean {
  feed.closing.abort();
  feed.mirror?.close();
  feed.mirror = undefined;
  return feed.job === undefined;
}

/** The state that a mirror must be at, or beyond. */
function targetOf(feed: ShadowFeed, tailer: Tailer) {
  const { known } = tailer;
  return known ?? feed.options.reference;
}

/** Finds a mirror: the one of before, one that leads to the known state, or a snapshot. */
function stepStart(feed: ShadowFeed, tailer: Tailer): number {
  const target = targetOf(feed, tailer);
  const path = feed.memory.mirrorPath();
  if (path !== undefined && !feed.isLost) {
    start(feed, tailer, () => adoptBefore(feed, path, target));
    return 0;
  }
  if (!refreshListing(feed, tailer)) return idleLookMs;
  if (target !== null && !feed.isLost) {
    start(feed, tailer, () => rebuild(feed, target));
    return 0;
  }
  const jump = nextJump(feed, target === null ? null : { txId: target.txId, stampMs: feed.stampMs });
  if (jump !== undefined) startJump(feed, tailer, jump);
  // Nothing could be captured by waiting here: a stop need not.
  feed.isIdle = jump === undefined;
  return idleLookMs;
}

type Target = { readonly txId: TxId; readonly stateHash: bigint } | null;

/** The mirror of before: as it is if it was written on this boot; else it must be shown to be whole. */
async function adoptBefore(feed: ShadowFeed, path: string, target: Target): Promise<void> {
  const { memory, maker, options } = feed;
  const { bootId } = options.machine;
  const meta = newestMetaOf(path);
  const isBehind = meta === undefined || (target !== null && meta.txId < target.txId);
  let isTrusted = !isBehind && bootId !== "" && memory.value().bootId === bootId;
  if (!isBehind && !isTrusted) {
    const stateHash = await maker.measure(path);
    isTrusted = target === null ? stateHash !== undefined : stateHash === target.stateHash;
    if (isTrusted) memory.save({ ...memory.value(), bootId });
  }
  if (isTrusted && historyOf(feed) !== undefined) {
    useMirror(feed, path);
    return;
  }
  feed.stampMs = stampOf(path) ?? Date.now();
  memory.save({ ...memory.value(), mirror: null });
  memory.sweep();
}

function newestMetaOf(path: string): Meta | undefined {
  try {
    const fd = openSync(path, "r");
    try {
      const readAt = (position: number, into: Uint8Array) => readSync(fd, into, 0, into.length, position);
      const pageSize = detectPageSize((position, length) => {
        const bytes = new Uint8Array(length);
        return bytes.subarray(0, readAt(position, bytes));
      });
      return pageSize === undefined ? undefined : createMetaReader(readAt, pageSize).read()?.meta;
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}

function stampOf(path: string): number | undefined {
  try {
    const mirror = openMirror(path);
    const stampMs = mirror.stampMs();
    mirror.close();
    return stampMs;
  } catch {
    return undefined;
  }
}

/** Makes the mirror again, from the newest snapshot that leads to the state that is known. */
async function rebuild(feed: ShadowFeed, target: NonNullable<Target>): Promise<void> {
  const { memory, maker, listing } = feed;
  const below = snapshotsOf(feed).filter(({ txId }) => txId <= target.txId);
  below.sort((a, b) => Number(b.txId - a.txId) || b.createdAtMs - a.createdAtMs);
  for (const snapshot of below.slice(0, rebuildsMax)) {
    if (feed.readings.of(snapshot) === "unfinished") continue;
    const image = await maker.leadingTo(target, snapshot, memory.newPath()).catch(unlessItPasses);
    if (image === undefined) continue;
    const from = [...listing.generations.values()].find(({ txIds }) => txIds.includes(target.txId));
    const history = historyOf(feed) ?? newHistory(from?.generation ?? snapshot.generation, feed);
    adopt(
      feed,
      image,
      [...memory.value().histories.slice(0, -1), history],
      feed.stampMs || snapshot.createdAtMs,
    );
    return;
  }
  feed.isLost = true;
}

/** What is wrong with the files says that they do not lead there; a full disk says nothing. */
function unlessItPasses(error: unknown): undefined {
  if (!isPageferryError(error) || error.remedy === "retry") throw error;
}

/** Snapshots that are tried; each costs as much as a whole restore. */
const rebuildsMax = 3;

function snapshotsOf({ listing }: ShadowFeed): ListedSnapshot[] {
  return [...listing.generations.values()].flatMap(({ snapshots }) => snapshots);
}

function nextJump(feed: ShadowFeed, position: { readonly txId: TxId; readonly stampMs: number } | null) {
  const { memory, readings } = feed;
  return decideJump({
    position,
    snapshots: snapshotsOf(feed),
    isOurs: (generation) => isOurs(memory, generation),
    isPassed: (snapshot) => isPast(memory, snapshot.generation) || readings.of(snapshot) === "unfinished",
    nowMs: Date.now(),
  });
}

/** Goes on from a snapshot, once it was read and found sound. */
function startJump(feed: ShadowFeed, tailer: Tailer, { snapshot, seam }: Jump): void {
  const { memory, readings, states } = feed;
  start(feed, tailer, async () => {
    const image = await readings.read(snapshot, memory.newPath());
    if (image === undefined) return;
    if (seam === "replaced" && states.get(image.txId) === image.stateHash) {
      // It is one of our own states, from a process that committed nothing else yet.
      await rm(image.path, { force: true });
      include(feed, snapshot.generation);
      return;
    }
    dropImage(tailer);
    closeSession(tailer);
    if (seam !== "same") states.clear();
    adopt(feed, image, historiesAfter(feed, snapshot.generation, seam), snapshot.createdAtMs);
    note(feed, image.txId, image.stateHash);
    clear(tailer, "gap");
    feed.stuckSinceMs = undefined;
  });
}

/** Takes a generation as one of ours that the history does not go on in. */
function include(feed: ShadowFeed, generation: Generation): void {
  const memory = feed.memory.value();
  const history = memory.histories.at(-1);
  if (history === undefined || history.generations.includes(generation)) return;
  const generations = [generation, ...history.generations];
  feed.memory.save({ ...memory, histories: [...memory.histories.slice(0, -1), { ...history, generations }] });
}

function historiesAfter(feed: ShadowFeed, generation: Generation, seam: Jump["seam"]): History[] {
  const { histories } = feed.memory.value();
  const current = histories.at(-1);
  if (seam === "same" && current !== undefined) {
    const generations = [...current.generations.filter((one) => one !== generation), generation];
    return [...histories.slice(0, -1), { ...current, generations }];
  }
  const begun = newHistory(generation, feed);
  const database = seam === "unprovable" ? begun.database : randomName();
  // A generation that goes on is of the history that goes on.
  const left = histories.map((one) => ({
    ...one,
    generations: one.generations.filter((name) => name !== generation),
  }));
  return [...left, { ...begun, database }];
}

function newHistory(generation: Generation, feed: ShadowFeed): History {
  const before = historyOf(feed)?.database ?? feed.options.reference?.identity.inode;
  return { database: before ?? randomName(), origin: randomName(), generations: [generation], overAt: null };
}

function randomName(): string {
  return randomBytes(8).toString("hex");
}

/** Makes an image the mirror. What is remembered says which; a kill before leaves the old one, after it the new one. */
function adopt(feed: ShadowFeed, image: MadeImage, histories: readonly History[], stampMs: number): void {
  const { memory, options } = feed;
  // Somebody else may have the directory by now.
  feed.closing.signal.throwIfAborted();
  utimesSync(image.path, stampMs / 1000, stampMs / 1000);
  try {
    memory.save({ mirror: basename(image.path), bootId: options.machine.bootId, histories });
  } catch (error) {
    rmSync(image.path, { force: true });
    throw error;
  }
  useMirror(feed, image.path);
  memory.sweep();
}

function useMirror(feed: ShadowFeed, path: string): void {
  feed.closing.signal.throwIfAborted();
  feed.mirror?.close();
  feed.mirror = openMirror(path);
  feed.stampMs = Math.min(feed.mirror.stampMs(), Date.now());
  feed.isLost = false;
}

/** Somebody removed the mirror: it is made again. */
function loseMirror(feed: ShadowFeed, tailer: Tailer): number {
  attempt(feed, tailer, () => {
    feed.memory.save({ ...feed.memory.value(), mirror: null });
    closeSession(tailer);
    feed.mirror?.close();
    feed.mirror = undefined;
    feed.isLost = false;
    tailer.corruptSinceMs = undefined;
    clear(tailer, "corrupt");
  });
  return 0;
}
