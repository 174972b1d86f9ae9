// What becomes of a message that went to several replicas: done, on into the lanes of those that could not take it, or
// dead where it is the message that is at fault. Pure decisions over outcomes; the same for every host.

import { isPageferryError, PageferryError } from "@pageferry/format";
import type { Onward, Settlement } from "./queue.ts";

/**
 * What one replica made of one message. `done` with `isStored` false: some of it went to quarantine, from where nothing is
 * restored. `retry`: the replica is at fault, and may take it later; `dead`: the message is.
 */
export type Outcome =
  | { readonly kind: "done"; readonly isStored?: false }
  | { readonly kind: "retry"; readonly error: unknown }
  | { readonly kind: "dead"; readonly error: unknown };

/** An error nobody foresaw may pass; after this many turns the message is taken to be its cause. */
const receivesMax = 10;

/** The first wait after a failure, and the longest; between them it doubles. */
const backoffFirstMs = 1000;
export const backoffMostMs = 60_000;

/** What an error met in a message's own items says: what passes may pass, everything else is the message's fault. */
export function outcomeOf(error: unknown): Outcome {
  const isMessages = isPageferryError(error) && error.remedy !== "retry";
  return { kind: isMessages ? "dead" : "retry", error };
}

/** The worst of what a message's items met: a replica's failure first, for then the message must come again. */
export function worstOf(outcomes: readonly Outcome[]): Outcome {
  return (
    outcomes.find((outcome) => outcome.kind === "retry") ??
    outcomes.find((outcome) => outcome.kind === "dead") ??
    outcomes.find((outcome) => !isStoredBy(outcome)) ?? { kind: "done" }
  );
}

/** Whether the replica has all of the message where restores find it: only then may other lanes let go of it. */
function isStoredBy(outcome: Outcome): boolean {
  return outcome.kind === "done" && outcome.isStored !== false;
}

/** One line for the queue's records: a code and what happened, never a stack. */
export function errorLine(error: unknown): string {
  if (error instanceof PageferryError) return `${error.code}: ${error.message}`.slice(0, 1000);
  return `unexpected: ${error instanceof Error ? error.message : String(error)}`.slice(0, 1000);
}

/** Settles a message after fan-out: what each replica did not take goes on in that replica's lane, alone. */
export function settleFanout(id: number, byLane: ReadonlyMap<string, Outcome>): Settlement {
  const onward: Onward[] = [];
  for (const [lane, outcome] of byLane) {
    if (outcome.kind === "done") continue;
    onward.push({ lane, dead: outcome.kind === "dead", error: errorLine(outcome.error) });
  }
  if (onward.length === 0) return { id, kind: "done" };
  return { id, kind: "done", onward, isStored: [...byLane.values()].some(isStoredBy) };
}

/** Settles a message after its turn in a replica's own lane. */
export function settleLane(id: number, receiveCount: number, outcome: Outcome, delayMs: number): Settlement {
  if (outcome.kind === "done") return { id, kind: "done", isStored: isStoredBy(outcome) };
  const error = errorLine(outcome.error);
  const isUnforeseen = !isPageferryError(outcome.error);
  if (outcome.kind === "dead" || (isUnforeseen && receiveCount >= receivesMax))
    return { id, kind: "dead", error };
  return { id, kind: "retry", delayMs, error };
}

/** How long to leave a replica alone after so many failures in a row: doubling to a minute, spread by a random number below 1. */
export function backoffMs(failures: number, random: number): number {
  const most = Math.min(backoffMostMs, backoffFirstMs * 2 ** Math.min(failures - 1, 16));
  return Math.round(most * (0.5 + random / 2));
}
