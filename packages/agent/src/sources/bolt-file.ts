// A bolt file as a source of captured transactions. The reading is done by one worker thread for all sources of the process;
// here events arrive, are waited for by one consumer, and their memory is handed back. docs/capture.md has the algorithm.
import { Worker } from "node:worker_threads";
import { type ErrorCode, errorTable, isPageferryError, type TxId } from "@pageferry/format";
import { threadUrl } from "@pageferry/format/node";
import { writePageTable } from "../page-table-file.ts";
import type { BoltFileSourceOptions, CaptureEvent, CaptureSource } from "./capture-event.ts";
import type { OpenOrder, WorkerOrder, WorkerReport } from "./worker-messages.ts";

/**
 * Scans and bases together, per database. A cached read of this speed costs a quarter of a core; a slower disk is not the
 * bottleneck of the application's own fsyncs at half of it.
 */
const maxReadRateDefault = 256 * 1024 * 1024;
const baseDeadlineMsDefault = 10 * 60 * 1000;
const stopDeadlineMsDefault = 5000;

/** The thread that all sources of this process share. It ends when the last source has stopped. */
interface CaptureThread {
  readonly worker: Worker;
  readonly sources: Map<number, (report: WorkerReport | Error) => void>;
}

let thread: CaptureThread | undefined;
let nextId = 1;

/** Young objects are few beside pages, which lie outside the heap; left alone, the thread would keep 48 MB for them. */
const youngMb = 12;

function joinThread(id: number, take: (report: WorkerReport | Error) => void): CaptureThread {
  thread ??= startThread();
  thread.sources.set(id, take);
  return thread;
}

function startThread(): CaptureThread {
  const worker = new Worker(threadUrl("bolt-file-worker", import.meta.url), {
    name: "pageferry-capture",
    resourceLimits: { maxYoungGenerationSizeMb: youngMb },
  });
  const started: CaptureThread = { worker, sources: new Map() };
  worker.on("message", (report: WorkerReport) => started.sources.get(report.id)?.(report));
  worker.on("error", (error) => {
    if (thread === started) thread = undefined;
    const cause = error instanceof Error ? error : new Error(String(error));
    for (const take of [...started.sources.values()]) take(cause);
  });
  return started;
}

function leaveThread(joined: CaptureThread, id: number): void {
  joined.sources.delete(id);
  if (joined.sources.size > 0) return;
  if (thread === joined) thread = undefined;
  void joined.worker.terminate();
}

/** Events that wait for their consumer. */
interface Inbox {
  readonly waiting: { readonly event: CaptureEvent; readonly kib: number }[];
  /** Read by the worker: what the consumer is done with. */
  readonly consumedKib: Uint32Array<SharedArrayBuffer>;
  isEnded: boolean;
  notify: (() => void) | undefined;
}

/**
 * Begins to capture a database. Nothing is thrown: what is wrong with the file comes as alarms, and stays tried. The source must
 * be stopped, or it keeps the process alive.
 */
export function openBoltFileSource(options: BoltFileSourceOptions): CaptureSource {
  return openThreadSource(options, null);
}

