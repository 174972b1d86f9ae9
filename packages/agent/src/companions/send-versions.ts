// Sends the versions of companion files that wait in an outbox, oldest first, by the queue that the database's own segments take.
import {
  type Envelope,
  type EnvelopeItem,
  encodeEnvelope,
  type Generation,
  inlineBytesMax,
  isPageferryError,
  PageferryError,
} from "@pageferry/format";
import { bodyOf, type StagedBody } from "../queue.ts";
import { retryForever } from "../retry.ts";
import type { Wake } from "../wake.ts";
import type { CompanionsOptions } from "./companions.ts";
import type { Entry, Outbox } from "./outbox.ts";

/** Whoever puts something in notifies; this is for nothing. */
const idleMs = 60_000;

/** After a failure that has no retrying of its own, such as a full disk. */
const afterFailureMs = 2000;

/** What sending works with. */
export interface SendState
  extends Pick<
    CompanionsOptions,
    "database" | "queue" | "callGate" | "alarms" | "now" | "random" | "refusedMs" | "chapter"
  > {
  readonly outbox: Outbox;
  /** Notified when something was put in. */
  readonly work: Wake;
  readonly hurry: Wake;
  readonly abort: AbortController;
  /** The last look is done. */
  isOver: boolean;
  /** Generations of which the host refused something, and until when they rest. What is of another goes on. */
  readonly resting: Map<Generation, number>;
}

/** Sends what waits, oldest first, until it is over and nothing waits. Never throws. */
export async function sendAll(state: SendState): Promise<void> {
  const { abort, outbox, work, alarms } = state;
  while (!abort.signal.aborted) {
    if (outbox.isEmpty()) {
      if (state.isOver) return;
      await work.wait(idleMs, abort.signal);
      continue;
    }
    let waitMs = 0;
    try {
      const outcome = await sendOldest(state);
      if (outcome === "sent" && state.resting.size === 0) alarms.clear("files-sent");
      if (outcome === "none") waitMs = restMs(state);
    } catch (error) {
      if (abort.signal.aborted) return;
      alarms.raiseError("files-sent", error);
      waitMs = isPageferryError(error) && error.remedy === "retry" ? afterFailureMs : state.refusedMs;
    }
    if (waitMs > 0 && state.isOver) return;
    if (waitMs > 0) await work.wait(waitMs, abort.signal);
  }
}

/** As long as all of them rest. */
function restMs({ resting, refusedMs }: SendState): number {
  return Math.max(1, Math.min(refusedMs, ...[...resting.values()].map((ms) => ms - performance.now())));
}

/** An older host knows segments and snapshots alone, and says so by the name. A fork is told as what it is here: of files, not of the database. */
function refusal(error: unknown): unknown {
  const waits = "The versions wait here; the database itself is backed up.";
  if (isPageferryError(error, "bad-name")) {
    return new PageferryError("unsupported-version", `the host takes no companion files: ${error.message}`, {
      cause: error,
      hint: `Upgrade pageferry at the host. ${waits}`,
    });
  }
  if (!isPageferryError(error, "fork")) return error;
  return new PageferryError(
    "conflict",
    `companion files are of a history that was refused: ${error.message}`,
    {
      cause: error,
      hint: `${error.hint} ${waits}`,
    },
  );
}

/** Sends the oldest that does not rest. What the host refuses rests, and is told of. Errors: those of the disk. */
async function sendOldest(state: SendState): Promise<"sent" | "refused" | "none"> {
  const { outbox, abort, callGate, hurry, random, resting } = state;
  const { signal } = abort;
  for (const [generation, untilMs] of resting) if (untilMs <= performance.now()) resting.delete(generation);
  const read: { entries: readonly Entry[]; failure: unknown } = { entries: [], failure: undefined };
  const attempt = () =>
    callGate.pass(async () => {
      // Read only now: of a thousand databases that wait for a host few are in memory.
      read.entries = await outbox
        .oldest(inlineBytesMax, (generation) => resting.has(generation))
        .catch((error: unknown) => {
          read.failure = error;
          return [];
        });
      await send(state, read.entries);
    }, signal);
  try {
    await retryForever(attempt, { signal, hurry, random });
  } catch (error) {
    signal.throwIfAborted();
    rest(state, read.entries, error);
    return "refused";
  }
  if (read.failure !== undefined) throw read.failure;
  await outbox.remove(read.entries);
  return read.entries.length > 0 ? "sent" : "none";
}

function rest({ resting, refusedMs, alarms }: SendState, [first]: readonly Entry[], error: unknown): void {
  // What was thrown while nothing was sent is no refusal.
  if (first === undefined) throw error;
  resting.set(first.envelope.begin.generation, performance.now() + refusedMs);
  alarms.raiseError("files-sent", refusal(error));
}

async function send(state: SendState, entries: readonly Entry[]): Promise<void> {
  const { queue, database, abort, now } = state;
  const { signal } = abort;
  const [first] = entries;
  if (first === undefined) return;
  const { items, bodies } = itemsOf(entries);
  // What is there already costs a question; a host that lost its stage gets all of it again.
  for (const body of bodies) await queue.stage(database, body, { signal });
  const envelope = { ...first.envelope, ...newestOf(state, first), sentAtMs: now(), items };
  await queue.send(encodeEnvelope(envelope), { signal });
}

/** What is known of the newest commit goes with a version of the present generation; one before it says nothing of that. */
function newestOf(
  { chapter }: SendState,
  { envelope }: Entry,
): Pick<Envelope, "newestTxId" | "newestStampMs"> {
  const current = chapter();
  return current?.begin.generation === envelope.begin.generation
    ? { newestTxId: current.txId, newestStampMs: current.newestStampMs }
    : { newestTxId: null, newestStampMs: null };
}

function itemsOf(entries: readonly Entry[]): {
  readonly items: readonly EnvelopeItem[];
  readonly bodies: readonly StagedBody[];
} {
  const bodies: StagedBody[] = [];
  let inline = 0;
  const items = entries.flatMap(({ envelope }) =>
    envelope.items.map((item): EnvelopeItem => {
      if (!("bytes" in item)) return item;
      inline += item.bytes.length;
      if (inline <= inlineBytesMax) return item;
      inline -= item.bytes.length;
      const body = bodyOf(item.bytes);
      bodies.push(body);
      return { name: item.name, digest: body.digest, size: body.size };
    }),
  );
  return { items, bodies };
}
