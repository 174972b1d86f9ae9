// What was verified last, per database and replica: read once from the replica's own evidence, then told by each verification.

import { type DatabaseName, formatTxId } from "@pageferry/format";
import { latestEvidence } from "./evidence.ts";
import { formatTime } from "./replica-state.ts";
import type { Target } from "./targets.ts";
import { targetName } from "./upkeep.ts";
import type { Verdict } from "./verdicts.ts";
import type { VerifyReport } from "./verify-report.ts";

/** The newest point that was verified in a replica. */
export interface VerifiedStatus {
  readonly verdict: Verdict;
  readonly generation: string;
  readonly txid: string;
  /** When it was verified. */
  readonly time: string;
}

export interface Verified {
  /** Without waiting; null: nothing was verified, or its evidence was not read yet. */
  of(target: Target, database: DatabaseName): VerifiedStatus | null;
  /** Reads the evidence again: others may have verified. Errors: those of asking the replica. */
  read(target: Target, database: DatabaseName): Promise<void>;
  /** Takes what a verification found. */
  told(report: VerifyReport, atMs: number): void;
}

/** Knows nothing at first; evidence is asked for when somebody wants to know, beside the answer. */
export function createVerified(): Verified {
  const known = new Map<string, VerifiedStatus | null>();
  const wordOf = (replica: string, database: string): string => `${replica}\n${database}`;
  const read = async (target: Target, database: DatabaseName): Promise<void> => {
    const word = wordOf(target.name, database);
    const evidence = await target.ask(async (signal) =>
      latestEvidence((await target.set.of(database)).objects, { signal }),
    );
    if (evidence === undefined) return;
    const { verdict, generation, txId, verifiedAtMs } = evidence;
    const status = { verdict, generation, txid: formatTxId(txId), time: formatTime(verifiedAtMs) };
    if (status.time > (known.get(word)?.time ?? "")) known.set(word, status);
  };
  return {
    read,
    of(target, database) {
      const word = wordOf(target.name, database);
      if (!known.has(word)) {
        known.set(word, null);
        // One that does not answer is asked again when somebody wants to know.
        read(target, database).catch(() => known.delete(word));
      }
      return known.get(word) ?? null;
    },
    told({ database, replicas }, atMs) {
      for (const { replica, points, verdict } of replicas) {
        const last = points.at(-1);
        if (last === undefined) continue;
        const { generation, txid } = last;
        const status = { verdict: verdict ?? last.verdict, generation, txid, time: formatTime(atMs) };
        known.set(wordOf(targetName(replica, database), database), status);
      }
    },
  };
}
