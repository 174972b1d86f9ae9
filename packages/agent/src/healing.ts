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

/** Holes looked at in one answer: when these are healed the next answer names others. */
const holesMax = 1000;

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
    .slice(0, holesMax)
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
  for (let at = firstAfter(entries, reached); at < entries.length; at += 1) {
    const entry = entries[at];
    if (entry === undefined || entry.parentTxId > reached) return false;
    reached = entry.txId;
    if (reached >= range.txId) return true;
  }
  return false;
}

/** The index of the first entry that ends above a transaction. */
function firstAfter(entries: HealingFacts["entries"], txId: TxId): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((entries[middle]?.txId ?? 0n) > txId) high = middle;
    else low = middle + 1;
  }
  return low;
}
