// The local host's loops: one takes what came in and fans it out, two for each replica work off its lanes. At least once:
// what a killed process had taken comes again, and is found to be present.

import { decodeEnvelope } from "@pageferry/format";
import type { Alarms } from "./alarms.ts";
import type { Pass } from "./breaker.ts";
import { withDeadline } from "./deadline.ts";
import type { Message } from "./deliver.ts";
import { fanOut } from "./fanout.ts";
import type { Delivery, DurableQueue, Settlement } from "./queue.ts";
import type { Relief } from "./relief.ts";
import { backoffMs, errorLine, settleLane } from "./settle.ts";
import type { Target } from "./targets.ts";
import { createWaiters } from "./waiters.ts";

/** Where messages come in. */
export const ingestLane = "ingest";

/** One batch: its bodies are in memory, once, while all replicas take them. */
const batch = { messagesMax: 256, bytesMax: 32 * 1024 * 1024 };

/** A lane's batch: smaller, because reading it from the queue holds up everything else. */
const laneBatch = { messagesMax: 256, bytesMax: 8 * 1024 * 1024 };

/** Longer than any batch may take; a lane extends its own while it copies. */
const visibilityMs = 60_000;

/** A message that was taken this often and never answered for kills who takes it. */
const receivesMax = 8;

/** What a lane's batch may take before it is tried anew: a large body on a slow line. */
const laneDeadlineMs = 6 * 60 * 60 * 1000;

/** Nothing waits longer than this for a wake that was missed. */
const pollMs = 10_000;

/** After the queue's own file failed, as when the disk is full. */
const pauseMs = 1000;

/** How soon a lane looks again whether another call has found out that its replica is back. */
const probedMs = 1000;

export interface ConsumerOptions {
  readonly queue: DurableQueue;
  readonly targets: readonly Target[];
  readonly alarms: Alarms;
  readonly random: () => number;
  /** Keeps lanes within their bounds. */
  readonly relief?: Relief;
  /** How long to wait for more messages to pack together. Default 0. */
  readonly packWindowMs?: number;
  /** After this a batch goes on in the lanes of those that are not done with it. Default 5 s. */
  readonly deadlineMs?: number;
}

export interface Consumer {
  /** Whether nothing waits that a replica in health could take. */
  isDrained(): boolean;
  /** Resolves when it is drained, or after `timeoutMs`. */
  drained(timeoutMs: number): Promise<boolean>;
  /** Ends the loops; what is under way is given up, and comes again. */
  stop(): Promise<void>;
}

interface Run extends ConsumerOptions {
  readonly signal: AbortSignal;
  /** Woken whenever a replica is done with something. */
  readonly progress: ReturnType<typeof createWaiters>;
}

export function startConsumer(options: ConsumerOptions): Consumer {
  const stopping = new AbortController();
  const run: Run = { ...options, signal: stopping.signal, progress: createWaiters() };
  const loops = [
    forever(run, () => fanOutOnce(run)),
    ...options.targets.flatMap((target) => [
      forever(run, () => laneOnce(run, target, target.lane, laneBatch)),
      forever(run, () => laneOnce(run, target, target.copyLane, { ...laneBatch, messagesMax: 1 })),
    ]),
  ];
  const isDrained = () => {
    const resting = options.targets.filter((target) => target.health().state !== "closed");
    const left = new Set(resting.flatMap(({ lane, copyLane }) => [lane, copyLane]));
    const lanes = [ingestLane, ...options.targets.flatMap(({ lane, copyLane }) => [lane, copyLane])];
    return lanes.every((lane) => left.has(lane) || options.queue.load(lane).messages === 0);
  };
  return {
    isDrained,
    async drained(timeoutMs) {
      const endMs = performance.now() + timeoutMs;
      for (; !isDrained() && performance.now() < endMs; ) {
        await run.progress.wait(ingestLane, Math.min(100, endMs - performance.now()), run.signal);
      }
      return isDrained();
    },
    async stop() {
      stopping.abort();
      await Promise.all(loops);
    },
  };
}

/** Repeats a step until it is told to stop. What a step throws is the queue's own failure: it is told, and tried again. */
async function forever(run: Run, step: () => Promise<void>): Promise<void> {
  while (!run.signal.aborted) {
    try {
      await step();
      run.alarms.clear({ code: "queue" });
    } catch (error) {
      if (run.signal.aborted) return;
      tellQueueAlarm(run, error);
      await run.progress.wait("pause", pauseMs, run.signal);
    }
  }
}

