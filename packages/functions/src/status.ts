// How it stands: per database and replica what is stored, how far behind it is, what waits, and what somebody must look at.

import { type DatabaseName, formatTxId, type TxId } from "@pageferry/format";
import type { Alarm, Alarms } from "./alarms.ts";
import type { Repairs } from "./behind.ts";
import { ingestLane } from "./consumer.ts";
import type { Stretch } from "./coverage.ts";
import { type HistoryStatus, historiesOf } from "./histories.ts";
import type { OperationCounter } from "./operation-counts.ts";
import { type PartingStatus, partingStatus } from "./parting.ts";
import type { DurableQueue } from "./queue.ts";
import { formatTime } from "./replica-state.ts";
import type { Sources } from "./sources.ts";
import { type GapStatus, gapStatus, type ReplicaStatus, replicaStatus } from "./status-replica.ts";
import type { Target } from "./targets.ts";
import type { Upkeep } from "./upkeep.ts";
import type { Verified } from "./verified.ts";

export interface DatabaseStatus {
  readonly name: string;
  /** The generation that was sent last, its host and epoch. */
  readonly generation: string | null;
  readonly host: string | null;
  readonly epoch: number | null;
  /** All that its replicas hold, newest first, at most 32 of them. */
  readonly generations: readonly HistoryStatus[];
  readonly generationCount: number;
  /** What the agent has seen. */
  readonly txid: string | null;
  readonly time: string | null;
  /** The newest that is durable here, in the queue or beyond it. */
  readonly queued: string | null;
  readonly lastHeard: string | null;
  /** It is no longer backed up, on purpose; null: it is. What follows is what is left of it. */
  readonly parted: PartingStatus | null;
  /** The data-loss window: the worst replica's lag. */
  readonly lagMs: number | null;
  /** The worst replica's, likewise. */
  readonly lagTransactions: number | null;
  /** What no replica has, and what does not come any more: transactions after `from`, up to `to`. At most 20 are named. */
  readonly gaps: readonly GapStatus[];
  /** Null while it is not known. */
  readonly gapCount: number | null;
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
  readonly queue: Pick<DurableQueue, "depths">;
  readonly sources: Sources;
  readonly targets: readonly Target[];
  readonly alarms: Alarms;
  readonly repairs: Pick<Repairs, "needsRepair">;
  readonly verified?: Pick<Verified, "of"> | undefined;
  readonly upkeep?: Pick<Upkeep, "of"> | undefined;
  /** Of operations on the stores. */
  readonly counts?: Pick<OperationCounter, "of"> | undefined;
  /** Of the current generation, in all replicas together; undefined: not known. */
  readonly gaps?: readonly Stretch[] | undefined;
}

/** The status of one database; holdings that were not listed yet count as unknown. */
export function databaseStatus(database: DatabaseName, options: StatusOptions): DatabaseStatus {
  const source = options.sources.get(database);
  const current = source?.generations.get(source.generation);
  const depths = options.queue.depths(database);
  const replicas = options.targets.map((target) => replicaStatus(database, target, depths, options));
  const alarms = options.alarms
    .list()
    .filter((alarm) => alarm.database === undefined || alarm.database === database);
  return {
    name: database,
    generation: source?.generation ?? null,
    host: source?.host ?? null,
    epoch: current?.epoch ?? null,
    ...historiesOf(options.targets.flatMap(({ set }) => set.opened().get(database)?.holdingsNow() ?? [])),
    txid: hex(source?.newestTxId ?? null),
    time: time(source?.newestStampMs ?? null),
    queued: hex(current?.acceptedTxId ?? null),
    lastHeard: time(source?.lastSeenMs ?? null),
    parted: source?.parting ? partingStatus(source.parting) : null,
    lagMs: worst(replicas.map((replica) => replica.lagMs)),
    lagTransactions: worst(replicas.map((replica) => replica.lagTransactions)),
    ...(options.gaps === undefined ? { gaps: [], gapCount: null } : gapStatus(options.gaps)),
    waiting: depths.find(({ lane }) => lane === ingestLane)?.messages ?? 0,
    replicas,
    alarms: alarms.map(alarmStatus),
  };
}

/** An alarm as the API shows it. */
export function alarmStatus({ sinceMs, ...alarm }: Alarm): AlarmStatus {
  return { ...alarm, since: formatTime(sinceMs) };
}

function hex(txId: TxId | null): string | null {
  return txId === null ? null : formatTxId(txId);
}

function time(ms: number | null): string | null {
  return ms === null || ms === 0 ? null : formatTime(ms);
}

/** Null where one of them is not known. */
function worst(lags: readonly (number | null)[]): number | null {
  return lags.some((lag) => lag === null) ? null : Math.max(0, ...lags.map(Number));
}
