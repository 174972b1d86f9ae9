// What is known of one database right now.
import type { DatabaseName, Generation, TxId } from "@pageferry/format";
import type { Alarm } from "./alarms.ts";
import { acknowledgedOf, type Chapter, newest } from "./chapter.ts";
import type { TableCheckpoint } from "./cursor.ts";
import type { Lag } from "./lag.ts";

/** One database's status. Transactions are `null` as long as there is none. */
export interface DatabaseStatus {
  readonly name: DatabaseName;
  readonly path: string;
  /** `halted`: the host refused something; it is captured into the shadow, and the host is asked again slowly. */
  readonly state: "starting" | "running" | "halted" | "stopped";
  readonly generation: Generation | null;
  /** `null` until the host was reached for the first time. */
  readonly epoch: number | null;
  /** The newest transaction when the whole file was last looked at, as at the start; `null` until then. */
  readonly foundTxId: TxId | null;
  /** The newest transaction in the file. */
  readonly seenTxId: TxId | null;
  /** Durable on this machine, in the shadow or in the page table. */
  readonly shadowedTxId: TxId | null;
  /** Durable at the host. */
  readonly acknowledgedTxId: TxId | null;
  /** The newest snapshot that is durable at the host. */
  readonly snapshotTxId: TxId | null;
  /** The newest that can be restored from a replica, as far as the host has said. */
  readonly storedTxId: TxId | null;
  /** Age of the oldest commit that is not durable at the host, ms. */
  readonly lagMs: number;
  /** Bytes of the shadow on disk. */
  readonly shadowBytes: number;
  readonly alarms: readonly Alarm[];
}

/** What a status is made from. */
export interface StatusFacts {
  readonly name: DatabaseName;
  readonly path: string;
  readonly state: DatabaseStatus["state"];
  readonly chapters: readonly Chapter[];
  readonly checkpoint: TableCheckpoint | null;
  readonly lag: Lag;
  readonly foundTxId: TxId | null;
  readonly alarms: readonly Alarm[];
  readonly nowMs: number;
}

/** Puts the status together. */
export function statusOf(facts: StatusFacts): DatabaseStatus {
  const chapter = facts.chapters.at(-1);
  const cursor = chapter?.cursor();
  const acknowledgedTxId = cursor === undefined ? null : acknowledgedOf(cursor);
  // What was trimmed is in the page table.
  const { checkpoint } = facts;
  const checkpointed = checkpoint?.generation === chapter?.generation ? (checkpoint?.txId ?? null) : null;
  const last = chapter?.shadow.entries().at(-1)?.txId ?? null;
  const shadowedTxId = newest(last, newest(acknowledgedTxId, checkpointed));
  return {
    name: facts.name,
    path: facts.path,
    state: facts.state,
    generation: chapter?.generation ?? null,
    epoch: cursor?.epoch ?? null,
    foundTxId: facts.foundTxId,
    seenTxId: facts.lag.newestTxId() ?? shadowedTxId,
    shadowedTxId,
    acknowledgedTxId,
    snapshotTxId: cursor?.baseTxId ?? null,
    storedTxId: chapter?.storedTxId ?? null,
    lagMs: facts.lag.lagMs(facts.nowMs),
    shadowBytes: facts.chapters.reduce((sum, one) => sum + one.shadow.bytes(), 0),
    alarms: facts.alarms,
  };
}
