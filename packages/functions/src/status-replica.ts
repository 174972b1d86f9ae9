// How one database stands in one replica, of what is remembered: no listing, no read.

import { type DatabaseName, formatTxId, type ObjectName, type TxId } from "@pageferry/format";
import type { BreakerState } from "./breaker.ts";
import { type MonthStatus, pricesOf, projectMonth } from "./cost.ts";
import { missingFromAll, type Stretch } from "./coverage.ts";
import {
  type GenerationHoldings,
  type Holdings,
  newestRestorable,
  oldestBase,
  type Tally,
} from "./holdings.ts";
import type { LaneDepth } from "./queue.ts";
import { formatTime } from "./replica-state.ts";
import { estimateRestore, type RestoreStatus } from "./restore-estimate.ts";
import type { StatusOptions } from "./status.ts";
import type { Target } from "./targets.ts";
import type { Done } from "./upkeep.ts";
import type { VerifiedStatus } from "./verified.ts";

/** Gaps that are named; all are counted. */
const gapsMax = 20;

export interface ReplicaStatus {
  readonly name: string;
  /** The newest transaction of the current generation that can be restored from it. */
  readonly txid: string | null;
  /** Its commit stamp, where no later one is stored. */
  readonly time: string | null;
  /** The age of the oldest commit that it lacks; 0 when it lacks none, null while that is unknown. */
  readonly lagMs: number | null;
  /** Transactions that it lacks; 0 and null likewise. */
  readonly lagTransactions: number | null;
  /** What it lacks between what it has, above the newest snapshot: transactions after `from`, up to `to`. At most 20 are named. */
  readonly gaps: readonly GapStatus[];
  readonly gapCount: number;
  /** Messages in its lanes. */
  readonly waiting: number;
  readonly waitingBytes: number;
  readonly deadLetters: number;
  readonly lanes: readonly LaneStatus[];
  readonly quarantined: number;
  /** Of its circuit breaker. `closed`: asked freely; `open`: left alone; `half-open`: one call finds out whether it is back. */
  readonly breaker: BreakerState;
  readonly failures: number;
  readonly error: string | null;
  /** It lacks what its lanes let go of; another replica has it, and `repair` brings it. */
  readonly needsRepair: boolean;
  /** The newest point that was verified in it last; null: none, or not known yet. */
  readonly verified: VerifiedStatus | null;
  /** The newest snapshot of the current generation. */
  readonly snapshot: SnapshotStatus | null;
  /** Versions of its companion files, of all generations; null: it has none. */
  readonly files: FilesStatus | null;
  /** When each was done last here, and what came of it. */
  readonly compaction: DoneStatus | null;
  readonly prune: DoneStatus | null;
  readonly repair: DoneStatus | null;
  /** What it takes; null until it was listed. */
  readonly storage: StorageStatus | null;
  /** A month, if it goes on as since the host's start; null until an hour was counted. */
  readonly month: MonthStatus | null;
  /** What a restore of its newest point would read, and how long that would take. */
  readonly restore: RestoreStatus | null;
}

export interface GapStatus {
  readonly from: string;
  readonly to: string;
}

export interface LaneStatus {
  readonly name: string;
  readonly waiting: number;
  readonly bytes: number;
  readonly deadLetters: number;
  /** When the oldest message that waits came. */
  readonly oldest: string | null;
}

export interface SnapshotStatus {
  readonly txid: string;
  readonly time: string;
  readonly bytes: number;
}

export interface FilesStatus {
  readonly versions: number;
  /** When the newest was read. */
  readonly time: string;
}

export interface DoneStatus {
  readonly time: string;
  readonly objects: number;
  readonly bytes: number;
}

export interface StorageStatus extends Tally {
  readonly kinds: Readonly<Partial<Record<ObjectName["kind"], Tally>>>;
  /** All bytes over those of the newest snapshot; null without one. */
  readonly amplification: number | null;
}

