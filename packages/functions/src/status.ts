// How it stands: per database and replica what is stored, how far behind it is, what waits, and what somebody must look at.

import { type DatabaseName, formatTxId, type TxId } from "@pageferry/format";
import type { Alarm, Alarms } from "./alarms.ts";
import type { Repairs } from "./behind.ts";
import type { BreakerState } from "./breaker.ts";
import { ingestLane } from "./consumer.ts";
import { newestRestorable } from "./holdings.ts";
import type { DurableQueue, LaneDepth } from "./queue.ts";
import { formatTime } from "./replica-state.ts";
import type { Sources } from "./sources.ts";
import type { Target } from "./targets.ts";
import type { Verified, VerifiedStatus } from "./verified.ts";

export interface ReplicaStatus {
  readonly name: string;
  /** The newest transaction of the current generation that can be restored from it. */
  readonly txid: string | null;
  /** Its commit stamp, where no later one is stored. */
  readonly time: string | null;
  /** The age of the oldest commit that it lacks; 0 when it lacks none, null while that is unknown. */
  readonly lagMs: number | null;
  /** Messages in its lanes. */
  readonly waiting: number;
  readonly waitingBytes: number;
  readonly deadLetters: number;
  readonly quarantined: number;
  /** Of its circuit breaker. `closed`: asked freely; `open`: left alone; `half-open`: one call finds out whether it is back. */
  readonly breaker: BreakerState;
  readonly failures: number;
  readonly error: string | null;
  /** It lacks what its lanes let go of; another replica has it, and `repair` brings it. */
  readonly needsRepair: boolean;
  /** The newest point that was verified in it last; null: none, or not known yet. */
  readonly verified: VerifiedStatus | null;
}

export interface DatabaseStatus {
  readonly name: string;
  /** The generation that was sent last, its host and epoch. */
  readonly generation: string | null;
  readonly host: string | null;
  readonly epoch: number | null;
  /** What the agent has seen. */
  readonly txid: string | null;
  readonly time: string | null;
  readonly lastHeard: string | null;
  /** The data-loss window: the worst replica's lag. */
  readonly lagMs: number | null;
  /** Messages that no replica was offered yet. */
  readonly waiting: number;
  readonly replicas: readonly ReplicaStatus[];
  readonly alarms: readonly AlarmStatus[];
}

export interface AlarmStatus {
  readonly code: string;
  readonly database?: string;
  readonly replica?: string;
  readonly message: string;
  readonly hint: string;
  readonly since: string;
}

export interface StatusOptions {
  readonly queue: DurableQueue;
  readonly sources: Sources;
  readonly targets: readonly Target[];
  readonly alarms: Alarms;
  readonly repairs: Pick<Repairs, "needsRepair">;
  readonly verified?: Pick<Verified, "of"> | undefined;
}

/** The status of one database; holdings that were not listed yet count as unknown. */
export function databaseStatus(database: DatabaseName, options: StatusOptions): DatabaseStatus {
  const source = options.sources.get(database);
  const depths = options.queue.depths(database);
  const replicas = options.targets.map((target) => replicaStatus(database, target, depths, options));
  const lags = replicas.map((replica) => replica.lagMs);
  const alarms = options.alarms
    .list()
    .filter((alarm) => alarm.database === undefined || alarm.database === database);
  return {
    name: database,
    generation: source?.generation ?? null,
    host: source?.host ?? null,
    epoch: source?.generations.get(source.generation)?.epoch ?? null,
    txid: hex(source?.newestTxId ?? null),
    time: time(source?.newestStampMs ?? null),
    lastHeard: time(source?.lastSeenMs ?? null),
    lagMs: lags.some((lag) => lag === null) ? null : Math.max(0, ...lags.map(Number)),
    waiting: sum(
      depths.filter(({ lane }) => lane === ingestLane),
      "messages",
    ),
    replicas,
    alarms: alarms.map(alarmStatus),
  };
}

function replicaStatus(
  database: DatabaseName,
  target: Target,
  depths: readonly LaneDepth[],
  { sources, repairs, verified }: StatusOptions,
): ReplicaStatus {
  const source = sources.get(database);
  const holdings = target.set.opened().get(database)?.holdingsNow();
  const generation = source === undefined ? undefined : holdings?.generations.get(source.generation);
  const stored =
    holdings === undefined || generation === undefined
      ? null
      : newestRestorable(holdings, generation.generation);
  const own = depths.filter(({ lane }) => lane === target.lane || lane === target.copyLane);
  const { state, failures, error } = target.health();
  return {
    name: target.name,
    txid: hex(stored),
    time: time(stored !== null && generation?.newestTxId === stored ? generation.newestStampMs : null),
    lagMs: holdings === undefined ? null : sources.lagMs(database, stored),
    waiting: sum(own, "messages"),
    waitingBytes: sum(own, "bytes"),
    deadLetters: sum(own, "dead"),
    quarantined: holdings?.quarantined ?? 0,
    breaker: state,
    failures,
    error,
    needsRepair: repairs.needsRepair(target.name, database) !== undefined,
    verified: verified?.of(target, database) ?? null,
  };
}

/** An alarm as the API shows it. */
export function alarmStatus({ sinceMs, ...alarm }: Alarm): AlarmStatus {
  return { ...alarm, since: formatTime(sinceMs) };
}

function sum(depths: readonly LaneDepth[], key: "messages" | "bytes" | "dead"): number {
  return depths.reduce((total, depth) => total + depth[key], 0);
}

function hex(txId: TxId | null): string | null {
  return txId === null ? null : formatTxId(txId);
}

function time(ms: number | null): string | null {
  return ms === null || ms === 0 ? null : formatTime(ms);
}
