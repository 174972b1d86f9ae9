// Takes what a source captures, in order: begins generations, appends to the shadow, hands images to be uploaded.
import { randomBytes } from "node:crypto";
import { isPageferryError, type TxId } from "@pageferry/format";
import { type Chapter, lastTxIdOf, openChapter } from "./chapter.ts";
import type { Cursor } from "./cursor.ts";
import type { DatabaseState } from "./database-state.ts";
import { beginGeneration } from "./generation.ts";
import { forgetRestored } from "./restored-note.ts";
import { adoptRestoredTable } from "./restored-table.ts";
import { shadowCompression, shadowPaceMs } from "./settings.ts";
import { untilRoom } from "./shadow-room.ts";
import type { BaseEvent, BeginEvent, CaptureEvent, DeltaEvent } from "./sources/capture-event.ts";
import {
  acceptCheckpoint,
  checkBounds,
  inBackground,
  isWhole,
  nextTableFile,
  relieve,
  requestCheckpoint,
} from "./upkeep.ts";
import { createWake } from "./wake.ts";

/** Between attempts to make a begin durable on a full disk. */
const retryMs = 1000;

/** Opens the chapter of a generation that the cursor holds. */
export function openChapterOf(state: DatabaseState, generation: Chapter["generation"]): Promise<Chapter> {
  const { shared, place, cursor, alarms } = state;
  return openChapter({
    generation,
    directory: place.directory,
    cursor,
    alarms,
    granularity: shared.settings.granularity,
    shadowCompression: shadowCompression(shared.settings),
    paceMs: shadowPaceMs(shared.settings),
    budget: shared.budget,
    onDurable(txId, bytes) {
      state.bytesSinceCheckpoint += bytes;
      state.isWrittenSinceInspected = true;
      shared.emitter.emit("shadowed", { database: place.name, txId });
      state.sender.notify();
      checkBounds(state);
    },
    sourceKind: place.sourceKind,
    fileBytesMax: logFileBytes(shared.settings.shadowBytesMax),
    onTrouble(error) {
      if (isPageferryError(error, "disk-full")) relieve(state);
    },
    onLost(txId) {
      cursor.updateGeneration(generation, { baseNeededFrom: txId });
      requestCheckpoint(state);
      state.sender.notify();
    },
  });
}

/** Whole files are trimmed, so that they must be small beside the bound. */
function logFileBytes(shadowBytesMax: number): number {
  return Math.min(8 * 1024 * 1024, Math.ceil(shadowBytesMax / 8));
}

/** Takes events until the source has stopped. Never throws: what is unforeseen is an alarm. */
export async function consume(state: DatabaseState, events: AsyncIterable<CaptureEvent>): Promise<void> {
  try {
    for await (const event of events) {
      // What comes after everything ended is captured again at the next start.
      if (!state.abort.signal.aborted && !state.isCut) await take(state, event);
    }
  } catch (error) {
    if (!state.abort.signal.aborted) {
      state.shared.logger.error({ database: state.place.name, err: error }, "capturing ended");
      state.alarms.raiseError("source", error);
    }
  } finally {
    state.source = undefined;
  }
}

async function take(state: DatabaseState, event: CaptureEvent): Promise<void> {
  state.isSourceHeard = true;
  switch (event.type) {
    case "begin":
      return takeBegin(state, event);
    case "delta":
      return takeDelta(state, event);
    case "base":
      return takeBase(state, event);
    case "checkpoint":
      return inBackground(state, () => acceptCheckpoint(state, event));
    case "seen":
      return state.lag.seen(event.txId, event.atMs);
    case "alarm": {
      const { code, message, hint } = event;
      state.alarms.raise("source", { code, message, hint });
      if (code === "disk-full") relieve(state);
      return state.looked.notify();
    }
    case "cleared":
      return state.alarms.clear("source", event.code);
    case "stopped":
      return;
  }
}

async function takeBegin(state: DatabaseState, event: BeginEvent): Promise<void> {
  await goOnOrBegin(state, event);
  // Only now does the rest of the status speak of the same history.
  state.foundTxId = event.txId;
  state.looked.notify();
}

async function goOnOrBegin(state: DatabaseState, event: BeginEvent): Promise<void> {
  const previous = state.chapters.at(-1);
  if (event.via === "continue" && previous !== undefined) {
    state.cursor.update({ identity: event.identity });
    // The page table is beyond all that was sent or can be: the base between was lost with the process that uploaded it.
    const isBaseLost = event.parent !== null && event.parent.txId > (beginTxIdOf(previous) ?? -1n);
    if (isBaseLost) previous.update({ baseNeededFrom: event.parent.txId });
    await untilSaved(state);
    return;
  }
  await previous?.shadow.flush(state.abort.signal);
  // What was not flushed is captured again at the next start, and may have another end.
  if (state.abort.signal.aborted) return;
  const facts = {
    random: randomBytes(8),
    lastTxId: previous === undefined ? null : lastTxIdOf(previous),
    isParentWhole: previous !== undefined && isWhole(state, previous),
    restoredFrom: event.reason === "restored" ? state.restoredFrom : null,
  };
  const cursor = beginGeneration(state.cursor.value(), event, facts);
  state.cursor.update(cursor);
  if (cursor.generations.at(-1)?.parentStateHash !== null) await goOnFromRestored(state, event);
  await untilSaved(state);
  await openBegun(state, state.cursor.value(), event.txId);
  if (state.restoredFrom === null || state.abort.signal.aborted) return;
  state.restoredFrom = null;
  // A base may be asked for from here on.
  state.sender.notify();
  await untilDone(state, () => forgetRestored(state.place.directory));
}

