// Sends the versions of companion files that wait in an outbox, oldest first, by the queue that the database's own segments take.
import { createHash } from "node:crypto";
import {
  type Envelope,
  type EnvelopeItem,
  encodeEnvelope,
  inlineBytesMax,
  isPageferryError,
  PageferryError,
} from "@pageferry/format";
import type { StagedBody } from "../queue.ts";
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
    try {
      await sendOldest(state);
      alarms.clear("files-sent");
    } catch (error) {
      if (abort.signal.aborted) return;
      const isPassing = isPageferryError(error) && error.remedy === "retry";
      alarms.raiseError("files-sent", isPassing ? error : refusal(error));
      if (state.isOver) return;
      await work.wait(isPassing ? afterFailureMs : state.refusedMs, abort.signal);
    }
  }
}

/** An older host knows segments and snapshots alone, and says so by the name. */
function refusal(error: unknown): unknown {
  if (!isPageferryError(error, "bad-name")) return error;
  return new PageferryError("unsupported-version", `the host takes no companion files: ${error.message}`, {
    cause: error,
    hint: "Upgrade pageferry at the host. The versions wait here; the database itself is backed up.",
  });
}

async function sendOldest(state: SendState): Promise<void> {
  const { outbox, abort, callGate, hurry, random } = state;
  const { signal } = abort;
  const outcome: { sent: readonly Entry[]; failure: unknown } = { sent: [], failure: undefined };
  const attempt = () =>
    callGate.pass(async () => {
      // Read only now: of a thousand databases that wait for a host few are in memory.
      const entries = await outbox.oldest(inlineBytesMax).catch((error: unknown) => {
        outcome.failure = error;
        return [];
      });
      await send(state, entries);
      outcome.sent = entries;
    }, signal);
  await retryForever(attempt, { signal, hurry, random });
  if (outcome.failure !== undefined) throw outcome.failure;
  await outbox.remove(outcome.sent);
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

function bodyOf(bytes: Uint8Array): StagedBody {
  async function* open(): AsyncGenerator<Uint8Array> {
    yield bytes;
  }
  return { digest: createHash("sha256").update(bytes).digest("hex"), size: bytes.length, open };
}
