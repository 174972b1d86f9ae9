// One database from file to queue: takes what the source captures, in order, and keeps generations, shadow and sender going.
import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Farewell, isPageferryError, PageferryError, type TxId } from "@pageferry/format";
import { isTemporaryPath, makeDirectoryDurable } from "@pageferry/format/node";
import { type Alarms, createAlarms } from "./alarms.ts";
import { acknowledgedOf, type Chapter, historyAlarm, lostHint } from "./chapter.ts";
import { beginCompanions } from "./companions/begin.ts";
import { consume, openChapterOf } from "./consume.ts";
import { type CursorStore, openCursor } from "./cursor.ts";
import { type DatabaseLock, lockDatabase } from "./database-lock.ts";
import type { DatabasePlace, DatabaseState, SharedParts } from "./database-state.ts";
import { type DatabaseStatus, statusOf } from "./database-status.ts";
import { stopDatabase } from "./database-stop.ts";
import { noIdentity } from "./identity.ts";
import { inspectWhenDue } from "./inspect.ts";
import { createLag } from "./lag.ts";
import { acceptNeeds } from "./needs-answered.ts";
import { type Past, readPast } from "./past.ts";
import type { Pulsed } from "./pulse.ts";
import { isReserveRubbish } from "./reserve.ts";
import { type RestoredPoint, readRestored } from "./restored-note.ts";
import { restoredTableFile, restoredTablePath } from "./restored-table.ts";
import { isInTheWay } from "./retention.ts";
import { createSender } from "./send.ts";
import { isSentAsKept } from "./settings.ts";
import { createSnapshotUploads, type SnapshotUploads } from "./snapshot-upload.ts";
import type { BoltFileSourceOptions } from "./sources/capture-event.ts";
import { openShadowDirectorySource } from "./sources/shadow-directory.ts";
import { keepTableRoom, tableNumberOf } from "./table-files.ts";
import { inBackground, relieve, requestBase, requestCheckpoint, tick, tidy, untilTable } from "./upkeep.ts";
import { createWake } from "./wake.ts";
import { watchLag } from "./watch-lag.ts";
import { createStoredWatch } from "./watch-stored.ts";

/** One database at work. */
export interface DatabaseAgent extends Pulsed {
  status(): DatabaseStatus;
  /** To be called about once a second. */
  tick(): void;
  /** Sends what is captured without waiting for the sync interval. */
  hasten(): void;
  /**
   * Captures what is committed, sends what is left, and closes; what the deadline cuts off is in the shadow. With a farewell the host is told
   * that it is no longer backed up; false: it was not.
   */
  stop(deadlineMs: number, farewell?: Farewell): Promise<boolean>;
}

/** Between attempts to make the state to go on from, on a full disk. */
const readAgainMs = 1000;

/** Opens a database and begins to capture it. Throws `locked` when another agent has it. */
export async function openDatabase(shared: SharedParts, place: DatabasePlace): Promise<DatabaseAgent> {
  await makeDirectoryDurable(place.directory);
  await makeDirectoryDurable(join(place.directory, "scratch"));
  const lock = await lockDatabase({
    databasePath: place.shadowDirectory ?? place.path,
    directory: place.directory,
  });
  try {
    const state = await openState(shared, place, lock);
    const consuming = await beginCapture(state);
    state.companions = beginCompanions(state);
    return agentOf(state, consuming.ended, state.sender.run());
  } catch (error) {
    await lock.close();
    throw error;
  }
}

/** Begins to capture; wrapped, because to wait for the beginning is not to wait for the end. */
async function beginCapture(state: DatabaseState): Promise<{ readonly ended: Promise<void> }> {
  const { openSource } = state.shared;
  if (openSource === null) return { ended: Promise.resolve() };
  const past = await readPast(state);
  return { ended: past === undefined ? captureLater(state, openSource) : capture(state, past, openSource) };
}