export function replicaStatus(
  database: DatabaseName,
  target: Target,
  depths: readonly LaneDepth[],
  options: StatusOptions,
): ReplicaStatus {
  const { sources, repairs, verified } = options;
  const source = sources.get(database);
  const replica = target.set.opened().get(database);
  const holdings = replica?.holdingsNow();
  const held = source === undefined ? undefined : holdings?.generations.get(source.generation);
  const stored =
    holdings === undefined || held === undefined ? null : newestRestorable(holdings, held.generation);
  const own = depths.filter(({ lane }) => lane === target.lane || lane === target.copyLane);
  const { state, failures, error } = target.health();
  const gaps = holdings === undefined || held === undefined ? [] : gapsOf(holdings, held);
  const newest = source?.newestTxId ?? null;
  return {
    name: target.name,
    txid: hex(stored),
    time: time(stored !== null && held?.newestTxId === stored ? held.newestStampMs : null),
    lagMs: holdings === undefined ? null : sources.lagMs(database, stored),
    lagTransactions:
      holdings === undefined || newest === null ? null : Math.max(0, Number(newest - (stored ?? 0n))),
    ...gapStatus(gaps),
    waiting: sum(own, "messages"),
    waitingBytes: sum(own, "bytes"),
    deadLetters: sum(own, "dead"),
    lanes: own.map(laneStatus),
    quarantined: holdings?.quarantined ?? 0,
    breaker: state,
    failures,
    error,
    needsRepair: repairs.needsRepair(target.name, database) !== undefined,
    verified: verified?.of(target, database) ?? null,
    snapshot: snapshotStatus(held),
    files: filesStatus(holdings),
    ...lastDone(database, target, options),
    ...storageFigures(database, target, { holdings, held, isRoot: replica?.name === target.name }, options),
  };
}

/** As the agent would be asked for them, if this were the only replica: a snapshot above a gap heals it. */
function gapsOf(
  holdings: Holdings,
  { generation, coverage, snapshots }: GenerationHoldings,
): readonly Stretch[] {
  const base = oldestBase(holdings, generation);
  if (base === null) return [];
  const healed = snapshots.at(-1) ?? base;
  return missingFromAll([coverage], base).filter(({ to }) => to > healed);
}

/** Gaps as the API shows them, with a bound. */
export function gapStatus(gaps: readonly Stretch[]): Pick<ReplicaStatus, "gaps" | "gapCount"> {
  const named = gaps
    .slice(0, gapsMax)
    .map(({ from, to }) => ({ from: formatTxId(from), to: formatTxId(to) }));
  return { gaps: named, gapCount: gaps.length };
}

function laneStatus({ lane, messages, bytes, dead, oldestMs }: LaneDepth): LaneStatus {
  return { name: lane, waiting: messages, bytes, deadLetters: dead, oldest: time(oldestMs ?? null) };
}

function snapshotStatus(held: GenerationHoldings | undefined): SnapshotStatus | null {
  const snapshot = held?.newestSnapshot ?? null;
  if (snapshot === null) return null;
  return { txid: formatTxId(snapshot.txId), time: formatTime(snapshot.stampMs), bytes: snapshot.bytes };
}

function filesStatus(holdings: Holdings | undefined): FilesStatus | null {
  const newestMs = holdings?.newestFilesMs ?? null;
  if (holdings === undefined || newestMs === null) return null;
  return { versions: holdings.tallies.get("files")?.objects ?? 0, time: formatTime(newestMs) };
}

function lastDone(database: DatabaseName, target: Target, { upkeep }: StatusOptions) {
  const last = upkeep?.of({ database, replica: target.name });
  const status = (done: Done | null | undefined): DoneStatus | null =>
    done === null || done === undefined
      ? null
      : { time: formatTime(done.atMs), objects: done.objects, bytes: done.bytes };
  return { compaction: status(last?.compaction), prune: status(last?.prune), repair: status(last?.repair) };
}

interface Held {
  readonly holdings: Holdings | undefined;
  readonly held: GenerationHoldings | undefined;
  /** The whole replica is this database's. */
  readonly isRoot: boolean;
}

function storageFigures(
  database: DatabaseName,
  { name }: Target,
  { holdings, held, isRoot }: Held,
  { counts }: StatusOptions,
): Pick<ReplicaStatus, "storage" | "month" | "restore"> {
  if (holdings === undefined) return { storage: null, month: null, restore: null };
  const storage = storageStatus(holdings, held);
  const counted = counts?.of(name, isRoot ? undefined : database);
  return {
    storage,
    month: counted === undefined ? null : projectMonth(counted, storage.bytes, pricesOf(name)),
    restore: held === undefined ? null : estimateRestore(name, holdings, held.generation),
  };
}

function storageStatus({ tallies }: Holdings, held: GenerationHoldings | undefined): StorageStatus {
  let [objects, bytes] = [0, 0];
  for (const tally of tallies.values()) {
    objects += tally.objects;
    bytes += tally.bytes;
  }
  const snapshotBytes = held?.newestSnapshot?.bytes ?? 0;
  const amplification = snapshotBytes === 0 ? null : Math.round((bytes / snapshotBytes) * 100) / 100;
  return { objects, bytes, kinds: Object.fromEntries(tallies), amplification };
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