/** What a generation goes on from that begins at a restored point: the table of that, which is its first checkpoint, and its time. */
async function goOnFromRestored(state: DatabaseState, { parent }: BeginEvent): Promise<void> {
  const { restoredFrom, place, cursor } = state;
  const generation = cursor.value().generations.at(-1)?.generation;
  if (restoredFrom === null || parent === null || generation === undefined) return;
  // Its commits are no older than the point, whatever clock this machine has.
  state.stampMs = Math.max(state.stampMs, restoredFrom.stampMs ?? 0);
  cursor.update({ stampMs: state.stampMs });
  const file = nextTableFile(state);
  if (!(await adoptRestoredTable(place.directory, file))) return;
  cursor.update({ checkpoint: { generation, txId: parent.txId, stateHash: parent.stateHash, file } });
}

/** The newest state of a chapter that the archive has or will have; for an empty bridge, the parent's. */
function beginTxIdOf(chapter: Chapter): TxId | null {
  const { via, parent } = chapter.cursor();
  return lastTxIdOf(chapter) ?? (via === "bridge" ? (parent?.txId ?? null) : null);
}

async function openBegun(state: DatabaseState, cursor: Cursor, found: TxId): Promise<void> {
  const begun = cursor.generations.at(-1);
  if (begun === undefined) return;
  const kept = new Set<string>(cursor.generations.map(({ generation }) => generation));
  const chapter = await untilDone(state, () => openChapterOf(state, begun.generation));
  if (chapter === undefined) return;
  if (begun.via === "bridge" && begun.baseAtMs === 0) chapter.update({ baseAtMs: state.shared.now() });
  // What was seen before belongs to another history.
  state.lag.reset();
  state.lag.seen(found, state.shared.now());
  state.chapters = [...state.chapters.filter(({ generation }) => kept.has(generation)), chapter];
  const { generation, reason, parent } = begun;
  state.shared.logger.info({ database: state.place.name, generation, reason }, "a generation begins");
  state.shared.emitter.emit("begin", { database: state.place.name, generation, reason, parent });
  // Whoever restored it may have left no page table, which a restart goes on from.
  const hasTable = cursor.checkpoint?.generation === begun.generation;
  if (begun.parentStateHash !== null && !hasTable) requestCheckpoint(state, "now");
  state.sender.notify();
}

/** Nothing of a new generation may be captured before its begin is durable; a full disk is waited for. */
async function untilSaved(state: DatabaseState): Promise<void> {
  await untilDone(state, () => state.cursor.save("reserved"));
}

/** What `act` gives as soon as the disk lets it; `undefined` when everything ends before. */
async function untilDone<Result>(
  state: DatabaseState,
  act: () => Promise<Result>,
): Promise<Result | undefined> {
  const pause = createWake();
  for (let isInTrouble = false; !state.abort.signal.aborted; isInTrouble = true) {
    try {
      const result = await act();
      if (isInTrouble) state.alarms.clear("shadow");
      return result;
    } catch (error) {
      state.alarms.raiseError("shadow", error);
      if (isPageferryError(error, "disk-full")) relieve(state);
      await pause.wait(retryMs, state.abort.signal);
    }
  }
  return;
}

async function takeDelta(state: DatabaseState, event: DeltaEvent): Promise<void> {
  const chapter = state.chapters.at(-1);
  if (chapter === undefined) throw new RangeError("a delta came before any begin");
  const { type: _, ...part } = event;
  state.stampMs = Math.max(state.stampMs, part.stampMs);
  state.lag.seen(part.txId, state.stampMs);
  if (!(await untilRoom(state))) return;
  await chapter.shadow.append({ ...part, stampMs: state.stampMs });
}

async function takeBase(state: DatabaseState, event: BaseEvent): Promise<void> {
  const chapter = state.chapters.at(-1);
  if (chapter === undefined) throw new RangeError("a base came before any begin");
  state.stampMs = Math.max(state.stampMs, event.stampMs);
  state.baseAskedMs = Number.NEGATIVE_INFINITY;
  // One that is being written may be of a state before the base: nothing would lead from it over the hole that the base closes.
  requestCheckpoint(state, "now");
  state.uploads.take(chapter.generation, { ...event, stampMs: state.stampMs });
}