async function openState(
  shared: SharedParts,
  place: DatabasePlace,
  lock: DatabaseLock,
): Promise<DatabaseState> {
  const alarms = createDatabaseAlarms(shared, place);
  const cursor = await openCursorOrBegin(place, alarms);
  const restoredFrom = await readRestored(place.directory).catch((error: unknown) => {
    alarms.raiseError("history", error);
    return null;
  });
  const lag = createLag();
  const abort = new AbortController();
  const uploads = createUploads({ shared, place, alarms, stateOf: () => state });
  const sender = createSender({
    database: place.name,
    host: shared.host,
    queue: shared.queue,
    policy: {
      ...shared.settings,
      batch: {
        granularity: shared.settings.granularity,
        compression: shared.settings.compression,
        isSentAsKept: isSentAsKept(shared.settings),
      },
    },
    cursor,
    uploads,
    lag,
    alarms,
    now: shared.now,
    random: shared.random,
    ...{ callGate: shared.callGate, aloneMs: shared.aloneMs },
    signal: abort.signal,
    chapters: () => state.chapters,
    requestBase: () => requestBase(state),
    onHole: () => requestCheckpoint(state, "now"),
    onAcknowledged: (chapter, txId, kind) => acknowledged(state, chapter, { txId, kind }),
    onNeeds: (needs) => acceptNeeds(state, needs),
    onWithoutNeeds() {
      state.isHealing = false;
    },
  });
  const state: DatabaseState = {
    shared,
    place,
    alarms,
    lag,
    cursor,
    lock,
    uploads,
    sender,
    abort,
    stopping: new AbortController(),
    chapters: [],
    ...{ source: undefined, isSourceHeard: false },
    looked: createWake(),
    restoredFrom,
    foundTxId: null,
    stampMs: cursor.value().stampMs,
    isHealing: true,
    isHostBuilding: false,
    lastAcknowledgedMs: performance.now(),
    baseAskedMs: Number.NEGATIVE_INFINITY,
    baseFailures: 0,
    checkpointing: undefined,
    checkpointedMs: performance.now(),
    ...{ isRelieving: false, relieveDueMs: Number.NEGATIVE_INFINITY },
    checkpointDone: createWake(),
    inspectedMs: performance.now(),
    isWrittenSinceInspected: false,
    tableNumber: tableNumberOf(cursor.value().checkpoint?.file),
    bytesSinceCheckpoint: 0,
    healedMs: new Map(),
    watchStored: createStoredWatch(),
    upkeep: Promise.resolve(),
    cursorSavedMs: performance.now(),
    ...{ squashedBytes: 0, overSinceMs: undefined, isCut: false },
  };
  await openChapters(state);
  return state;
}

interface UploadParts {
  readonly shared: SharedParts;
  readonly place: DatabasePlace;
  readonly alarms: Alarms;
  readonly stateOf: () => DatabaseState;
}

function createUploads({ shared, place, alarms, stateOf }: UploadParts): SnapshotUploads {
  return createSnapshotUploads({
    scratchDir: join(place.directory, "scratch"),
    compression: shared.settings.compression,
    gate: shared.encodeGate,
    places: shared.snapshotPlaces,
    alarms,
    stage: (body, signal) => stateOf().sender.stage(body, signal),
    refusedMs: shared.settings.refusedMs,
    beforeStage: (txId, signal) => untilTable(stateOf(), txId, signal),
    onChange: () => stateOf().sender.notify(),
    onFailed(error) {
      const state = stateOf();
      const isFull = isPageferryError(error, "disk-full");
      if (isFull) relieve(state);
      state.baseFailures += 1;
      // The first may have been an accident, but for a full disk; reading the whole database for nothing is not to be repeated at once.
      if (isFull || state.baseFailures > 1) state.baseAskedMs = performance.now();
    },
    onFork: (error) => stateOf().sender.halt(error),
    onNoRoom: (generation, imageBytes) => isInTheWay(stateOf().chapters, generation, imageBytes),
  });
}

