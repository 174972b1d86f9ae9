// How far each replica was behind in the last hour: a sample a minute, for a small curve. Pure; in memory.

/** What a curve is drawn from. */
export interface LagHistory {
  readonly everyMs: number;
  /** Oldest first; null where it was not known. */
  readonly lagMs: readonly (number | null)[];
}

/** An hour. */
const samplesMax = 60;

export const lagSampleMs = 60_000;

export interface LagHistories {
  sample(database: string, replica: string, lagMs: number | null): void;
  of(database: string, replica: string): LagHistory;
}

export function createLagHistories(): LagHistories {
  const samples = new Map<string, (number | null)[]>();
  const keyOf = (database: string, replica: string): string => `${database}\n${replica}`;
  return {
    sample(database, replica, lagMs) {
      const key = keyOf(database, replica);
      const own = samples.get(key) ?? [];
      own.push(lagMs === null ? null : Math.round(lagMs));
      if (own.length > samplesMax) own.shift();
      samples.set(key, own);
    },
    of: (database, replica) => ({
      everyMs: lagSampleMs,
      lagMs: [...(samples.get(keyOf(database, replica)) ?? [])],
    }),
  };
}
