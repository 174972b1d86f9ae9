// Does what was found continue what was known, or must a new generation begin? A pure decision; docs/capture.md#restart
// tells the cases.
import { type FileIdentity, matchIdentities } from "../identity.ts";
import type { BeginReason, CapturedState } from "./capture-event.ts";

/** What is known from before: a state, and the file it was read from. */
export interface KnownState extends CapturedState {
  readonly identity: FileIdentity;
}

export interface FoundState extends CapturedState {
  readonly identity: FileIdentity;
  /** Something happened that bolt does not do: a falling txid, other metas, another inode, no file for a while. */
  readonly isSuspect: boolean;
  /** There is a page table of exactly the known state, and the difference from it is small enough to be a delta. */
  readonly hasDiff: boolean;
}

export interface GenerationDecision {
  readonly reason: BeginReason;
  readonly via: "continue" | "bridge" | "snapshot";
  readonly parent: CapturedState | null;
}

/**
 * Decides by content where content can decide: an equal txid and state hash on the same machine is the same state, whatever
 * happened to the file. A later state continues only where nothing can have rewritten the past: same file, boot and machine.
 * With `isKnownRestored` what is known is what the file was restored to, wherever that was.
 */
export function decideGeneration(
  known: KnownState | null,
  found: FoundState,
  forced?: "restored" | "fork",
  isKnownRestored = false,
): GenerationDecision {
  if (known === null) return { reason: forced ?? "first", via: "snapshot", parent: null };
  const parent = { txId: known.txId, stateHash: known.stateHash };
  const isLater = found.txId > known.txId;
  const via = found.hasDiff && isLater ? "bridge" : "snapshot";
  const isSameState = found.txId === known.txId && found.stateHash === known.stateHash;
  if (forced === "restored" && isKnownRestored && isSameState)
    return { reason: forced, via: "bridge", parent };
  if (forced !== undefined) return { reason: forced, via, parent };
  const { sameFile, sameBoot, sameMachine } = matchIdentities(known.identity, found.identity);
  if (isSameState && sameMachine) return { reason: "continue", via: "continue", parent };
  if (isLater && sameFile && sameBoot && sameMachine && !found.isSuspect) {
    return { reason: "continue", via: "continue", parent };
  }
  const isOtherFile = !sameFile || found.isSuspect || (found.txId < known.txId && sameBoot && sameMachine);
  return { reason: isOtherFile ? "replaced" : "unprovable", via, parent };
}
