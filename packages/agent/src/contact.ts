// Speaking with the host: persistently, keeping count of how long it has been away, and hearing what it needs.
import { type Envelope, encodeEnvelope, isPageferryError, type Needs } from "@pageferry/format";
import type { Alarms } from "./alarms.ts";
import type { Gate } from "./gate.ts";
import type { PointState, Queue, QueueCallOptions, StagedBody } from "./queue.ts";
import { retryForever } from "./retry.ts";
import type { Wake } from "./wake.ts";

/** What speaking with the host needs. */
export interface ContactOptions {
  readonly database: Envelope["database"];
  readonly queue: Queue;
  readonly alarms: Alarms;
  readonly random: () => number;
  /** What all databases share, so that a thousand of them do not call at once. */
  readonly callGate: Gate;
  /** Cuts pauses between attempts short. */
  readonly hurry: Wake;
  /** Ends everything at once. */
  readonly signal: AbortSignal;
  /** How often the host is asked what it needs, ms. */
  readonly needsMs: number;
  /** How long a host may be silent before an alarm is raised, ms. */
  readonly silentMs: number;
  /** Takes what the host needs; true where that is nothing, and all is stored. */
  onNeeds(needs: Needs): boolean;
  /** This kind of queue cannot say what it needs. */
  onWithoutNeeds(): void;
}

/** The host as one database's sender speaks with it. What is thrown has another remedy than `retry`, or is the signal's. */
export interface Contact {
  /** When the host last took an envelope, by the monotonic clock. */
  lastMs(): number;
  /** The host took a heartbeat that went with those of others. */
  heard(): void;
  /** Whether the last call failed. */
  isInTrouble(): boolean;
  needsDueMs(): number;
  /** Asks for needs with the next occasion. */
  hastenNeeds(): void;
  /** Whether the host has not answered for long enough to be an alarm. */
  isSilent(): boolean;
  /**
   * Sends what `envelope` makes, anew for each attempt: what a returning host hears first is not hours old. `staged` are the
   * bodies it points at, which are there; a host that says no may have lost them, and gets them again.
   */
  deliver(envelope: () => Envelope, staged: readonly StagedBody[]): Promise<void>;
  /** Sends an empty envelope once, beside a call that takes long; nothing, where that call is already in trouble. */
  beat(envelope: () => Envelope, signal: AbortSignal): Promise<void>;
  stage(body: StagedBody, signal: AbortSignal): Promise<void>;
  /** Asks once, when it is due: sending must not wait for an answer that is only for healing. */
  hearNeeds(): Promise<void>;
  /** Asks until there is an answer. */
  askNeeds(): Promise<Needs | undefined>;
  /** Asks until there is an answer whether the host holds a point; false of a queue that cannot tell. */
  askHolds(point: PointState): Promise<boolean>;
}

interface ContactState extends ContactOptions {
  lastMs: number;
  needsDueMs: number;
  troubleSinceMs: number | undefined;
  needsFailures: number;
}

/** A host that has all of an idle database is asked less often: a thousand of those must cost nothing. */
const settledFactor = 9;

/** A host that was away is told by its silence; this is for one that takes envelopes and does not say what it needs. */
const needsFailuresMax = 3;

/** Makes the contact of one database. */
export function createContact(options: ContactOptions): Contact {
  const state: ContactState = {
    ...options,
    lastMs: Number.NEGATIVE_INFINITY,
    needsDueMs: 0,
    troubleSinceMs: undefined,
    needsFailures: 0,
  };
  const { queue, database, signal } = options;
  return {
    lastMs: () => state.lastMs,
    heard() {
      state.lastMs = performance.now();
      contacted(state);
    },
    isInTrouble: () => state.troubleSinceMs !== undefined,
    needsDueMs: () => state.needsDueMs,
    hastenNeeds: () => hastenNeeds(state),
    isSilent: () => isSilent(state),
    deliver: (envelope, staged) => deliver(state, envelope, staged),
    beat: (envelope, own) => beat(state, envelope, own),
    stage: (body, own) => persistently(state, own, (call) => queue.stage(database, body, call), true),
    hearNeeds: () => hearNeeds(state),
    askNeeds: () => persistently(state, signal, (call) => queue.needs(database, call)),
    async askHolds(point) {
      if (queue.holds === undefined) return false;
      return persistently(
        state,
        signal,
        async (call) => (await queue.holds?.(database, point, call)) === true,
      );
    },
  };
}