/** A source in the capture thread: of a bolt file, or of the mirror of a shadow directory. */
export function openThreadSource(options: BoltFileSourceOptions, shadow: OpenOrder["shadow"]): CaptureSource {
  const id = nextId;
  nextId += 1;
  const consumedKib = new Uint32Array(new SharedArrayBuffer(4));
  const inbox: Inbox = { waiting: [], consumedKib, isEnded: false, notify: undefined };
  const put = (event: CaptureEvent, kib = 0): void => {
    if (inbox.isEnded) return;
    if (event.type === "stopped") inbox.isEnded = true;
    inbox.waiting.push({ event, kib });
    inbox.notify?.();
  };
  const tableAlarms = new Set<ErrorCode>();
  const restamp = createRestamp(options.now);
  const order = (message: WorkerOrder): void => {
    if (!inbox.isEnded) joined.worker.postMessage(message);
  };
  const end = (): void => {
    put({ type: "stopped" });
    leaveThread(joined, id);
  };
  const joined = joinThread(id, (report) => {
    if (report instanceof Error) {
      put(unforeseen(options.path, report.message));
      end();
    } else if (report.kind === "event") put(restamp(report.event), report.kib);
    else if (report.kind === "table") void saveTable(report, put, tableAlarms);
    else {
      if (report.kind === "refused") put({ ...unforeseen(options.path, report.message), code: report.code });
      end();
    }
  });
  order({
    kind: "open",
    id,
    order: {
      path: options.path,
      scratchDir: options.scratchDir,
      reference: options.reference ?? null,
      shadow,
      forced: options.begin,
      isReferenceRestored: options.isReferenceRestored ?? false,
      maxReadRate: options.maxReadRate ?? maxReadRateDefault,
      baseDeadlineMs: options.baseDeadlineMs ?? baseDeadlineMsDefault,
      consumedKib,
    },
  });
  return {
    // A consumer that leaves has no use for more.
    events: eventsOf(inbox, () => order({ kind: "stop", id, deadlineMs: 0 })),
    requestBase: () => order({ kind: "base", id }),
    checkpoint: (path) => order({ kind: "checkpoint", id, path }),
    ...(shadow === null
      ? {}
      : {
          stored: (origin: string, txId: TxId, isOver: boolean) =>
            order({ kind: "stored", id, origin, txId, isOver }),
        }),
    stop: ({ deadlineMs = stopDeadlineMsDefault } = {}) => order({ kind: "stop", id, deadlineMs }),
  };
}

function unforeseen(path: string, reason: string): Extract<CaptureEvent, { type: "alarm" }> {
  const message = `${path}: capture ended: ${reason}`;
  return { type: "alarm", code: "unavailable", message, hint: "Start the agent again, and report this." };
}

async function* eventsOf(inbox: Inbox, abandon: () => void): AsyncGenerator<CaptureEvent> {
  using _ = { [Symbol.dispose]: abandon };
  for (;;) {
    const next = inbox.waiting.shift();
    if (next !== undefined) {
      yield next.event;
      // Asked for the next: the consumer is done with this one.
      Atomics.add(inbox.consumedKib, 0, next.kib);
      handBack(next.event);
      continue;
    }
    if (inbox.isEnded) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    inbox.notify = resolve;
    await promise;
    inbox.notify = undefined;
  }
}

/** Left to the collector, the pages of some hundred commits are a collection of everything; they came from another thread, and are ours alone. */
function handBack(event: CaptureEvent): void {
  if (event.type !== "delta") return;
  for (const { data } of event.frames) {
    if (data.buffer instanceof ArrayBuffer && !data.buffer.detached) data.buffer.transfer(0);
  }
}

/** The worker stamps by the system's clock; a caller may have another. Stamps never fall. */
function createRestamp(now: () => number): (event: CaptureEvent) => CaptureEvent {
  let previousMs = 0;
  const moved = (stampMs: number): number => {
    if (now !== Date.now) stampMs += now() - Date.now();
    previousMs = Math.max(previousMs, stampMs);
    return previousMs;
  };
  return (event) => {
    if (event.type === "delta" || event.type === "base") return { ...event, stampMs: moved(event.stampMs) };
    if (event.type === "seen") return { ...event, atMs: now === Date.now ? event.atMs : now() };
    return event;
  };
}

async function saveTable(
  report: Extract<WorkerReport, { kind: "table" }>,
  put: (event: CaptureEvent) => void,
  alarms: Set<ErrorCode>,
): Promise<void> {
  const { path, table } = report;
  const { txId, stateHash }: { txId: TxId; stateHash: bigint } = table;
  try {
    await writePageTable(path, table);
    for (const code of alarms) put({ type: "cleared", code });
    alarms.clear();
    put({ type: "checkpoint", txId, stateHash, path });
  } catch (error) {
    const code = isPageferryError(error) ? error.code : "unavailable";
    const message = `${path}: the page table could not be written: ${error instanceof Error ? error.message : error}`;
    alarms.add(code);
    put({ type: "alarm", code, message, hint: errorTable[code].hint });
  }
}
