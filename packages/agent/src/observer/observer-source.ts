// The observer as a source: what an application tells goes in by `flush`, and comes out as the events of any other source. The
// consumer's pull drives everything: while it takes nothing, what is told waits in the line, and is merged there.
import type { MetaFields } from "@pageferry/format";
import { readPageTable, writePageTable } from "../page-table-file.ts";
import { overlayFrames } from "../sources/base-image.ts";
import type { BoltFileSourceOptions, CaptureEvent, CaptureSource } from "../sources/capture-event.ts";
import { openScratch } from "../sources/database-file.ts";
import { createWake } from "../wake.ts";
import { createFlushLine, type FlushLineFigures, type FlushRange } from "./flush-line.ts";
import { metaOf, type ObservedDatabase } from "./observed-database.ts";
import { advanceState } from "./observed-state.ts";
import { copyOn, dropImage, imageFailed, isCopying } from "./observer-base.ts";
import { cleared, look, noInode, readFailed, tellDelta, unforeseen } from "./observer-look.ts";
import { giveWay } from "./observer-pace.ts";
import {
  type LookReason,
  type ObserverFigures,
  type ObserverState,
  type ObserverTimes,
  raise,
  wantLook,
} from "./observer-state.ts";
import { copyFlush, flushBytes, flushTxId, type PageFlushInfo } from "./page-flush.ts";

/** What an observer holds and has counted. */
export interface ObserverStatus extends ObserverFigures, FlushLineFigures {
  /** Memory held by what waits. */
  readonly waitingBytes: number;
}

/** A source that is told. */
export interface ObserverSource extends CaptureSource {
  /** Takes a copy and returns. Never throws, never waits. */
  flush(info: PageFlushInfo): void;
  status(): ObserverStatus;
  /** When the oldest of what waits was told. */
  oldestMs(): number | undefined;
}

/** How to open one. */
export interface ObserverSourceOptions extends BoltFileSourceOptions {
  readonly database: ObservedDatabase;
  /** Told before each look at the whole database. */
  readonly onLook?: (reason: LookReason) => void;
  /** For tests. */
  readonly times?: Partial<ObserverTimes>;
}

/**
 * Waiting pages are merged above 8 MiB, about a second of a busy writer, and let go above 64 MiB, as much as a delta may hold: the
 * database itself has them, and reading them again is cheaper than the memory of the application.
 */
const timesDefault: ObserverTimes = {
  gapMs: 1000,
  retryMs: 1000,
  doubtMs: 1000,
  mergeBytes: 8 * 1024 * 1024,
  bytesMax: 64 * 1024 * 1024,
};

const stopDeadlineMsDefault = 5000;

/** An application that tells nonsense is an alarm until it has not for so long. */
const refusedMs = 60_000;

/** The loop looks for what is due at least this often. */
const idleMs = 1000;

/** Opens the source. Throws when the scratch directory cannot be made. */
export function openObserverSource(options: ObserverSourceOptions): ObserverSource {
  const state = createState(options);
  return {
    events: capture(state),
    flush: (info) => flush(state, info),
    status: () => ({ ...state.figures, ...state.line.figures, waitingBytes: state.line.bytes() }),
    oldestMs: () => state.unreadSinceMs ?? state.line.oldestMs(),
    requestBase() {
      state.isBaseWanted = true;
      state.wake.notify();
    },
    checkpoint(path) {
      state.checkpointPath = path;
      state.wake.notify();
    },
    stop({ deadlineMs = stopDeadlineMsDefault } = {}) {
      state.stopAtMs = state.clockMs() + deadlineMs;
      // What was committed and never told is looked for.
      state.isDoubted = true;
      state.doubtAtMs = 0;
      state.wake.notify();
    },
  };
}

