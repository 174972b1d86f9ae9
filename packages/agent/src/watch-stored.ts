// What the host acknowledged and no replica has is in its queue alone, beside this machine's shadow: the agent warns before a queue lets go of it.
import type { Generation, TxId } from "@pageferry/format";
import type { Alarms } from "./alarms.ts";
import type { Chapter } from "./chapter.ts";

/** Half of what the shortest queue keeps: SQS as it is deployed, four days. */
const unstoredMsMax = 2 * 24 * 3_600_000;

/** What was committed days ago and is acknowledged only now, after a host was away, gets so long to be stored. */
const settleMs = 3_600_000;

/** Times of acknowledging that are remembered, one an hour: more than any queue keeps. */
const acknowledgementsMax = 400;

/** What the warning is made from; `storedTxId` of the chapters is what the host has just said. */
export interface StoredFacts {
  readonly chapters: readonly Pick<Chapter, "generation" | "cursor" | "shadow" | "storedTxId">[];
  readonly alarms: Alarms;
  readonly nowMs: number;
}

/** Raises `lag` while the oldest commit that was acknowledged and not stored is older than half of a queue's retention. */
export type StoredWatch = (facts: StoredFacts) => void;

/** Up to where it was acknowledged, and when. */
interface Acknowledged {
  readonly txId: TxId;
  readonly atMs: number;
}

/** What is remembered of a generation as long as something of it is only in the queue: the shadow may let go of it. */
interface Memory {
  /** Ascending; those that are stored are let go. */
  readonly acknowledged: Acknowledged[];
  oldest: { readonly txId: TxId; readonly stampMs: number } | undefined;
}

/** Makes the watch of one database. */
export function createStoredWatch(): StoredWatch {
  let memories: ReadonlyMap<Generation, Memory> = new Map();
  return ({ chapters, alarms, nowMs }) => {
    const next = new Map<Generation, Memory>();
    const stamps: number[] = [];
    for (const chapter of chapters) {
      const { acknowledgedTxId, isAbandoned } = chapter.cursor();
      const { generation, storedTxId } = chapter;
      if (isAbandoned || acknowledgedTxId === null || (storedTxId ?? -1n) >= acknowledgedTxId) continue;
      const memory = memories.get(generation) ?? { acknowledged: [], oldest: undefined };
      next.set(generation, memory);
      note(memory, acknowledgedTxId, nowMs);
      const { txId, stampMs } = oldestOf(memory, chapter, { txId: acknowledgedTxId, atMs: nowMs });
      if (isSettled(memory, txId, nowMs)) stamps.push(stampMs);
    }
    memories = next;
    const ageMs = nowMs - Math.min(...stamps);
    if (stamps.length === 0 || ageMs <= unstoredMsMax) {
      alarms.clear("stored");
      return;
    }
    alarms.raise("stored", {
      code: "lag",
      message: `the host acknowledged commits that are ${Math.round(ageMs / 3_600_000)} h old, and no replica has them yet`,
      hint: "A queue keeps them for four days, and the shadow up to its bound. See why the replicas do not take them: `pageferry status`.",
    });
  };
}

function note({ acknowledged }: Memory, txId: TxId, atMs: number): void {
  const last = acknowledged.at(-1);
  if (last !== undefined && (txId <= last.txId || atMs < last.atMs + settleMs)) return;
  // The oldest are those that count.
  if (acknowledged.length >= acknowledgementsMax) acknowledged.pop();
  acknowledged.push({ txId, atMs });
}

/** The oldest commit that only the queue has; where the shadow has let go of it, since when there has been one at least. */
function oldestOf(
  memory: Memory,
  { shadow, storedTxId }: StoredFacts["chapters"][number],
  newest: Acknowledged,
): NonNullable<Memory["oldest"]> {
  const isUnstored = ({ txId }: { readonly txId: TxId }) => storedTxId === null || txId > storedTxId;
  if (memory.oldest !== undefined && isUnstored(memory.oldest)) return memory.oldest;
  const told = memory.acknowledged.findIndex(isUnstored);
  memory.acknowledged.splice(0, told === -1 ? memory.acknowledged.length : told);
  const { txId, atMs } = memory.acknowledged[0] ?? newest;
  const kept = shadow.entries().find(isUnstored);
  const isKept = kept !== undefined && kept.txId <= newest.txId;
  memory.oldest = isKept
    ? { txId: kept.txId, stampMs: Math.min(kept.stampMs, atMs) }
    : { txId, stampMs: atMs };
  return memory.oldest;
}

/** Whether it was acknowledged so long ago that it should be stored. */
function isSettled({ acknowledged }: Memory, txId: TxId, nowMs: number): boolean {
  return acknowledged.some((one) => one.txId >= txId && nowMs - one.atMs >= settleMs);
}