function createDatabaseAlarms(
  { now, logger, emitter }: SharedParts,
  { name: database }: DatabasePlace,
): Alarms {
  return createAlarms(now, {
    raised(alarm) {
      logger.warn({ database, code: alarm.code, hint: alarm.hint }, alarm.message);
      emitter.emit("alarm", { database, alarm });
    },
    cleared(alarm) {
      logger.info({ database, code: alarm.code }, `over: ${alarm.message}`);
      emitter.emit("cleared", { database, alarm });
    },
  });
}

/** A cursor that cannot be read must not stop the backup: it is put aside, and a new generation begins. */
async function openCursorOrBegin(place: DatabasePlace, alarms: Alarms): Promise<CursorStore> {
  try {
    return await openCursor(place.directory);
  } catch (error) {
    if (!isPageferryError(error, "corrupt")) throw error;
    alarms.raiseError("history", error);
    const path = join(place.directory, "cursor.json");
    await rename(path, `${path}.corrupt`);
    return openCursor(place.directory);
  }
}

async function openChapters(state: DatabaseState): Promise<void> {
  const { directory } = state.place;
  const { generations, checkpoint } = state.cursor.value();
  const known = new Set<string>(generations.map(({ generation }) => generation));
  const names = await readdir(directory);
  const hasPast = names.some((name) => /^[0-9a-f]{16}$/.test(name) || tableNumberOf(name) > 0);
  if (generations.length === 0 && hasPast && state.alarms.list().length === 0) {
    const message = `${directory}: cursor.json is gone; what was not sent is given up, and a new generation begins`;
    state.alarms.raiseError("history", new PageferryError(historyAlarm, message, { hint: lostHint }));
  }
  // Generations that were over when a crash came, half-written files, and page tables that nothing refers to.
  const isRubbish = (name: string) =>
    (/^[0-9a-f]{16}$/.test(name) && !known.has(name)) ||
    isTemporaryPath(name) ||
    isReserveRubbish(name) ||
    (name === restoredTableFile && state.restoredFrom === null) ||
    (tableNumberOf(name) > 0 && name !== checkpoint?.file);
  await Promise.all(
    names.filter(isRubbish).map((name) => rm(join(directory, name), { recursive: true, force: true })),
  );
  await state.cursor.keepRoom();
  if (checkpoint !== null) await keepTableRoom(directory, checkpoint.file);
  for (const { generation } of generations) {
    state.chapters = [...state.chapters, await openChapterOf(state, generation)];
  }
  const stamps = state.chapters.map((chapter) => chapter.shadow.entries().at(-1)?.stampMs ?? 0);
  state.stampMs = Math.max(state.stampMs, ...stamps);
  // What the host acknowledged before this start does not wait for it again.
  const cursor = state.chapters.at(-1)?.cursor();
  const safe = cursor === undefined ? null : acknowledgedOf(cursor);
  if (safe !== null) state.lag.safe(safe);
}

type OpenSource = NonNullable<SharedParts["openSource"]>;

/** Captures from the past on; the source is open when this returns its promise. */
function capture(state: DatabaseState, { reference }: Past, openSource: OpenSource): Promise<void> {
  const { shared, place, restoredFrom } = state;
  const { isForked } = state.cursor.value();
  // The host holds another history of this generation: nothing more of ours is sent, and nothing can be built on it.
  if (isForked) state.chapters.at(-1)?.update({ isAbandoned: true });
  const begin =
    restoredFrom !== null ? "restored" : isForked ? "fork" : place.isRestored ? "restored" : undefined;
  // What this machine last had of it need not be where the restored state came from.
  const isPastOver = isForked || restoredFrom !== null;
  const options = {
    path: place.path,
    scratchDir: join(place.directory, "scratch"),
    now: shared.now,
    maxReadRate: shared.settings.maxReadRate,
    baseDeadlineMs: shared.settings.baseDeadlineMs,
    ...(isPastOver ? restoredReference(place, restoredFrom) : reference && { reference }),
    ...(begin === undefined ? {} : ({ begin } as const)),
  };
  const { shadowDirectory } = place;
  const source =
    shadowDirectory === undefined
      ? openSource(options)
      : openShadowDirectorySource({
          ...options,
          shadowDirectory,
          mirrorDir: join(place.directory, "mirror"),
        });
  state.source = source;
  return consume(state, source.events);
}

