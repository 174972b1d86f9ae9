// Sends what one database's chapters hold, oldest first, one envelope in flight at a time; asks again for as long as it takes.
import {
  type DatabaseName,
  type ErrorCode,
  type Farewell,
  type Generation,
  isPageferryError,
  type Needs,
  type TxId,
} from "@pageferry/format";
import type { Alarms } from "./alarms.ts";
import { type Batch, type BatchOptions, batchesAgain, nextBatch } from "./batch.ts";
import { type Chapter, historyAlarm, needsBase, newest, unsentOf } from "./chapter.ts";
import { type Contact, createContact } from "./contact.ts";
import type { CursorStore } from "./cursor.ts";
import type { Gate } from "./gate.ts";
import type { Range } from "./healing.ts";
import type { Lag } from "./lag.ts";
import type { DueHeartbeat, Pulsed } from "./pulse.ts";
import { isBodyLost, type Queue, type StagedBody } from "./queue.ts";
import { learnEpoch, sendBegin } from "./send-begin.ts";
import { deliver, heartbeatOf, sayFarewell, sendItems } from "./send-items.ts";
import { headOf, isDrained } from "./send-order.ts";
import type { ReadySnapshot, SnapshotUploads } from "./snapshot-upload.ts";
import { createWake, type Wake } from "./wake.ts";

/** Times of the sender, all in ms. */
export interface SendPolicy {
  /** Least distance of two batches; 0 sends at once. */
  readonly syncIntervalMs: number;
  /** A host that hears nothing for this long gets an empty envelope. */
  readonly heartbeatMs: number;
  /** How often the host is asked what it needs. */
  readonly needsMs: number;
  /** How long a host may be silent before an alarm is raised. */
  readonly silentMs: number;
  /** A host that refuses is asked again after this. */
  readonly refusedMs: number;
  readonly batch: BatchOptions;
}

/** What a sender works with. */
export interface SendContext {
  readonly database: DatabaseName;
  /** This machine's name, for `generation.json`. */
  readonly host: string;
  readonly queue: Queue;
  readonly policy: SendPolicy;
  readonly cursor: CursorStore;
  readonly uploads: SnapshotUploads;
  readonly lag: Lag;
  readonly alarms: Alarms;
  readonly now: () => number;
  readonly random: () => number;
  /** What all databases share when they call the host. */
  readonly callGate: Gate;
  /** How long to wait before a heartbeat is sent alone, ms. */
  readonly aloneMs: () => number;
  /** Ends everything at once. */
  readonly signal: AbortSignal;
  /** Oldest first; the last is the one being captured. */
  chapters(): readonly Chapter[];
  /** Asks the source for an image of the newest state, unless one is on its way. */
  requestBase(): void;
  /** The shadow has a hole: what a restart goes on from must soon lie beyond it. */
  onHole(): void;
  onAcknowledged(chapter: Chapter, txId: TxId, kind: "segment" | "snapshot"): void;
  onNeeds(needs: Needs): boolean;
  /** This kind of queue cannot say what it needs. */
  onWithoutNeeds(): void;
}

/** Sends one database. */
export interface Sender {
  /** Runs until it is drained or aborted. Never throws. */
  run(): Promise<void>;
  /** There may be something to send. */
  notify(): void;
  /** Sends what is there without waiting for the next batch's time. */
  hasten(): void;
  /** Sends what is there without waiting, then ends. */
  drain(): void;
  /** Says, after it has ended, that the database is no longer backed up. False: the host did not take it. */
  sayFarewell(farewell: Farewell): Promise<boolean>;
  /** Sends ranges again that the host misses. */
  resend(chapter: Chapter, ranges: readonly Range[]): void;
  stage(body: StagedBody, signal: AbortSignal): Promise<void>;
  /** To go on would mix two histories: nothing is sent before a restart, capturing goes on. */
  halt(error: unknown): void;
  /** Since the host refused, nothing was taken by it. */
  isHalted(): boolean;
  /** The host has not answered for a while, or sending is halted: what is unsent stays unsent. */
  isAway(): boolean;
  /** What may go with the heartbeats of others. */
  heartbeat: Pulsed["heartbeat"];
  /** Asks the host what it stored, sooner than it would be. */
  hastenNeeds(): void;
}

