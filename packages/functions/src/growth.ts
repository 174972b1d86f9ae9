// Does an archive grow as it always did? A jump in generations or in volume is a broken agent, or somebody who floods: retention by receipt keeps
// the good points, and somebody should look. Pure; the samples are the caller's.

/** What was counted of one database in one replica. */
export interface GrowthSample {
  readonly atMs: number;
  readonly generations: number;
  readonly bytes: number;
  /** Bytes of the newest snapshot: about the size of the database, compressed. */
  readonly snapshotBytes: number;
}

export interface Jump {
  readonly kind: "generations" | "volume";
  readonly message: string;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** Samples are hourly, and kept for so long: what is usual is judged by a week. */
const keptMs = 8 * dayMs;

/** A restart, a restore and a replaced file may each begin a generation; more within an hour is no accident. */
const generationsPerHourMax = 3;

/** A bulk load may rewrite a database some times over in a day, and so does an agent that sends it anew. */
const snapshotsPerDayMax = 4;

/** A database that is written more is no flood; ten times what was usual is. */
const usualFactor = 10;

/** Adds a sample; those that are too old, or from a time to come, are forgotten. */
export function addSample(samples: readonly GrowthSample[], sample: GrowthSample): GrowthSample[] {
  const kept = samples.filter(({ atMs }) => atMs > sample.atMs - keptMs && atMs < sample.atMs);
  return [...kept, sample];
}

/** Whether the newest of the samples, ascending, shows a jump. */
export function detectJump(samples: readonly GrowthSample[]): Jump | undefined {
  const newest = samples.at(-1);
  if (newest === undefined) return undefined;
  const hourAgo = samples.findLast(({ atMs }) => atMs <= newest.atMs - hourMs) ?? samples[0];
  const begun = newest.generations - (hourAgo?.generations ?? newest.generations);
  if (begun > generationsPerHourMax) {
    return { kind: "generations", message: `${begun} generations began within about an hour` };
  }
  const dayAgo = samples.findLast(({ atMs }) => atMs <= newest.atMs - dayMs);
  if (dayAgo === undefined) return undefined;
  const grown = newest.bytes - dayAgo.bytes;
  const usual = usualDaily(samples.filter(({ atMs }) => atMs <= dayAgo.atMs));
  const bound = Math.max(snapshotsPerDayMax * newest.snapshotBytes, usualFactor * usual);
  if (newest.snapshotBytes === 0 || grown <= bound) return undefined;
  return {
    kind: "volume",
    message: `it grew by ${grown} bytes within a day, more than ${Math.round(bound)}`,
  };
}

/** Bytes a day that the samples grew by, where they span at least one. */
function usualDaily(samples: readonly GrowthSample[]): number {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined || last.atMs - first.atMs < dayMs) return 0;
  return Math.max(0, ((last.bytes - first.bytes) * dayMs) / (last.atMs - first.atMs));
}
