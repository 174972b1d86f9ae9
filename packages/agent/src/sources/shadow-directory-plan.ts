// What comes next out of a shadow directory, decided purely: which segment is taken, which snapshot is gone on from where no segment
// leads on, and which files may go. docs/shadow-directory.md tells the cases.
import type { Generation, StateHash, TxId } from "@pageferry/format";
import type { ListedSnapshot } from "./shadow-directory-listing.ts";

/**
 * A new generation's first snapshot is written right after its first segment: without one for so long, it is the fork of a
 * process that was running all along.
 */
const settleMs = 2000;

/** A transaction that is not there for so long after one behind it does not come late: the process died before it was written. */
const missingMs = 5000;

/** A whole segment of the next transaction, held against the state before it. */
export interface Candidate {
  readonly generation: Generation;
  /** The state after it; `undefined`: it does not follow. */
  readonly post: StateHash | undefined;
  /** It is in the generation that the state before it is from: the same process wrote both. */
  readonly isOwn: boolean;
  /** Since it was written. */
  readonly ageMs: number;
  /** The same generation has the transaction after it, too. */
  readonly goesOn: boolean;
  /** What the generation's own snapshot of this very transaction holds, where there is one. */
  readonly snapshot: StateHash | "unread" | "unfinished" | undefined;
}

/** What to do about the next transaction. */
export type SegmentDecision =
  | { readonly kind: "take"; readonly generation: Generation }
  /** Its snapshot tells whether it is ours. */
  | { readonly kind: "read"; readonly generation: Generation }
  /** It may be told soon. */
  | { readonly kind: "wait" }
  | { readonly kind: "none" };

/**
 * Within a generation the order is proved: one process, one transaction after the other. From one to the next a generation goes on
 * if its pages follow, and, where it has a snapshot of that moment, if all of it is what we have.
 */
export function decideSegment(candidates: readonly Candidate[]): SegmentDecision {
  const following = candidates.filter(({ post }) => post !== undefined);
  const own = following.find(({ isOwn }) => isOwn);
  if (own !== undefined) return { kind: "take", generation: own.generation };
  const agreeing = following.find(({ post, snapshot }) => snapshot === post);
  if (agreeing !== undefined) return { kind: "take", generation: agreeing.generation };
  const unread = following.find(({ snapshot }) => snapshot === "unread");
  if (unread !== undefined) return { kind: "read", generation: unread.generation };
  if (following.some(({ snapshot }) => snapshot === "unfinished")) return { kind: "wait" };
  const open = following.filter(({ snapshot }) => snapshot === undefined);
  const [first] = open;
  // Two that follow and are not the same: no page says which.
  if (first === undefined || open.some(({ post }) => post !== first.post)) return { kind: "none" };
  const settled = open.find(({ goesOn, ageMs }) => goesOn || ageMs >= settleMs);
  return settled === undefined ? { kind: "wait" } : { kind: "take", generation: settled.generation };
}

/** How a history that goes on from a snapshot stands to the one before it. */
export type Seam =
  /** The same: one process wrote both, only transactions between are missing. */
  | "same"
  /** The same database, by its numbers; nothing proves what happened between. */
  | "unprovable"
  /** Its transactions went back: another file. */
  | "replaced"
  /** There is none before it. */
  | "first";

/** A snapshot to go on from. */
export interface Jump {
  readonly snapshot: ListedSnapshot;
  readonly seam: Seam;
}

/** Where a history is. */
export interface Position {
  readonly txId: TxId;
  readonly stampMs: number;
}

/** What a jump is decided by. */
export interface JumpFacts {
  /** `null`: nothing was ever captured. */
  readonly position: Position | null;
  readonly snapshots: readonly ListedSnapshot[];
  /** Whether a generation's transactions are of the history that is followed. */
  readonly isOurs: (generation: Generation) => boolean;
  /** Snapshots that were found to be unusable as they are, or to hold what we have. */
  readonly isPassed: (snapshot: ListedSnapshot) => boolean;
  readonly nowMs: number;
}

/** The snapshot to go on from where no segment leads on: the earliest of those that we are not past. */
export function decideJump(facts: JumpFacts): Jump | undefined {
  const { position, snapshots, isOurs, isPassed, nowMs } = facts;
  const jumps = snapshots.flatMap((snapshot): Jump[] => {
    if (isPassed(snapshot)) return [];
    if (position === null) return [{ snapshot, seam: "first" }];
    // What comes late comes within this time.
    if (nowMs - snapshot.createdAtMs < missingMs) return [];
    if (snapshot.txId > position.txId) {
      return [{ snapshot, seam: isOurs(snapshot.generation) ? "same" : "unprovable" }];
    }
    // Go tells seconds in a segment; a snapshot of the same second may be the later one.
    const isLater = snapshot.createdAtMs >= Math.floor(position.stampMs / 1000) * 1000;
    return isLater && !isOurs(snapshot.generation) ? [{ snapshot, seam: "replaced" }] : [];
  });
  return jumps.sort((a, b) => a.snapshot.createdAtMs - b.snapshot.createdAtMs)[0];
}

/**
 * The snapshot below which everything may go: the newest of ours that is not above what is stored, nor above where we are. What
 * is at or below its transaction nobody needs: not we, nor Go, whose restore begins with its newest snapshot.
 */
export function trimSnapshot(
  snapshots: readonly ListedSnapshot[],
  storedTxId: TxId,
  isOurs: (generation: Generation) => boolean,
): ListedSnapshot | undefined {
  const ours = snapshots.filter(({ generation, txId }) => isOurs(generation) && txId <= storedTxId);
  return ours.sort((a, b) => (a.txId < b.txId ? 1 : a.txId > b.txId ? -1 : b.createdAtMs - a.createdAtMs))[0];
}
