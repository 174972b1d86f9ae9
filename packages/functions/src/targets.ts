// A replica as the local host works it: behind a circuit breaker, with its lanes, asked by one batch at a time.

import { type DatabaseName, isPageferryError, PageferryError } from "@pageferry/format";
import type { Alarms } from "./alarms.ts";
import { type Breaker, type BreakerState, createBreaker, type Pass } from "./breaker.ts";
import { untilAborted, withDeadline } from "./deadline.ts";
import { deliver, type ForkFound, type Message } from "./deliver.ts";
import type { FanoutTarget } from "./fanout.ts";
import type { LargeBody } from "./replica-put.ts";
import type { ReplicaSet } from "./replicas.ts";
import type { Outcome } from "./settle.ts";

/** What is known of a replica's health. */
export interface Health {
  readonly state: BreakerState;
  /** In a row. */
  readonly failures: number;
  /** It is left alone for this long, ms. */
  readonly waitMs: number;
  readonly error: string | null;
}

export interface Target extends FanoutTarget {
  readonly set: ReplicaSet;
  health(): Health;
  /** Whether fan-out waits for it. */
  isBusy(): boolean;
  /** Resolves when fan-out no longer waits for it. */
  idle(): Promise<void>;
  /** The right to ask it, for `deliverInLane`; `undefined`: not now. */
  enter(): Pass | undefined;
  /** The same as `deliver` for its lanes, where it may take its time beside what fan-out brings. */
  deliverInLane(
    messages: readonly Message[],
    pass: Pass,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<number, Outcome>>;
  /** Asks it something else; `unavailable` at once while it is left alone. */
  ask<Result>(work: (signal: AbortSignal) => Promise<Result>, signal?: AbortSignal): Promise<Result>;
}

export interface TargetOptions {
  readonly stagedBody: (digest: string, database: DatabaseName) => Promise<LargeBody>;
  readonly alarms: Alarms;
  readonly now: () => number;
  readonly random: () => number;
  /** How many messages wait in a lane: what follows them goes the same way. Default none. */
  readonly waiting?: (lane: string) => number;
  /**
   * Whether `deliver` itself finds out, once it was left alone for long enough, whether the replica is back: where no lane of this
   * process does. Default false.
   */
  readonly probes?: boolean;
  /** Told of every history that contradicts the stored one. */
  readonly onFork?: (fork: ForkFound) => void;
}

/** Failures in a row before somebody is told: a restart of a server is no alarm. */
const alarmedFailures = 3;

/** A question that takes longer keeps nobody else from finding out whether the replica is back. */
const askMs = 15_000;

export function createTarget(set: ReplicaSet, options: TargetOptions): Target {
  const { now, random, waiting = () => 0 } = options;
  const breaker = createBreaker({
    now,
    random,
    onChange: (changed) => tell(set.name, changed, options.alarms),
  });
  const lane = `replica:${set.name}`;
  let direct = 0;
  let idle = Promise.withResolvers<void>();
  idle.resolve();
  const mayProbe = () => options.probes === true && breaker.state() === "open" && breaker.waitMs() === 0;
  const isReady = () => (breaker.state() === "closed" || mayProbe()) && direct === 0 && waiting(lane) === 0;
  const deliverInLane: Target["deliverInLane"] = (messages, pass, signal) =>
    passing({ pass, signal, isStrict: true }, async () => {
      const outcomes = await deliver(messages, {
        replicaOf: (database) => set.of(database),
        stagedBody: options.stagedBody,
        pack: true,
        onFork: (fork) => forkFound(set.name, fork, options),
        signal,
      });
      const failed = [...outcomes.values()].find((outcome) => outcome.kind === "retry");
      return { result: outcomes, error: failed?.error };
    });
  return {
    name: set.name,
    lane,
    copyLane: `copy:${set.name}`,
    set,
    health: () => ({
      state: breaker.state(),
      failures: breaker.failures(),
      waitMs: breaker.waitMs(),
      error: breaker.error(),
    }),
    isBusy: () => direct > 0,
    idle: () => idle.promise,
    isReady,
    enter: breaker.enter,
    deliverInLane,
    async deliver(messages, signal) {
      const pass = isReady() ? breaker.enter() : undefined;
      if (pass === undefined) throw resting(set.name, breaker);
      if (direct === 0) idle = Promise.withResolvers<void>();
      direct += 1;
      try {
        return await deliverInLane(messages, pass, signal);
      } finally {
        direct -= 1;
        if (direct === 0) idle.resolve();
      }
    },
    async ask(work, signal) {
      const pass = breaker.enter();
      if (pass === undefined) throw resting(set.name, breaker);
      return withDeadline(askMs, signal, (until) =>
        passing({ pass, signal: until, isStrict: pass.isProbe }, async () => {
          return { result: await work(until), error: undefined };
        }),
      );
    },
  };
}

interface Passing {
  readonly pass: Pass;
  readonly signal: AbortSignal;
  /** Whether it has failed when its time is over; a long listing may only be long. */
  readonly isStrict: boolean;
}

/** Carries out what a pass was given for, and tells how it ended. What goes beyond its signal is not waited for. */
async function passing<Result>(
  { pass, signal, isStrict }: Passing,
  work: () => Promise<{ readonly result: Result; readonly error: unknown }>,
): Promise<Result> {
  try {
    const { result, error } = await untilAborted(work(), signal);
    if (error === undefined) pass.succeeded();
    else pass.failed(error);
    return result;
  } catch (error) {
    // That it is another's archive is an answer; who was stopped by its caller did not fail.
    const isStopped = signal.aborted && (!isStrict || !isPageferryError(error));
    if (isPageferryError(error, "conflict")) pass.succeeded();
    else if (isStopped) pass.abandoned();
    else pass.failed(error);
    throw error;
  }
}

function resting(name: string, breaker: Breaker): PageferryError {
  const why = breaker.error() ?? "it is busy";
  return new PageferryError("unavailable", `${name}: is left alone for now, because ${why}`);
}

function tell(name: string, breaker: Breaker, alarms: Alarms): void {
  const failures = breaker.failures();
  if (failures === 0) alarms.clear({ code: "unavailable", replica: name });
  if (failures < alarmedFailures) return;
  alarms.raise({
    code: "unavailable",
    replica: name,
    message: `${name}: ${failures} failures in a row, the last: ${breaker.error()}`,
    hint: "It catches up by itself when it returns.",
  });
}

function forkFound(name: string, fork: ForkFound, { alarms, onFork }: TargetOptions): void {
  const { database, replica, why } = fork;
  alarms.raise({
    code: "fork",
    database,
    replica: name,
    message: `${replica}: ${why}; a copy is in its quarantine`,
    hint: "Stop one of the two agents; both histories are kept.",
  });
  onFork?.({ ...fork, replica: name });
}