function createState(options: ObserverSourceOptions): ObserverState {
  const { database, reference } = options;
  const times = { ...timesDefault, ...options.times };
  const known = reference === undefined ? null : knownOf(reference);
  return {
    ...{ options, database, times, known, clockMs: () => performance.now(), inode: noInode() },
    ...{ line: createFlushLine(times), wake: createWake() },
    figures: {
      ...{ taken: 0, repeated: 0, late: 0, letGo: 0, refused: 0, deltas: 0 },
      looks: { start: 0, gap: 0, "let go": 0, refused: 0, unproved: 0, changed: 0 },
    },
    onLook: options.onLook ?? (() => {}),
    scratch: openScratch(options.scratchDir, options.path),
    now: undefined,
    emitted: known && { txId: known.txId, stateHash: known.stateHash },
    ...{ isBegun: false, isMuted: false, isSuspect: false, isDoubted: false },
    ...{ look: "start", lookAtMs: 0, unreadSinceMs: undefined, gapSinceMs: undefined, doubtAtMs: 0 },
    ...{ image: undefined, isBaseWanted: known?.table == null, imageAtMs: 0 },
    ...{ checkpointPath: undefined, stopAtMs: undefined, stampMs: 0, toldTxId: undefined },
    ...{ raised: [], alarms: new Set(), refusedAtMs: 0, turnAtMs: performance.now(), readableAtMs: 0 },
  };
}

/** The reference with its table; without, where that cannot be read or is of another state. */
function knownOf(reference: NonNullable<BoltFileSourceOptions["reference"]>) {
  const { txId, stateHash, identity } = reference;
  try {
    const saved = readPageTable(reference.tablePath);
    const isExact = saved.txId === txId && saved.stateHash === stateHash;
    return { txId, stateHash, identity, table: isExact ? saved.table : null };
  } catch {
    return { txId, stateHash, identity, table: null };
  }
}

function flush(state: ObserverState, info: PageFlushInfo): void {
  const { line, figures, options, times } = state;
  if (state.stopAtMs !== undefined) {
    figures.late += 1;
    return;
  }
  try {
    const stampMs = options.now();
    if (flushBytes(info) > times.bytesMax) {
      line.letGo(flushTxId(info), stampMs);
      figures.letGo += 1;
    } else offer(state, info, stampMs);
  } catch (error) {
    figures.refused += 1;
    state.refusedAtMs = state.clockMs();
    const { code, message, hint } = unforeseen(error);
    raise(state, code === "corrupt" ? "bad-request" : code, `${state.database.path}: ${message}`, hint);
    wantLook(state, "refused");
  }
  state.wake.notify();
}

function offer(state: ObserverState, info: PageFlushInfo, stampMs: number): void {
  const { line, figures, database } = state;
  const offered = line.offer(copyFlush(info, database.pageSize, stampMs));
  if (offered === "taken") figures.taken += 1;
  else if (offered === "let go") figures.letGo += 1;
  else {
    figures.repeated += 1;
    state.isDoubted = true;
  }
}

/** The life of a source. It ends when it is stopped, or when its consumer leaves. */
async function* capture(state: ObserverState): AsyncGenerator<CaptureEvent> {
  using _ = { [Symbol.dispose]: () => end(state) };
  for (;;) {
    await giveWay(state);
    yield* state.raised.splice(0);
    yield* cleared(state, ...codesThatAreOver(state));
    yield* checkpoint(state);
    await resolveDoubt(state);
    decideToLook(state);
    if (state.look !== undefined) {
      if (isEnding(state)) break;
      yield* tellSeen(state);
      if (state.clockMs() >= state.lookAtMs) yield* look(state);
      else await state.wake.wait(state.lookAtMs - state.clockMs());
      continue;
    }
    const range = state.now && state.line.next(state.now.meta.txId);
    if (range !== undefined) yield* follow(state, range);
    else state.gapSinceMs = state.line.isEmpty() ? undefined : (state.gapSinceMs ?? state.clockMs());
    if (isCopying(state)) yield* copy(state);
    else if (range === undefined) {
      if (isEnding(state)) break;
      await state.wake.wait(waitMs(state));
    }
  }
  yield { type: "stopped" };
}

function end(state: ObserverState): void {
  state.stopAtMs ??= state.clockMs();
  dropImage(state);
  state.line.restart();
}

/** Whether it was stopped, and everything is told or the time is over. */
function isEnding({ stopAtMs, clockMs, look: wanted, line, isDoubted }: ObserverState): boolean {
  if (stopAtMs === undefined) return false;
  return clockMs() >= stopAtMs || (wanted === undefined && line.isEmpty() && !isDoubted);
}

function codesThatAreOver(state: ObserverState): "bad-request"[] {
  return state.clockMs() >= state.refusedAtMs + refusedMs ? ["bad-request"] : [];
}

