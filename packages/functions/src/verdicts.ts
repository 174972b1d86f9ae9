// What a verification says of a replica, in five words, from best to worst.

/**
 * `FOUND`: restored, checked, and equal everywhere. `LATE`: sound, but behind what others have or what was captured. `LOST`: something that it
 * should have cannot be reached. `CORRUPT`: an object or what was restored does not hold. `FORK`: another state of the same transaction.
 */
export type Verdict = "FOUND" | "LATE" | "LOST" | "CORRUPT" | "FORK";

const fromBest: readonly Verdict[] = ["FOUND", "LATE", "LOST", "CORRUPT", "FORK"];

/** The worst of some verdicts; `FOUND` of none. */
export function worst(verdicts: Iterable<Verdict>): Verdict {
  let at = 0;
  for (const verdict of verdicts) at = Math.max(at, fromBest.indexOf(verdict));
  return fromBest[at] as Verdict;
}
