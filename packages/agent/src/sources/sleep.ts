// How long sources that lie still sleep between two looks. A pure decision.

/** A single one. */
const sleepMsMin = 1000;

/** What no notification tells, such as a path that names another file, takes a few looks to be told, and a minute at most. */
const sleepMsMax = 10_000;

/** Looks are at least so far apart, all together: with 1,000 sources each is looked at every 4 s. */
const lookMs = 4;

/** The longest sleep of each of so many sources whose changes are told, ms. */
export function longestSleepMs(sources: number): number {
  return Math.min(sleepMsMax, Math.max(sleepMsMin, sources * lookMs));
}