async function deliver(
  state: ContactState,
  envelope: () => Envelope,
  staged: readonly StagedBody[],
): Promise<void> {
  let areStaged = true;
  let hasItems = false;
  await persistently(state, state.signal, async (call) => {
    if (!areStaged) {
      for (const body of staged) await state.queue.stage(state.database, body, call);
    }
    areStaged = true;
    try {
      const made = envelope();
      hasItems = made.items.length > 0;
      await state.queue.send(encodeEnvelope(made), call);
    } catch (error) {
      // Where there was no answer at all, the cause is the connection's error, and the bodies are where they were.
      areStaged = error instanceof Error && error.cause instanceof Error;
      throw error;
    }
  });
  state.lastMs = performance.now();
  // What was sent has to be stored soon.
  if (hasItems) state.needsDueMs = Math.min(state.needsDueMs, state.lastMs + state.needsMs);
}

async function persistently<Result>(
  state: ContactState,
  signal: AbortSignal,
  ask: (options: QueueCallOptions) => Promise<Result>,
  isLong = false,
): Promise<Result> {
  const either = AbortSignal.any([signal, state.signal]);
  let startedMs = performance.now();
  const attempt = () =>
    state.callGate.pass(() => {
      startedMs = performance.now();
      return ask({ signal: either });
    }, either);
  const result = await retryForever(attempt, {
    signal: either,
    hurry: state.hurry,
    random: state.random,
    // A large body that broke off after an hour went well for most of it.
    onFailure: (error) => failed(state, error, isLong ? performance.now() : startedMs),
  });
  contacted(state);
  return result;
}

function failed(state: ContactState, error: Error, sinceMs: number): void {
  state.troubleSinceMs ??= sinceMs;
  if (isSilent(state)) state.alarms.raiseError("host", error);
}

/** A host that takes no heartbeat while a call goes on is not slow but stands still. */
async function beat(state: ContactState, envelope: () => Envelope, signal: AbortSignal): Promise<void> {
  if (state.troubleSinceMs !== undefined) return;
  try {
    await state.queue.send(encodeEnvelope(envelope()), { signal });
    state.lastMs = performance.now();
    state.alarms.clear("heartbeat");
  } catch (error) {
    if (signal.aborted || !isPageferryError(error)) return;
    // Anything else is met by the call itself.
    if (error.remedy === "retry" && state.troubleSinceMs === undefined)
      state.alarms.raiseError("heartbeat", error);
  }
}

function isSilent({ troubleSinceMs, silentMs }: ContactState): boolean {
  return troubleSinceMs !== undefined && performance.now() - troubleSinceMs >= silentMs;
}

/** A queue that cannot say what it needs is not asked again. */
function hastenNeeds(state: ContactState): void {
  if (state.needsDueMs !== Number.POSITIVE_INFINITY) state.needsDueMs = 0;
}

function contacted(state: ContactState): void {
  // After trouble the host may have lost something, or another agent may have been there.
  if (state.troubleSinceMs !== undefined) hastenNeeds(state);
  state.troubleSinceMs = undefined;
  state.alarms.clear("host");
  state.alarms.clear("heartbeat");
}

async function hearNeeds(state: ContactState): Promise<void> {
  if (performance.now() < state.needsDueMs) return;
  // Put off first, so that a host that cannot answer this, but takes envelopes, is not asked with each of them.
  state.needsDueMs = performance.now() + state.needsMs;
  try {
    const call = { signal: state.signal };
    const needs = await state.callGate.pass(() => state.queue.needs(state.database, call), state.signal);
    if (needs === undefined) {
      state.needsDueMs = Number.POSITIVE_INFINITY;
      state.onWithoutNeeds();
      return;
    }
    state.needsFailures = 0;
    state.alarms.clear("needs");
    contacted(state);
    const isSettled = state.onNeeds(needs);
    if (isSettled) state.needsDueMs += state.needsMs * settledFactor;
  } catch (error) {
    if (!isPageferryError(error)) throw error;
    state.needsFailures += 1;
    if (state.needsFailures >= needsFailuresMax) state.alarms.raiseError("needs", error);
  }
}