/** What a source goes on from where the file was restored, and it is known to which state. A shadow directory goes on from its own. */
function restoredReference(
  { directory, shadowDirectory }: DatabasePlace,
  point: RestoredPoint | null,
): Partial<BoltFileSourceOptions> {
  if (point === null || point.stateHash === null || shadowDirectory !== undefined) return {};
  const { txId, stateHash } = point;
  const tablePath = restoredTablePath(directory);
  return { reference: { txId, stateHash, tablePath, identity: noIdentity }, isReferenceRestored: true };
}

/** Captures as soon as the disk lets it: to begin anew meanwhile would cost a whole upload. */
async function captureLater(state: DatabaseState, openSource: OpenSource): Promise<void> {
  const pause = createWake();
  const { signal } = state.stopping;
  while (!signal.aborted) {
    await pause.wait(readAgainMs, signal);
    const past = signal.aborted ? undefined : await readPast(state);
    if (past === undefined) continue;
    state.alarms.clear("shadow");
    try {
      return await capture(state, past, openSource);
    } catch (error) {
      state.alarms.raiseError("source", error);
      return;
    }
  }
}

interface Acknowledgement {
  readonly txId: TxId;
  readonly kind: "segment" | "snapshot";
}

function acknowledged(state: DatabaseState, chapter: Chapter, { txId, kind }: Acknowledgement): void {
  state.lastAcknowledgedMs = performance.now();
  state.cursor.update({ stampMs: Math.max(state.cursor.value().stampMs, state.stampMs) });
  if (chapter === state.chapters.at(-1)) state.lag.safe(txId);
  state.shared.emitter.emit("acknowledged", {
    database: state.place.name,
    generation: chapter.generation,
    txId,
    kind,
  });
  if (kind === "snapshot") {
    state.baseFailures = 0;
    inBackground(state, () => state.cursor.save());
  }
  if (!state.isHealing) inBackground(state, () => tidy(state));
}

function agentOf(state: DatabaseState, consuming: Promise<void>, sending: Promise<void>): DatabaseAgent {
  let isStopped = false;
  return {
    status: () =>
      statusOf({
        name: state.place.name,
        path: state.place.path,
        state: stateWord(state, isStopped),
        chapters: state.chapters,
        checkpoint: state.cursor.value().checkpoint,
        lag: state.lag,
        foundTxId: state.foundTxId,
        alarms: state.alarms.list(),
        nowMs: state.shared.now(),
      }),
    tick() {
      if (isStopped) return;
      tick(state);
      inspectWhenDue(state);
      watchLag({
        ...{ lag: state.lag, alarms: state.alarms, nowMs: state.shared.now() },
        thresholdMs: state.shared.settings.dataLossWindowThresholdMs,
      });
    },
    hasten: state.sender.hasten,
    heartbeat: (dueMs) => (isStopped ? undefined : state.sender.heartbeat(dueMs)),
    async stop(deadlineMs, farewell) {
      if (isStopped) return farewell === undefined;
      isStopped = true;
      return await stopDatabase(state, { consuming, sending, deadlineMs, farewell });
    },
  };
}

function stateWord(state: DatabaseState, isStopped: boolean): DatabaseStatus["state"] {
  if (isStopped) return "stopped";
  if (state.sender.isHalted()) return "halted";
  return state.chapters.length === 0 ? "starting" : "running";
}
