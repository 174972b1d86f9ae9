// The companion files of one database: looked at every few seconds, put into the outbox when they changed, sent from there by the same queue. Beside
// capture, never in its way: what goes wrong here is an alarm of its own. See docs/operations.md#companion-files.
import { createHash } from "node:crypto";
import {
  type CompressionConfig,
  companionSetDigest,
  type Envelope,
  type EnvelopeItem,
  encodeCompanions,
  encodeEnvelope,
  type GenerationBegin,
  inlineBytesMax,
  isPageferryError,
  PageferryError,
  type SkipReason,
  type TxId,
} from "@pageferry/format";
import type { AlarmCode, Alarms } from "../alarms.ts";
import type { Gate } from "../gate.ts";
import type { Queue, StagedBody } from "../queue.ts";
import { retryForever } from "../retry.ts";
import { createWake } from "../wake.ts";
import { type Entry, type Outbox, openOutbox } from "./outbox.ts";
import { printOf } from "./read-file.ts";
import { lookAtSet, readSet, type SetPlace, type SetReading } from "./read-set.ts";

/** The history that a version belongs to: known to the host, and captured right now. */
export interface CompanionsChapter {
  readonly begin: GenerationBegin;
  /** The newest transaction that is known. */
  readonly txId: TxId;
  readonly newestStampMs: number | null;
}

/** What companions are made of. */
export interface CompanionsOptions extends SetPlace {
  readonly database: Envelope["database"];
  /** `<shadowDir>/<name>/files`. */
  readonly directory: string;
  readonly queue: Queue;
  readonly callGate: Gate;
  /** What all databases share, so that a thousand sets are not in memory at once. */
  readonly readGate: Gate;
  readonly alarms: Alarms;
  readonly compression: CompressionConfig;
  readonly now: () => number;
  readonly random: () => number;
  /** How often files are looked at, ms. */
  readonly intervalMs: number;
  /** A host that refuses is asked again after this, ms. */
  readonly refusedMs: number;
  /** Undefined: nothing of the database is at the host yet, and a version would have nothing to belong to. */
  chapter(): CompanionsChapter | undefined;
}

/** The companions of one database at work. */
export interface Companions {
  /** Looks once more, sends what waits, and ends; what the signal cuts off is sent at the next start. */
  stop(signal: AbortSignal): Promise<void>;
}

/** A change that is younger may not be the last: it is looked at again. */
const quietMs = 1000;

/** Looks after which what will not come to rest is taken as it is. */
const restlessLooks = 3;

/** After a version as many ms as this brings its bytes to that pace: files that never rest must not fill an archive. */
const bytesPerMs = 64;

/** Bytes of one envelope, over HTTP: half of what it may have. */
const sentBytesMax = 16 * 1024 * 1024;

/** Whoever puts something in notifies; this is for nothing. */
const idleMs = 60_000;

/** After a failure that has no retrying of its own, such as a full disk. */
const afterFailureMs = 2000;

interface Options extends CompanionsOptions {
  readonly ending: AbortController;
}

interface State extends Options {
  readonly outbox: Outbox;
  readonly work: ReturnType<typeof createWake>;
  readonly hurry: ReturnType<typeof createWake>;
  readonly abort: AbortController;
  /** What the last look that was taken in saw, and of which generation. */
  taken: string;
  looks: number;
  notBeforeMs: number;
  /** The last look is done. */
  isOver: boolean;
}

/** Begins to look; what keeps it from beginning is an alarm, and is tried again. */
export function openCompanions(given: CompanionsOptions): Companions {
  const ending = new AbortController();
  const options = { ...given, ending };
  const beginning = begin(options);
  return {
    async stop(signal) {
      ending.abort();
      await (await beginning)?.(signal);
    },
  };
}

/** Makes the outbox as soon as the disk lets it; `undefined` where the end comes first. */
async function outboxOf({ directory, alarms, intervalMs, ending }: Options): Promise<Outbox | undefined> {
  const pause = createWake();
  for (;;) {
    try {
      return await openOutbox(directory);
    } catch (error) {
      alarms.raiseError("files-kept", error);
    }
    if (ending.signal.aborted) return;
    await pause.wait(intervalMs, ending.signal);
  }
}

async function begin(options: Options): Promise<Companions["stop"] | undefined> {
  const outbox = await outboxOf(options);
  if (outbox === undefined) return;
  const state: State = {
    ...options,
    outbox,
    work: createWake(),
    hurry: createWake(),
    abort: new AbortController(),
    taken: "",
    looks: 0,
    notBeforeMs: 0,
    isOver: false,
  };
  const looking = lookAround(state);
  const sending = sendAll(state);
  return async (signal) => {
    const end = () => state.abort.abort();
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    await looking;
    if (!state.abort.signal.aborted) await lookSafely(state, true);
    state.isOver = true;
    state.work.notify();
    state.hurry.notify();
    await sending;
    signal.removeEventListener("abort", end);
  };
}

async function lookAround(state: State): Promise<void> {
  const pause = createWake();
  while (!state.ending.signal.aborted) {
    await lookSafely(state, false);
    // What was still changing is looked at again as soon as it may have come to rest.
    const pauseMs = state.looks > 0 ? Math.min(quietMs, state.intervalMs) : state.intervalMs;
    await pause.wait(pauseMs, state.ending.signal);
  }
}

