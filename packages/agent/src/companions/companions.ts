// The companion files of one database: looked at every few seconds, put into the outbox when they changed, sent from there by the same queue. Beside
// capture, never in its way: what goes wrong here is an alarm of its own. See docs/operations.md#companion-files.
import {
  type CompressionConfig,
  companionSetDigest,
  counted,
  type Envelope,
  encodeCompanions,
  type GenerationBegin,
  isPageferryError,
  PageferryError,
  type SkipReason,
  type TxId,
} from "@pageferry/format";
import type { AlarmCode, Alarms } from "../alarms.ts";
import type { Gate } from "../gate.ts";
import type { Queue } from "../queue.ts";
import { createWake } from "../wake.ts";
import { type Outbox, openOutbox } from "./outbox.ts";
import { printOf } from "./read-file.ts";
import { lookAtSet, readSet, type SetLook, type SetPlace, type SetReading } from "./read-set.ts";
import { type SendState, sendAll } from "./send-versions.ts";

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
  /** A full disk took no version; told with each attempt. */
  onNoRoom(): void;
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

/** A look that takes as long as so many should is told of; one that is short of time is not, at least not at once. */
const missedLooks = 12;
const slowMsMin = 5000;

interface Options extends CompanionsOptions {
  readonly ending: AbortController;
}

interface State extends Options, SendState {
  /** What the last look that was taken in saw, and what it was taken in as. */
  taken: string;
  looks: number;
  notBeforeMs: number;
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
async function outboxOf(options: Options): Promise<Outbox | undefined> {
  const { directory, intervalMs, ending } = options;
  const pause = createWake();
  for (;;) {
    try {
      return await openOutbox(directory, (file) => tellBroken(options, file));
    } catch (error) {
      failed(options, error);
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
    resting: new Map(),
  };
  const looking = lookAround(state);
  const sending = sendAll(state);
  return async (signal) => {
    const cut = Promise.withResolvers<void>();
    const end = () => {
      state.abort.abort();
      cut.resolve();
    };
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    // A file system that does not answer may never do.
    await Promise.race([endSoon(state, looking), cut.promise]);
    state.isOver = true;
    state.work.notify();
    state.hurry.notify();
    await sending;
    signal.removeEventListener("abort", end);
  };
}

async function endSoon(state: State, looking: Promise<void>): Promise<void> {
  state.ending.abort();
  await looking;
  if (!state.abort.signal.aborted) await lookSafely(state, true);
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
  const { alarms, abort, intervalMs, databasePath } = state;
  const tellSlow = (): void => {
    const message = `${databasePath}: looking at its companion files does not come to an end`;
    const hint = "Is a file system away that they lie on? The database itself is backed up.";
    alarms.raise("files-kept", { code: "unavailable", message, hint });
  };
  const slow = setTimeout(tellSlow, Math.max(slowMsMin, missedLooks * intervalMs));
  try {
    await look(state, isLast);
    alarms.clear("files-kept");
  } catch (error) {
    if (!abort.signal.aborted) failed(state, error);
  } finally {
    clearTimeout(slow);
  }
}

function failed({ alarms, onNoRoom }: CompanionsOptions, error: unknown): void {
  alarms.raiseError("files-kept", error);
  if (isPageferryError(error, "disk-full")) onNoRoom();
}

async function look(state: State, isLast: boolean): Promise<void> {
  const chapter = state.chapter();
  if (chapter === undefined || (performance.now() < state.notBeforeMs && !isLast)) return;
  // Where the database is gone, so may be all that lies beside it: a volume that is not mounted is no deletion.
  if ((await printOf(state.databasePath)).kind !== "file") return;
  const seen = await lookAtSet(state);
  if (takenAs(state, chapter, seen) === state.taken) {
    state.looks = 0;
    return;
  }
  const isRestless = Math.abs(state.now() - seen.changedMs) < quietMs;
  state.looks += 1;
  const isPatient = !isLast && state.looks < restlessLooks;
  if (isRestless && isPatient) return;
  const found = await state.readGate.pass(() => readSet(seen), state.abort.signal);
  // What comes after the end is another agent's to put in.
  state.abort.signal.throwIfAborted();
  if (isPatient && found.skipped.some(({ why }) => why === "busy")) return;
  await take(state, chapter, found);
  tellSkipped(state, found);
  state.looks = 0;
  const isToBeRead = found.skipped.some(({ why }) => why === "busy" || why === "unreadable");
  if (isToBeRead) state.notBeforeMs = Math.max(state.notBeforeMs, paceOf(found));
  // What came so close to the reading that a clock cannot tell it apart is read again, and so is what could not be: nothing tells when it can.
  state.taken = isRestless || isToBeRead ? "" : takenAs(state, chapter, seen);
}

/** When as much may be read again. */
function paceOf({ files }: SetReading): number {
  return performance.now() + files.reduce((sum, { bytes }) => sum + bytes.length, 0) / bytesPerMs;
}

/** Equal as long as there is nothing new, and what the host does not have yet is in the outbox. */
function takenAs({ outbox }: State, { begin }: CompanionsChapter, { text }: SetLook): string {
  return `${begin.generation} ${outbox.noted()?.digest} ${text}`;
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
    const message = `${counted(lost, "version")} of companion files waited for the host and ${lost === 1 ? "was" : "were"} given up for newer ones`;
    state.alarms.raiseError("files-sent", new PageferryError("too-large", message));
  }
  state.work.notify();
}

function tellBroken({ alarms, directory }: CompanionsOptions, file: string): void {
  const message = `${directory}/${file}: it is no version of companion files any more, and was given up`;
  alarms.raiseError("files-sent", new PageferryError("corrupt", message));
}

const alarmOf: Readonly<Record<SkipReason, { readonly code: AlarmCode; readonly words: string }>> = {
  "too-large": { code: "too-large", words: "is too large: a file has at most 1 MiB, all together 8 MiB" },
  "too-many": { code: "too-large", words: "is one too many, or has too many in it: at most 256 are taken" },
  busy: { code: "source-too-busy", words: "changes all the time, and was not read" },
  unreadable: { code: "unauthorized", words: "cannot be read, or has names in it that are not UTF-8" },
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
    const message = `companion file ${first.name} ${alarmOf[first.why].words}${others > 0 ? `, and ${counted(others, "other is", "others are")} left out` : ""}`;
    const hint = "The other files are backed up. See docs/operations.md#companion-files.";
    alarms.raise("files", { code, message, hint });
  }
}
