// One source inside the worker: a tailer with real files, its notifications, its memory in flight, and its end.
import { type FSWatcher, rmSync, watch } from "node:fs";
import type { TxId } from "@pageferry/format";
import type { MachineIdentity } from "../identity.ts";
import { readPageTable } from "../page-table-file.ts";
import type { CaptureReference, DeltaEvent } from "./capture-event.ts";
import {
  cloneDatabaseFile,
  kernelPath,
  openDatabaseFile,
  openScratch,
  pathStateOf,
} from "./database-file.ts";
import type { CheckImage } from "./image-checks.ts";
import { createPlacedImage, type ImagePlaces } from "./image-places.ts";
import type { KeepLinks } from "./link-keeper.ts";
import type { LockTable } from "./locks.ts";
import { feedOf, mirrorEnvironment } from "./shadow-directory-environment.ts";
import { type ShadowFeed, watchedPath } from "./shadow-directory-feed.ts";
import { noteStored } from "./shadow-directory-release.ts";
import { closeFeed, stepFeed } from "./shadow-directory-step.ts";
import { endTailer, isAtLoss, isDrained, restTailer, stepTailer, wakeTailer } from "./tailer.ts";
import { idlePollMs } from "./tailer-pace.ts";
import { createTailer, type Tailer, type TailerEnvironment, type TailerEvent } from "./tailer-state.ts";
import type { OpenOrder, WorkerReport } from "./worker-messages.ts";

/**
 * Bytes of events that may be on their way to the consumer of one source: enough for hundreds of common transactions, little
 * enough for the process's memory. Above it, deltas are merged instead of sent.
 */
const inFlightKibMax = 16 * 1024;
/** A source that waits for longer sleeps until its file changes. */
const asleepMs = 50;
/** What is still ending is looked at again after this. */
const endLookMs = 20;
/** Sleepers wake together, so many times in the longest sleep, so that a thousand of them do not wake the thread a thousand times. */
const wakesASleep = 10;

/** What all sources of a worker share. */
export interface HostShare {
  readonly machine: MachineIdentity;
  readonly locks: LockTable;
  readonly checkImage: CheckImage;
  readonly images: ImagePlaces;
  readonly keepLinks: KeepLinks;
  readonly clockMs: () => number;
  /** How long a source sleeps whose changes are told to it, ms; the more there are, the longer. */
  readonly sleepMs: () => number;
  report(report: WorkerReport, transfer: ArrayBuffer[]): void;
  /** Ends the sleep of the loop. */
  wake(): void;
}

export interface HostedSource {
  readonly id: number;
  /** When to step next, on the clock. */
  readonly dueMs: number;
  /** A step; false: the source has ended. */
  step(): boolean;
  requestBase(): void;
  checkpoint(path: string): void;
  /** What of a history is stored; only a shadow directory is trimmed. */
  stored(origin: string, txId: TxId, isOver: boolean): void;
  stop(deadlineMs: number): void;
}

interface Held {
  readonly id: number;
  readonly share: HostShare;
  readonly tailer: Tailer;
  /** What writes the file that is tailed, where that is a mirror. */
  readonly feed: ShadowFeed | undefined;
  readonly path: string;
  dueMs: number;
  /** What was sent so far, modulo 2^32; the consumer counts what it is done with. */
  sentKib: number;
  readonly consumedKib: Uint32Array<SharedArrayBuffer>;
  watcher: FSWatcher | undefined;
  checkpointPath: string | undefined;
  stopAtMs: number | undefined;
}

/** Opens a source. Throws when the scratch directory cannot be made. */
export function hostSource(id: number, order: OpenOrder, share: HostShare): HostedSource {
  const wakeUp = (): void => {
    held.dueMs = 0;
    share.wake();
  };
  const emit = (event: TailerEvent): void => send(held, event);
  const feed = order.shadow === null ? undefined : feedOf(order, order.shadow, share, wakeUp);
  const held: Held = {
    id,
    share,
    feed,
    tailer: createTailer({
      path: order.path,
      known: order.reference === null ? null : knownOf(order.reference),
      forced: order.forced,
      isKnownRestored: order.isReferenceRestored,
      maxReadRate: order.maxReadRate,
      baseDeadlineMs: order.baseDeadlineMs,
      environment:
        feed === undefined ? environmentOf(order, share, emit) : mirrorEnvironment(order, share, feed, emit),
    }),
    path: order.path,
    dueMs: 0,
    sentKib: 0,
    consumedKib: order.consumedKib,
    watcher: undefined,
    checkpointPath: undefined,
    stopAtMs: undefined,
  };
  const now = (): void => {
    held.dueMs = 0;
  };
  return {
    id,
    get dueMs() {
      return held.dueMs;
    },
    step: () => step(held),
    requestBase() {
      held.tailer.isBaseWanted = true;
      now();
    },
    checkpoint(path) {
      held.checkpointPath = path;
      now();
    },
    stored(origin, txId, isOver) {
      if (feed !== undefined) noteStored(feed, origin, txId, isOver);
    },
    stop(deadlineMs) {
      held.stopAtMs = share.clockMs() + deadlineMs;
      now();
    },
  };
}

/** The reference with its table; without, where the table cannot be read or is of another state. */
function knownOf(reference: CaptureReference) {
  const { txId, stateHash, identity } = reference;
  try {
    const saved = readPageTable(reference.tablePath);
    const isExact = saved.txId === txId && saved.stateHash === stateHash;
    return { txId, stateHash, identity, table: isExact ? saved.table : null };
  } catch {
    return { txId, stateHash, identity, table: null };
  }
}