async function lookSafely(state: State, isLast: boolean): Promise<void> {
  try {
    await look(state, isLast);
    state.alarms.clear("files-kept");
  } catch (error) {
    state.alarms.raiseError("files-kept", error);
  }
}

async function look(state: State, isLast: boolean): Promise<void> {
  const chapter = state.chapter();
  if (chapter === undefined || (performance.now() < state.notBeforeMs && !isLast)) return;
  // Where the database is gone, so may be all that lies beside it: a volume that is not mounted is no deletion.
  if ((await printOf(state.databasePath)).kind !== "file") return;
  const { generation } = chapter.begin;
  const seen = await lookAtSet(state);
  const text = `${generation} ${seen.text}`;
  if (text === state.taken) {
    state.looks = 0;
    return;
  }
  const isRestless = Math.abs(state.now() - seen.changedMs) < quietMs;
  state.looks += 1;
  const isPatient = !isLast && state.looks < restlessLooks;
  if (isRestless && isPatient) return;
  const found = await state.readGate.pass(() => readSet(seen), state.abort.signal);
  if (isPatient && found.skipped.some(({ why }) => why === "busy")) return;
  await take(state, chapter, found);
  tellSkipped(state, found);
  state.looks = 0;
  // What came so close to the reading that a clock cannot tell it apart is read again.
  state.taken = isRestless ? "" : text;
}

async function take(state: State, chapter: CompanionsChapter, found: SetReading): Promise<void> {
  const { outbox, database } = state;
  const { begin, txId, newestStampMs } = chapter;
  const digest = companionSetDigest(found);
  const noted = outbox.noted();
  const isFirst = noted?.generation !== begin.generation;
  if (!isFirst && noted.digest === digest) return;
  // A new machine where nothing was restored yet must not stand for "there were none": then the generation before it speaks.
  if (isFirst && found.files.length === 0 && found.skipped.length === 0) return;
  const stampMs = Math.max(state.now(), (noted?.stampMs ?? 0) + 1);
  const version = { ...found, generation: begin.generation, txId, stampMs };
  const item = await encodeCompanions(version, state.compression);
  const envelope = { database, begin, sentAtMs: state.now(), newestTxId: txId, newestStampMs, items: [item] };
  const lost = await outbox.put(envelope, { generation: begin.generation, digest, stampMs });
  state.notBeforeMs = performance.now() + item.bytes.length / bytesPerMs;
  if (lost > 0) {
    const message = `${lost} versions of companion files waited for the host and were given up for newer ones`;
    state.alarms.raiseError("files-sent", new PageferryError("too-large", message));
  }
  state.work.notify();
}

const alarmOf: Readonly<Record<SkipReason, { readonly code: AlarmCode; readonly words: string }>> = {
  "too-large": { code: "too-large", words: "is too large: a file has at most 1 MiB, all together 8 MiB" },
  "too-many": { code: "too-large", words: "is one too many: at most 256 are taken" },
  busy: { code: "source-too-busy", words: "changes all the time, and was not read" },
  unreadable: { code: "unauthorized", words: "cannot be read: run as a user who may" },
};

/** One alarm for each kind of trouble, which names the first file. Never what is in it. */
function tellSkipped({ alarms }: State, { skipped, more }: SetReading): void {
  const kinds = Map.groupBy(skipped, ({ why }) => alarmOf[why].code);
  for (const code of new Set(Object.values(alarmOf).map((one) => one.code))) {
    const [first] = kinds.get(code) ?? [];
    if (first === undefined) {
      alarms.clear("files", code);
      continue;
    }
    const others = (kinds.get(code)?.length ?? 0) - 1 + more;
    const message = `companion file ${first.name} ${alarmOf[first.why].words}${others > 0 ? `, and ${others} others are left out` : ""}`;
    const hint = "The other files are backed up. See docs/operations.md#companion-files.";
    alarms.raise("files", { code, message, hint });
  }
}

/** Sends what waits, oldest first, until it is over and nothing waits. Never throws. */
async function sendAll(state: State): Promise<void> {
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

async function sendOldest(state: State): Promise<void> {
  const { queue, database, callGate, abort, hurry, random, now } = state;
  const entries = await state.outbox.oldest(sentBytesMax);
  const [first] = entries;
  if (first === undefined) return;
  const { items, bodies } = itemsOf(entries);
  const { signal } = abort;
  const attempt = () =>
    callGate.pass(async () => {
      // What is there already costs a question; a host that lost its stage gets all of it again.
      for (const body of bodies) await queue.stage(database, body, { signal });
      const envelope = { ...first.envelope, ...newestOf(state, first), sentAtMs: now(), items };
      await queue.send(encodeEnvelope(envelope), { signal });
    }, signal);
  await retryForever(attempt, { signal, hurry, random });
  await state.outbox.remove(entries);
}

/** What is known of the newest commit goes with a version of the present generation; one before it says nothing of that. */
function newestOf({ chapter }: State, { envelope }: Entry): Pick<Envelope, "newestTxId" | "newestStampMs"> {
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