async function fanOutOnce(run: Run): Promise<void> {
  const { queue, targets, signal } = run;
  // With every replica busy a message would only wait in lanes; here it may be packed with those that come after it.
  const isFree = (target: Target) => !target.isBusy() && target.health().state === "closed";
  const mayGo = () => targets.some(isFree) || targets.every((target) => !target.isBusy());
  while (!mayGo() && !signal.aborted) await run.progress.wait("idle", pollMs, signal);
  const deliveries = signal.aborted ? [] : queue.receive(ingestLane, { ...batch, visibilityMs });
  if (deliveries.length === 0) {
    await queue.wait(ingestLane, pollMs, signal);
    if (run.packWindowMs) await run.progress.wait("pack", run.packWindowMs, signal);
    return;
  }
  const { messages, settlements } = decoded(deliveries);
  queue.settle(settlements);
  if (messages.length === 0) return;
  const { deadlineMs } = run;
  const bounds = { signal, ...(deadlineMs === undefined ? {} : { deadlineMs }) };
  const settled = fanOut(messages, targets, bounds).then((done) => settleAtLast(run, done));
  for (const target of targets) void target.idle().then(() => run.progress.wake("idle"));
  // One replica that is slow must not hold up the next batch for the others; fanOut itself never throws.
  await Promise.race([settled, run.progress.wait("idle", pollMs, signal)]);
}

async function laneOnce(run: Run, target: Target, lane: string, bounds: typeof batch): Promise<void> {
  const { queue, signal } = run;
  if (queue.load(lane).messages === 0) return queue.wait(lane, pollMs, signal);
  const down = `down:${target.name}`;
  const pass = target.enter();
  if (pass === undefined) return run.progress.wait(down, target.health().waitMs || probedMs, signal);
  try {
    // Whether it is back is asked with one message.
    const messagesMax = pass.isProbe ? 1 : bounds.messagesMax;
    const deliveries = queue.receive(lane, { ...bounds, messagesMax, visibilityMs });
    const { messages, settlements } = decoded(deliveries);
    queue.settle(settlements);
    if (messages.length > 0) return await workLane(run, target, { deliveries, messages, pass });
    // While it waits, another lane may find out.
    pass.abandoned();
    if (deliveries.length === 0) await queue.wait(lane, pollMs, signal);
  } finally {
    // Nothing, where it was told how it ended.
    pass.abandoned();
    run.progress.wake(down);
  }
}

interface LaneTurn {
  readonly deliveries: readonly Delivery[];
  readonly messages: readonly Message[];
  readonly pass: Pass;
}

async function workLane(run: Run, target: Target, { deliveries, messages, pass }: LaneTurn): Promise<void> {
  const ids = messages.map(({ id }) => id);
  const extending = setInterval(() => extend(run, ids), visibilityMs / 3);
  try {
    const outcomes = await withDeadline(laneDeadlineMs, run.signal, (until) =>
      target.deliverInLane(messages, pass, until),
    );
    const counts = new Map(deliveries.map(({ id, receiveCount }) => [id, receiveCount]));
    const done = [...outcomes].map(([id, outcome]) => {
      const receiveCount = counts.get(id) ?? 1;
      return settleLane(id, receiveCount, outcome, backoffMs(receiveCount, run.random()));
    });
    await settleAtLast(run, done);
  } catch (error) {
    // Its time was over: what it had stored by then is found to be present.
    const again = ids.map((id) => ({ id, kind: "retry", delayMs: 0, error: errorLine(error) }) as const);
    await settleAtLast(run, again);
  } finally {
    clearInterval(extending);
  }
}

/** What cannot be extended comes a second time, and is found to be present. */
function extend(run: Run, ids: readonly number[]): void {
  try {
    run.queue.extend(ids, visibilityMs);
  } catch (error) {
    tellQueueAlarm(run, error);
  }
}

/** Decodes what was taken; what is no envelope, or never ends well, is a dead letter at once. */
function decoded(deliveries: readonly Delivery[]): {
  readonly messages: Message[];
  readonly settlements: Settlement[];
} {
  const messages: Message[] = [];
  const settlements: Settlement[] = [];
  for (const { id, body, receivedAtMs, receiveCount, lane } of deliveries) {
    try {
      if (lane === ingestLane && receiveCount > receivesMax) {
        settlements.push({
          id,
          kind: "dead",
          error: `unexpected: taken ${receiveCount} times, and never answered for`,
        });
      } else {
        messages.push({ id, envelope: decodeEnvelope(body), receivedAtMs });
      }
    } catch (error) {
      settlements.push({ id, kind: "dead", error: errorLine(error) });
    }
  }
  return { messages, settlements };
}

/** What cannot be settled now, as with a full disk, is settled later: until then nobody else gets it. */
async function settleAtLast(run: Run, settlements: readonly Settlement[]): Promise<void> {
  while (!run.signal.aborted) {
    try {
      run.queue.settle(settlements);
      run.progress.wake(ingestLane);
      run.relief?.check();
      return;
    } catch (error) {
      tellQueueAlarm(run, error);
      await run.progress.wait("pause", pauseMs, run.signal);
    }
  }
}

function tellQueueAlarm({ alarms }: Run, error: unknown): void {
  const message = `the queue cannot be worked: ${errorLine(error)}`;
  alarms.raise({ code: "queue", message, hint: "Look at the disk that holds it; work goes on by itself." });
}
