// What a verification reports: plain JSON, as the API and the command line give it.

import type { VerifyMode } from "./evidence.ts";
import type { Verdict } from "./verdicts.ts";

/** `chain`: headers only. `drill`: points restored. `full`: both, and every object read to its end. */
export type VerifyDepth = "chain" | "drill" | "full";

/** Something that is not as it should be. */
export interface VerifyProblem {
  readonly verdict: Verdict;
  /** The object, or what is missing; null where no single one is to blame. */
  readonly object: string | null;
  readonly why: string;
}

/** One point that was verified. */
export interface VerifiedPoint {
  readonly generation: string;
  readonly txid: string;
  readonly time: string | null;
  verdict: Verdict;
  readonly stateHash: string | null;
  /** Null where it was not restored. */
  readonly logicalHash: string | null;
  /** Live pages; null where it was not restored. */
  readonly pages: number | null;
  readonly bytes: number;
  readonly ms: number;
  readonly mode: VerifyMode;
}

/** How one replica stands. */
export interface ReplicaVerdict {
  readonly replica: string;
  /** The worst of all that was seen; null: nothing could be. */
  verdict: Verdict | null;
  /** What a restore from it alone would give. */
  newest: { readonly generation: string; readonly txid: string; readonly time: string | null } | null;
  readonly points: VerifiedPoint[];
  /** At most a hundred. */
  readonly problems: VerifyProblem[];
  problemCount: number;
  /** Points that it can restore alone, without its broken objects; in a drill, only some packs were looked into. */
  restorable: number;
  /** Points that its broken objects cost it. */
  lost: number;
  /** These, newest first, at most twenty ranges. */
  lostRanges: readonly {
    readonly generation: string;
    readonly from: string;
    readonly to: string;
    readonly points: number;
  }[];
  /** Objects whose headers (`chain`) or whole bytes (`full`) were read; null in a drill. */
  objects: number | null;
  bytesRead: number;
  /** What kept it from being verified; not the replica's fault where it is the disk of the scratch directory. */
  error: string | null;
  /** What else a person should hear, such as evidence that could not be written. */
  readonly warnings: string[];
}

/** Where a verification goes on that ended because its time was over. Plain JSON; its inside is nobody else's business. */
export interface VerifyCursor {
  readonly points: readonly {
    readonly replica: string;
    readonly generation: string;
    readonly txid: string;
  }[];
  /** By replica: the object after which the reading of objects goes on; absent: it is done, or was not asked for. */
  readonly objects: Readonly<Record<string, string>>;
  /** By replica: the worst so far. */
  readonly verdicts: Readonly<Record<string, Verdict>>;
  /** What was restored so far, for the comparison. */
  readonly hashes: readonly {
    readonly replica: string;
    readonly generation: string;
    readonly txid: string;
    readonly stateHash: string | null;
    readonly logicalHash: string | null;
  }[];
}

/** How the replicas of one database stand. */
export interface VerifyReport {
  readonly database: string;
  readonly depth: VerifyDepth;
  /** Whether all that was asked for was verified, and every verdict is FOUND. */
  readonly isSound: boolean;
  readonly replicas: readonly ReplicaVerdict[];
  /** Replicas that could not be opened or listed: nothing is compared with them. */
  readonly unlisted: readonly string[];
  /** Null: it is done. */
  readonly next: VerifyCursor | null;
}