interface SendState extends SendContext {
  readonly wake: Wake;
  readonly hurry: Wake;
  readonly contact: Contact;
  readonly resends: { readonly chapter: Chapter; readonly range: Range }[];
  /** Generations without anything to send of which the host was told since the start. */
  readonly told: Set<Generation>;
  /** By the monotonic clock, as all times here. */
  lastBatchMs: number;
  isBehind: boolean;
  isDraining: boolean;
  /** There was nothing to do, and no call is under way. */
  isIdle: boolean;
  /** The code of the alarm that stands since the host refused. */
  haltedBy: ErrorCode | undefined;
  /** Nothing is sent before; never again where a restart is needed. */
  restUntilMs: number;
}

/** After a failure that has no retrying of its own, such as a full disk. */
const afterFailureMs = 2000;

/** A batch waits so long for what is still to be written to the shadow; about what a busy disk needs. */
const flushMs = 250;

/** Makes the sender of one database. */
export function createSender(context: SendContext): Sender {
  const hurry = createWake();
  const { needsMs, silentMs } = context.policy;
  const state: SendState = {
    ...context,
    wake: createWake(),
    hurry,
    contact: createContact({ ...context, hurry, needsMs, silentMs }),
    resends: [],
    told: new Set(),
    lastBatchMs: Number.NEGATIVE_INFINITY,
    isBehind: false,
    isDraining: false,
    isIdle: false,
    haltedBy: undefined,
    restUntilMs: Number.NEGATIVE_INFINITY,
  };
  return {
    run: () => run(state),
    notify: () => state.wake.notify(),
    hasten() {
      state.lastBatchMs = Number.NEGATIVE_INFINITY;
      state.wake.notify();
    },
    drain() {
      state.isDraining = true;
      state.hurry.notify();
      state.wake.notify();
    },
    sayFarewell: (farewell) => farewellOf(state, farewell),
    resend(chapter, ranges) {
      const isNew = (range: Range) =>
        !state.resends.some((one) => one.range.txId === range.txId && one.chapter === chapter);
      state.resends.push(...ranges.filter(isNew).map((range) => ({ chapter, range })));
      state.wake.notify();
    },
    stage: state.contact.stage,
    halt: (error) => halt(state, error, Number.POSITIVE_INFINITY),
    isHalted: () => state.haltedBy !== undefined,
    isAway: () => state.haltedBy !== undefined || state.contact.isSilent(),
    heartbeat: (dueMs) => heartbeatBefore(state, dueMs),
    hastenNeeds() {
      state.contact.hastenNeeds();
      state.wake.notify();
    },
  };
}

async function run(state: SendState): Promise<void> {
  while (!state.signal.aborted) {
    if (isResting(state)) {
      if (state.isDraining) return;
      await state.wake.wait(state.restUntilMs - performance.now(), state.signal);
      continue;
    }
    try {
      const isBusy = await step(state);
      if (isResting(state)) continue;
      // After a refusal only what the host took shows that it is over.
      if (isBusy || state.haltedBy === undefined) recovered(state);
      if (!isBusy && state.isDraining && isDrained(state)) return;
      if (isBusy) continue;
      state.isIdle = true;
      await state.wake.wait(untilDueMs(state), state.signal);
      state.isIdle = false;
    } catch (error) {
      if (state.signal.aborted) return;
      if (isPageferryError(error) && error.remedy === "retry") {
        state.alarms.raiseError("sender", error);
        await state.wake.wait(afterFailureMs, state.signal);
      } else {
        // Whoever looks after the host may let it in again: a token, a bound, a history that was chosen.
        halt(state, error, state.policy.refusedMs * (1 + 0.1 * state.random()));
      }
    }
  }
}

