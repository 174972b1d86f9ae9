// The capture thread: steps the tailers of all sources, sleeps shortly while one is active, and lies still when none is.
import { setImmediate as yieldToEvents } from "node:timers/promises";
import { parentPort } from "node:worker_threads";
import { isPageferryError } from "@pageferry/format";
import { readMachineIdentity } from "../identity.ts";
import { createWake } from "../wake.ts";
import { type HostedSource, type HostShare, hostSource } from "./hosted-source.ts";
import { createImageChecks } from "./image-checks.ts";
import { createImagePlaces } from "./image-places.ts";
import { createLinkKeeper } from "./link-keeper.ts";
import { createLockTable } from "./locks.ts";
import { longestSleepMs } from "./sleep.ts";
import type { WorkerOrder, WorkerReport } from "./worker-messages.ts";

/** Orders, notifications and timers are looked at this often while sources are busy. */
const yieldEveryMs = 10;
/** Sleeps up to this long block the thread: a timer of the event loop would be a millisecond late. */
const blockingMs = 2;
/** The longest sleep: sources that lie still have their own times. */
const sleepMs = 1000;

const port = parentPort;
if (port === null) throw new TypeError("this module runs in a worker thread");

const sources = new Map<number, HostedSource>();
const wake = createWake();
const never = new Int32Array(new SharedArrayBuffer(4));
const clockMs = (): number => performance.now();
const share: HostShare = {
  machine: readMachineIdentity(),
  locks: createLockTable(clockMs),
  checkImage: createImageChecks(),
  images: createImagePlaces(clockMs),
  keepLinks: createLinkKeeper(clockMs),
  clockMs,
  sleepMs: () => longestSleepMs(sources.size),
  report: (report: WorkerReport, transfer) => port.postMessage(report, transfer),
  wake: wake.notify,
};

function obey(order: WorkerOrder): void {
  if (order.kind === "open") {
    open(order);
    return;
  }
  const source = sources.get(order.id);
  if (source === undefined) return;
  if (order.kind === "base") source.requestBase();
  if (order.kind === "checkpoint") source.checkpoint(order.path);
  if (order.kind === "stored") source.stored(order.origin, order.txId, order.isOver);
  if (order.kind === "stop") source.stop(order.deadlineMs);
}

function open({ id, order }: Extract<WorkerOrder, { kind: "open" }>): void {
  try {
    sources.set(id, hostSource(id, order, share));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const code = isPageferryError(error) ? error.code : "unavailable";
    share.report({ kind: "refused", id, code, message }, []);
  }
}

/** Steps what is due; answers when something is due next. */
function stepDue(due: Iterable<HostedSource>): number {
  let nextMs = Number.POSITIVE_INFINITY;
  for (const source of due) {
    if (source.dueMs <= clockMs() && !stepSource(source)) {
      sources.delete(source.id);
      continue;
    }
    nextMs = Math.min(nextMs, source.dueMs);
  }
  return nextMs;
}

/** A source that fails in a way nobody foresaw must not take the others with it. */
function stepSource(source: HostedSource): boolean {
  try {
    return source.step();
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    share.report({ kind: "refused", id: source.id, code: "unavailable", message }, []);
    return false;
  }
}

/** Steps the sources that are awake until the event loop must have its turn, or nothing is due soon. */
function stepAwake(): void {
  const yieldAtMs = clockMs() + yieldEveryMs;
  const awake = [...sources.values()].filter((source) => source.dueMs - clockMs() < blockingMs);
  while (clockMs() < yieldAtMs) {
    const waitMs = stepDue(awake) - clockMs();
    if (waitMs > blockingMs || awake.some((source) => !sources.has(source.id))) return;
    if (waitMs > 0) Atomics.wait(never, 0, 0, waitMs);
  }
}

port.on("message", (order: WorkerOrder) => {
  obey(order);
  wake.notify();
});

async function run(): Promise<never> {
  for (;;) {
    stepAwake();
    const waitMs = Math.min(sleepMs, stepDue(sources.values()) - clockMs());
    if (waitMs <= blockingMs) await yieldToEvents();
    else await wake.wait(waitMs);
  }
}

// Not while this module is being evaluated: a thread that is ended then takes the process with it (V8, awaiting modules).
setImmediate(run);
