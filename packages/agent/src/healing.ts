// What to do about what the host says it needs: decided purely. Holes are sent again from the shadow where it still has
// them, else closed by a new snapshot.
import type { Generation, GenerationNeeds, Needs, TxId } from "@pageferry/format";
import { newest } from "./chapter.ts";

/** What the agent has of one generation. */
export interface HealingFacts {
  readonly generation: Generation;
  /** Whether it is the one being captured: only of that can there be a new snapshot. */
  readonly isCurrent: boolean;
  readonly acknowledgedTxId: TxId | null;
  readonly baseTxId: TxId | null;
  /** What the shadow holds, ascending. */
  readonly entries: readonly { readonly parentTxId: TxId; readonly txId: TxId }[];
  /** How long ago something of it was last acknowledged; a host needs a while to put things away. */
  readonly sinceAcknowledgedMs: number;
}

/** A range (parentTxId, txId]. */
export interface Range {
  readonly parentTxId: TxId;
  readonly txId: TxId;
}

/** What heals. */
export interface Healing {
  readonly generation: Generation;
  readonly resend: readonly Range[];
  readonly snapshot: boolean;
}

/** A generation that was acknowledged and is not known at all is asked about again after this: more than any queue's delay. */
const unknownAfterMs = 5 * 60_000;

/** Decides for each generation. One that needs nothing is left out. */
export function planHealing(needs: Needs, all: readonly HealingFacts[]): Healing[] {
  return all.flatMap((facts) => {
    const needed = needs.generations[facts.generation];
    const healing = needed === undefined ? healUnknown(facts) : heal(needed, facts);
    return healing.resend.length > 0 || healing.snapshot ? [healing] : [];
  });
}

function healUnknown(facts: HealingFacts): Healing {
  const wasThere = facts.baseTxId !== null || facts.acknowledgedTxId !== null;
  const isLost = facts.isCurrent && wasThere && facts.sinceAcknowledgedMs > unknownAfterMs;
  return { generation: facts.generation, resend: [], snapshot: isLost };
}

function heal(needed: GenerationNeeds, facts: HealingFacts): Healing {
  const holes = needed.missing
    .map(([parentTxId, txId]) => ({ parentTxId, txId }))
    // What was not acknowledged, be it segment or snapshot, is on its way anyway.
    .filter((hole) => hole.txId <= (newest(facts.acknowledgedTxId, facts.baseTxId) ?? -1n));
  const resend = holes.filter((hole) => covers(facts.entries, hole));
  const isHopeless = resend.length < holes.length;
  return {
    generation: facts.generation,
    resend,
    snapshot: facts.isCurrent && (needed.snapshot || isHopeless),
  };
}

/** Whether the entries that touch a range hold all of it, one following the other. */
function covers(entries: HealingFacts["entries"], range: Range): boolean {
  let reached = range.parentTxId;
  for (const entry of entries) {
    if (entry.txId <= reached) continue;
    if (entry.parentTxId > reached) return false;
    reached = entry.txId;
    if (reached >= range.txId) return true;
  }
  return false;
}