function isResting(state: SendState): boolean {
  return performance.now() < state.restUntilMs;
}

function recovered(state: SendState): void {
  if (state.haltedBy === "fork") state.cursor.update({ isForked: false });
  state.haltedBy = undefined;
  state.alarms.clear("sender");
}

function halt(state: SendState, error: unknown, restMs: number): void {
  if (state.restUntilMs === Number.POSITIVE_INFINITY || state.signal.aborted) return;
  const code = isPageferryError(error) ? error.code : "unavailable";
  if (code === "fork") state.cursor.update({ isForked: true });
  state.restUntilMs = performance.now() + restMs;
  if (state.haltedBy !== undefined && state.haltedBy !== code) state.alarms.clear("sender", state.haltedBy);
  state.haltedBy = code;
  state.alarms.raiseError("sender", error);
  state.wake.notify();
}

/** Does one thing, and says whether there was one. */
async function step(state: SendState): Promise<boolean> {
  if (!state.isDraining && state.haltedBy === undefined) await state.contact.hearNeeds();
  // What was just heard may be that the host has another history.
  if (isResting(state)) return false;
  const chapter = headOf(state);
  if (chapter === undefined) return false;
  if (chapter.cursor().epoch === null) {
    await learnEpoch(state, chapter);
    return true;
  }
  return (
    (await sendBegin(state, chapter)) ||
    (await sendAgain(state)) ||
    (await sendSnapshot(state, chapter)) ||
    (await sendBatch(state, chapter)) ||
    (await sendHeartbeat(state, chapter))
  );
}

function untilDueMs(state: SendState): number {
  const nowMs = performance.now();
  const chapter = headOf(state);
  const dues = [nowMs + state.aloneMs()];
  // While it ends only a snapshot on its way is waited for, which notifies.
  if (!state.isDraining) {
    dues.push(state.contact.needsDueMs());
    if (chapter !== undefined) dues.push(state.contact.lastMs() + state.aloneMs());
    if (chapter !== undefined && !needsBase(chapter) && unsentOf(chapter).length > 0) {
      dues.push(state.lastBatchMs + state.policy.syncIntervalMs);
    }
  }
  return Math.max(1, Math.min(...dues.filter(Number.isFinite)) - nowMs);
}

async function sendSnapshot(state: SendState, chapter: Chapter): Promise<boolean> {
  const ready = state.uploads.ready(chapter.generation);
  if (ready === undefined) return false;
  // Points between the last segment and the snapshot must not fall out of the history: they go first.
  const [first] = unsentOf(chapter);
  if (!needsBase(chapter) && first !== undefined && first.txId <= ready.txId) return false;
  try {
    await deliver(state, chapter, [ready.item], [ready.body]);
  } catch (error) {
    if (!isBodyLost(error)) throw error;
    state.alarms.raiseError("snapshot", error);
    await state.uploads.done(ready);
    askForBase(state, chapter);
    return true;
  }
  await state.uploads.done(ready);
  acknowledgeSnapshot(state, chapter, ready);
  return true;
}

function acknowledgeSnapshot(state: SendState, chapter: Chapter, { txId }: ReadySnapshot): void {
  const { baseNeededFrom, baseTxId } = chapter.cursor();
  const isEnough = baseNeededFrom === null || txId >= baseNeededFrom;
  chapter.update({
    baseTxId: newest(baseTxId, txId),
    baseAtMs: state.now(),
    baseNeededFrom: isEnough ? null : baseNeededFrom,
  });
  if (isEnough) state.alarms.clear("history");
  state.onAcknowledged(chapter, txId, "snapshot");
}