/** Whether something is missing is known after a while, or at once when no more will be told. */
function decideToLook(state: ObserverState): void {
  const { line, now } = state;
  if (line.isLost()) wantLook(state, "let go");
  else if (state.gapSinceMs !== undefined && now !== undefined) {
    const isOver = state.clockMs() >= state.gapSinceMs + state.times.gapMs || state.stopAtMs !== undefined;
    if (isOver) wantLook(state, "gap");
  }
}

/**
 * Asks the database whether we are where it is: after a call that told what is known, which is most often a repetition, and now and
 * then beside what is told, since a root that was not told leaves a tree that looks whole. If it is elsewhere, it has another history.
 */
async function resolveDoubt(state: ObserverState): Promise<void> {
  const { now, database } = state;
  if (!state.isDoubted || now === undefined || state.clockMs() < state.doubtAtMs) return;
  const isStopping = state.stopAtMs !== undefined;
  // What waits comes first: then all that was told is settled.
  if (isStopping && !state.line.isEmpty()) return;
  state.isDoubted = false;
  state.doubtAtMs = state.clockMs() + state.times.doubtMs;
  try {
    const found = await database.view(async (transaction) => metaOf(database, transaction));
    const { txId } = now.meta;
    const isOther = found.txId === txId && !isSameMeta(found, now.meta);
    const isBeyond = isStopping && found.txId > txId;
    if (found.txId < txId || isOther) state.isSuspect = true;
    if (state.isSuspect || isBeyond) wantLook(state, "changed");
  } catch {
    // A database that is closed has nothing to say; one that cannot be read says so when it is looked at.
  }
}

function isSameMeta(a: MetaFields, b: MetaFields): boolean {
  const isSameTree = a.root === b.root && a.sequence === b.sequence && a.flags === b.flags;
  return isSameTree && a.freelist === b.freelist && a.highWaterMark === b.highWaterMark;
}

/** Settles a range, and tells it. */
async function* follow(state: ObserverState, range: FlushRange): AsyncGenerator<CaptureEvent> {
  const { now, known, image } = state;
  if (now === undefined || known === null) return;
  state.gapSinceMs = undefined;
  const advanced = advanceState(now, range);
  if (advanced === undefined) {
    wantLook(state, "unproved");
    return;
  }
  const { outcome } = advanced;
  if (image !== undefined) {
    try {
      overlayFrames(image, range.pageSize, outcome.frames);
    } catch (error) {
      imageFailed(state, error);
    }
  }
  state.now = advanced.state;
  state.isDoubted = true;
  const { table, meta } = advanced.state;
  state.known = { txId: meta.txId, stateHash: outcome.post, identity: known.identity, table };
  state.stampMs = Math.max(state.stampMs, range.stampMs);
  if (!state.isMuted) yield tellDelta(state, known.txId, outcome);
}

async function* copy(state: ObserverState): AsyncGenerator<CaptureEvent> {
  try {
    yield* copyOn(state);
  } catch (error) {
    readFailed(state, error);
    state.imageAtMs = state.clockMs() + state.times.retryMs;
    wantLook(state, "unproved");
  }
}

/** Tells how far the database is, where that cannot be told by what follows: what is found will not be before it. */
function* tellSeen(state: ObserverState): Generator<CaptureEvent> {
  const newest = state.line.newestTxId();
  if (newest === undefined || newest <= (state.toldTxId ?? -1n) || !state.isBegun || state.isSuspect) return;
  state.toldTxId = newest;
  yield { type: "seen", txId: newest, atMs: state.line.oldestMs() ?? state.options.now() };
}

async function* checkpoint(state: ObserverState): AsyncGenerator<CaptureEvent> {
  const { checkpointPath: path, known } = state;
  // Only of what was told: a restart goes on from what the agent has.
  if (path === undefined || !state.isBegun || state.isMuted || known?.table == null) return;
  state.checkpointPath = undefined;
  const { txId, stateHash, table } = known;
  try {
    await writePageTable(path, { txId, stateHash, table });
    yield { type: "checkpoint", txId, stateHash, path };
    yield* cleared(state, "disk-full");
  } catch (error) {
    const { code, message, hint } = unforeseen(error);
    raise(state, code, `${path}: the page table could not be written: ${message}`, hint);
  }
}

/** How long nothing will be due: what is told, asked for or stopped wakes. */
function waitMs({ gapSinceMs, times, clockMs }: ObserverState): number {
  const gapMs = gapSinceMs === undefined ? idleMs : gapSinceMs + times.gapMs - clockMs();
  return Math.max(0, Math.min(idleMs, gapMs));
}
