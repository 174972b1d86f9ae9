// A replica as the local host works it: left alone for a while after it failed, asked again by itself, its state shown.

import type { Alarms } from "./alarms.ts";
import { deliver, type ForkFound, type Message } from "./deliver.ts";
import type { FanoutTarget } from "./fanout.ts";
import type { LargeBody } from "./replica-put.ts";
import type { ReplicaSet } from "./replicas.ts";
import { backoffMostMs, backoffMs, errorLine, type Outcome } from "./settle.ts";

/** What is known of a replica's health. */
export interface Health {
  readonly failures: number;
  /** It is left alone until then. */
  readonly downUntilMs: number;
  readonly error: string | null;
}

export interface Target extends FanoutTarget {
  readonly set: ReplicaSet;
  readonly now: () => number;
  health(): Health;
  /** Whether fan-out waits for it. */
  isBusy(): boolean;
  /** Resolves when fan-out no longer waits for it. */
  idle(): Promise<void>;
  /** The same for its lanes, where it may take its time beside what fan-out brings. */
  deliverInLane(messages: readonly Message[], signal: AbortSignal): Promise<ReadonlyMap<number, Outcome>>;
}

export interface TargetOptions {
  readonly stagedBody: (digest: string) => Promise<LargeBody>;
  readonly alarms: Alarms;
  readonly now: () => number;
  readonly random: () => number;
}

/** Failures in a row before somebody is told: a restart of a server is no alarm. */
const alarmedFailures = 3;

export function createTarget(set: ReplicaSet, options: TargetOptions): Target {
  const { alarms, now, random } = options;
  let health: Health = { failures: 0, downUntilMs: 0, error: null };
  let direct = 0;
  let idle = Promise.withResolvers<void>();
  idle.resolve();
  const onFork = ({ database, replica, why }: ForkFound) =>
    alarms.raise({
      code: "fork",
      database,
      replica: set.name,
      message: `${replica}: ${why}; a copy is in its quarantine`,
      hint: "Stop one of the two agents; both histories are kept.",
    });
  const note = (outcomes: ReadonlyMap<number, Outcome>): void => {
    const failed = [...outcomes.values()].find((outcome) => outcome.kind === "retry");
    if (failed === undefined) {
      health = { failures: 0, downUntilMs: 0, error: null };
      alarms.clear({ code: "unavailable", replica: set.name });
      return;
    }
    const failures = health.failures + 1;
    const error = errorLine(failed.error);
    health = { failures, downUntilMs: now() + backoffMs(failures, random()), error };
    if (failures < alarmedFailures) return;
    const message = `${set.name}: ${failures} failures in a row, the last: ${error}`;
    alarms.raise({
      code: "unavailable",
      replica: set.name,
      message,
      hint: "It catches up by itself when it returns.",
    });
  };
  const deliverInLane: Target["deliverInLane"] = async (messages, signal) => {
    const { stagedBody } = options;
    const outcomes = await deliver(messages, {
      replicaOf: (database) => set.of(database),
      stagedBody,
      pack: true,
      onFork,
      signal,
    });
    note(outcomes);
    return outcomes;
  };
  return {
    name: set.name,
    lane: `replica:${set.name}`,
    copyLane: `copy:${set.name}`,
    set,
    now,
    // After a clock that went back no wait is longer than the longest.
    health: () => ({ ...health, downUntilMs: Math.min(health.downUntilMs, now() + backoffMostMs) }),
    isBusy: () => direct > 0,
    idle: () => idle.promise,
    isReady() {
      const downForMs = health.downUntilMs - now();
      return direct === 0 && (downForMs <= 0 || downForMs > backoffMostMs);
    },
    deliverInLane,
    async deliver(messages, signal) {
      if (direct === 0) idle = Promise.withResolvers<void>();
      direct += 1;
      try {
        return await deliverInLane(messages, signal);
      } finally {
        direct -= 1;
        if (direct === 0) idle.resolve();
      }
    },
  };
}
