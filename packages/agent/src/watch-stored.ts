// What the host acknowledged and no replica has is in its queue alone, beside this machine's shadow: the agent warns before a queue lets go of it.
import type { Alarms } from "./alarms.ts";
import type { Chapter } from "./chapter.ts";

/** Half of what the shortest queue keeps: SQS as it is deployed, four days. */
const unstoredMsMax = 2 * 24 * 3_600_000;

/** What was committed days ago and is acknowledged only now, after a host was away, gets so long to be stored. */
const settleMs = 3_600_000;

/** What the warning is made from; `storedTxId` of the chapters is what the host has just said. */
export interface StoredFacts {
  readonly chapters: readonly Pick<Chapter, "cursor" | "shadow" | "storedTxId">[];
  readonly alarms: Alarms;
  readonly nowMs: number;
}

/** Raises `lag` while the oldest commit that was acknowledged and not stored is older than half of a queue's retention. */
export type StoredWatch = (facts: StoredFacts) => void;

/** Makes the watch of one database. It remembers since when the oldest of them is the oldest. */
export function createStoredWatch(): StoredWatch {
  let oldest: { readonly stampMs: number; readonly sinceMs: number } | undefined;
  return ({ chapters, alarms, nowMs }) => {
    const stamps = chapters.flatMap((chapter) => oldestUnstoredMs(chapter) ?? []);
    const stampMs = Math.min(...stamps);
    if (stamps.length === 0) oldest = undefined;
    else if (stampMs !== oldest?.stampMs) oldest = { stampMs, sinceMs: nowMs };
    const isSettled = oldest !== undefined && nowMs - oldest.sinceMs >= settleMs;
    if (!isSettled || nowMs - stampMs <= unstoredMsMax) {
      alarms.clear("stored");
      return;
    }
    alarms.raise("stored", {
      code: "lag",
      message: `the host acknowledged commits that are ${Math.round((nowMs - stampMs) / 3_600_000)} h old, and no replica has them yet`,
      hint: "A queue keeps them for four days, and the shadow up to its bound. See why the replicas do not take them: `pageferry status`.",
    });
  };
}

/** The stamp of a chapter's oldest commit that only the queue has, beside the shadow; `null`: there is none. */
function oldestUnstoredMs({ cursor, shadow, storedTxId }: StoredFacts["chapters"][number]): number | null {
  const { acknowledgedTxId, isAbandoned } = cursor();
  if (isAbandoned || acknowledgedTxId === null) return null;
  const oldest = shadow.entries().find(({ txId }) => storedTxId === null || txId > storedTxId);
  return oldest !== undefined && oldest.txId <= acknowledgedTxId ? oldest.stampMs : null;
}