function environmentOf(
  order: OpenOrder,
  share: HostShare,
  emit: (event: TailerEvent) => void,
): TailerEnvironment {
  const { path } = order;
  const scratch = openScratch(order.scratchDir, path);
  return {
    now: Date.now,
    clockMs: share.clockMs,
    openFile: () => openDatabaseFile(path, share.machine),
    pathState: (file) => pathStateOf(path, file),
    hasWriter: (file) => share.locks.isHeld(kernelPath(path), file.identity.device, file.identity.inode),
    isWrittenElsewhere: () => share.locks.isHeldUnlinked(kernelPath(path)),
    keepLinks: share.keepLinks,
    hasImageRoom: share.images.hasRoom,
    createImage: () => createPlacedImage(scratch, share.images),
    cloneFile: () => cloneDatabaseFile(path, scratch, share.machine),
    removeImage: (image) => rmSync(image, { force: true }),
    checkImage: (image, stateHash, done) => share.checkImage({ path: image, stateHash }, done),
    emit,
  };
}

function send(held: Held, event: TailerEvent): void {
  const transfer = event.type === "delta" ? buffersOf(event) : [];
  const bytes = transfer.reduce((sum, buffer) => sum + buffer.byteLength, 0);
  // Rounded up: every event costs something besides its pages.
  const kib = Math.floor(bytes / 1024) + 1;
  held.sentKib = (held.sentKib + kib) >>> 0;
  held.share.report({ kind: "event", id: held.id, event, kib }, transfer);
}

/** The memory that goes with a delta. */
function buffersOf(delta: DeltaEvent): ArrayBuffer[] {
  const buffers = new Set([delta.freed.buffer as ArrayBuffer]);
  for (const { data } of delta.frames) buffers.add(data.buffer as ArrayBuffer);
  return [...buffers];
}

function step(held: Held): boolean {
  const { tailer, share } = held;
  const inFlightKib = (held.sentKib - Atomics.load(held.consumedKib, 0)) >>> 0;
  const canEmit = inFlightKib < inFlightKibMax;
  const waitMs = stepFed(held, stepTailer(tailer, canEmit), canEmit);
  sendTable(held);
  const clockMs = share.clockMs();
  const isDone = (isDrained(tailer) || isAtLoss(tailer)) && held.feed?.isIdle !== false;
  if (held.stopAtMs !== undefined && (clockMs >= held.stopAtMs || isDone)) {
    held.watcher?.close();
    if (held.feed !== undefined && !closeFeed(held.feed)) {
      held.dueMs = clockMs + endLookMs;
      return true;
    }
    endTailer(tailer);
    share.report({ kind: "stopped", id: held.id }, []);
    return false;
  }
  if (waitMs < asleepMs) {
    held.watcher?.close();
    held.watcher = undefined;
    held.dueMs = clockMs + waitMs;
    return true;
  }
  // Between the last look and the watch a commit may have come: one more look, then sleep.
  restTailer(tailer);
  const isWatched = held.watcher !== undefined;
  if (!isWatched) watchFile(held);
  const wakeEveryMs = share.sleepMs() / wakesASleep;
  const laterMs = Math.ceil((clockMs + sleepOf(held, waitMs)) / wakeEveryMs) * wakeEveryMs;
  held.dueMs = isWatched || held.watcher === undefined ? laterMs : clockMs;
  if (held.stopAtMs !== undefined) held.dueMs = Math.min(held.dueMs, held.stopAtMs);
  return true;
}

/** Of very many sources, those that are watched and have nothing else to do sleep longer: each look costs. */
function sleepOf({ watcher, feed, share }: Held, waitMs: number): number {
  const isIdle = waitMs >= idlePollMs && watcher !== undefined && feed === undefined;
  return isIdle ? Math.max(waitMs, share.sleepMs()) : waitMs;
}

/** A mirror's own pace says when to look again; only while it is scanned or copied its tailer does. */
function stepFed({ feed, tailer }: Held, waitMs: number, canEmit: boolean): number {
  if (feed === undefined) return waitMs;
  const fedMs = stepFeed(feed, tailer, canEmit);
  if (fedMs === undefined) return waitMs;
  const isBusy = tailer.image !== undefined || !isDrained(tailer);
  return isBusy ? Math.min(waitMs, fedMs) : fedMs;
}

/** A change of the file ends its sleep; what no notification tells is found by the slow poll. */
function watchFile(held: Held): void {
  const wake = (): void => {
    wakeTailer(held.tailer);
    held.dueMs = 0;
    held.share.wake();
  };
  try {
    const path = held.feed === undefined ? held.path : watchedPath(held.feed);
    held.watcher = watch(path, { persistent: false }, wake);
    held.watcher.on("error", () => {
      held.watcher?.close();
      held.watcher = undefined;
    });
  } catch {
    // No such path now, or too many watches on this machine.
    held.watcher = undefined;
  }
}

/** Sends the page table of the newest told state, once there is one. */
function sendTable(held: Held): void {
  const { tailer, checkpointPath: path } = held;
  const { known } = tailer;
  if (path === undefined || tailer.isMuted || !tailer.isBegun || known?.table == null) return;
  held.checkpointPath = undefined;
  const { txId, stateHash, table } = known;
  const dump = table.dump();
  const dumped = { txId, stateHash, pageSize: table.pageSize, dump };
  held.share.report({ kind: "table", id: held.id, path, table: dumped }, [
    dump.live.buffer,
    dump.digests.buffer,
  ]);
}