async function sendBatch(state: SendState, chapter: Chapter): Promise<boolean> {
  if (needsBase(chapter)) {
    askForBase(state, chapter);
    return false;
  }
  const isDue = state.isDraining || performance.now() >= state.lastBatchMs + state.policy.syncIntervalMs;
  if (!isDue && !state.isBehind) return false;
  const startMs = performance.now();
  await flushCaptured(state, chapter);
  const newestTxId = chapter.shadow.entries().at(-1)?.txId ?? null;
  const batch = await makeBatch(state, chapter);
  if (batch === undefined) {
    state.isBehind = false;
    return false;
  }
  state.lastBatchMs = startMs;
  state.isBehind = newestTxId !== null && batch.txId < newestTxId;
  chapter.inFlightTxId = batch.txId;
  await sendItems(state, chapter, batch);
  chapter.inFlightTxId = null;
  chapter.update({ acknowledgedTxId: newest(chapter.cursor().acknowledgedTxId, batch.txId) });
  chapter.recent.forget(batch.txId);
  state.onAcknowledged(chapter, batch.txId, "segment");
  return true;
}

/** What is captured and pauses before it is written goes along. A disk that refuses holds up nothing that is there. */
async function flushCaptured(state: SendState, { shadow }: Chapter): Promise<void> {
  if (shadow.pendingBytes() === 0) return;
  await shadow.flush(AbortSignal.any([state.signal, AbortSignal.timeout(flushMs)]));
}

/** A shadow that cannot be read back is a hole: a snapshot closes it, and the rest goes on from there. */
async function makeBatch(state: SendState, chapter: Chapter): Promise<Batch | undefined> {
  try {
    return await nextBatch(chapter, state.policy.batch);
  } catch (error) {
    if (!isHole(error)) throw error;
    const last = chapter.shadow.entries().at(-1)?.txId ?? (0n as TxId);
    chapter.update({ baseNeededFrom: newest(chapter.cursor().baseNeededFrom, last) });
    state.alarms.raiseError("history", error);
    state.onHole();
    return;
  }
}

function isHole(error: unknown): boolean {
  return isPageferryError(error, "corrupt") || isPageferryError(error, historyAlarm);
}

/** Only the generation that is being captured can get a new snapshot. */
function askForBase(state: SendState, chapter: Chapter): void {
  const isCurrent = state.chapters().at(-1) === chapter;
  if (isCurrent) state.requestBase();
}

async function sendAgain(state: SendState): Promise<boolean> {
  const next = state.resends.shift();
  if (next === undefined) return false;
  const { chapter, range } = next;
  if (!state.chapters().includes(chapter) || chapter.cursor().epoch === null) return true;
  try {
    for await (const batch of batchesAgain(chapter, range, state.policy.batch)) {
      await sendItems(state, chapter, batch);
    }
  } catch (error) {
    if (!isHole(error)) throw error;
    // What the shadow no longer holds only a snapshot can stand for.
    state.onHole();
    askForBase(state, chapter);
  }
  return true;
}

async function sendHeartbeat(state: SendState, chapter: Chapter): Promise<boolean> {
  const isDue = performance.now() >= state.contact.lastMs() + state.aloneMs();
  if (!isDue || state.isDraining) return false;
  await deliver(state, chapter, [], []);
  return true;
}

/** A heartbeat that is due soon, while nothing else is: what is in trouble, or has to hear a refusal, sends its own. */
function heartbeatBefore(state: SendState, dueMs: number): DueHeartbeat | undefined {
  const { contact, policy, database } = state;
  const isSoon = contact.lastMs() + policy.heartbeatMs <= dueMs;
  if (!isSoon || !state.isIdle || state.isDraining || state.haltedBy !== undefined || contact.isInTrouble())
    return;
  const chapter = headOf(state);
  if (chapter === undefined || chapter.cursor().epoch === null) return;
  return { database, envelope: heartbeatOf(state, chapter), taken: contact.heard };
}

/** It is told of the newest history that the host can know of; where there is none, nobody waits for anything. */
async function farewellOf(state: SendState, farewell: Farewell): Promise<boolean> {
  const known = state.chapters().findLast((chapter) => chapter.cursor().epoch !== null);
  if (known === undefined) return true;
  try {
    await sayFarewell(state, known, farewell);
    return true;
  } catch (error) {
    if (!isPageferryError(error) && !state.signal.aborted) throw error;
    return false;
  }
}
