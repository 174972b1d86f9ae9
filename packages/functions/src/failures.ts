// How often wrong tokens came from an address. It slows nobody who has the right one: a token is long enough that guessing is hopeless, and
// what must be kept small is the work, and the log, that guesses and forgotten agents make.

/** Wrong tokens from one address in one window before it is told to wait: a proxy's address may stand for many agents. */
const failuresMax = 30;

const windowMs = 60_000;

/** Addresses that are remembered; above it the one that was heard of longest ago is forgotten. */
const addressesMax = 10_000;

export interface FailureLimit {
  /** Whether one more would be too many. */
  isReached(address: string): boolean;
  /** Counts a failure. Gives how long to wait, in ms, where there were too many; and whether this is the first of those. */
  failed(address: string): { readonly waitMs: number; readonly isFirst: boolean } | undefined;
}

/** `clock` is monotonic, in ms. */
export function createFailureLimit(clock: () => number): FailureLimit {
  const windows = new Map<string, { readonly beganAtMs: number; count: number }>();
  return {
    isReached(address) {
      const window = windows.get(address);
      return window !== undefined && window.count >= failuresMax && clock() - window.beganAtMs < windowMs;
    },
    failed(address) {
      const nowMs = clock();
      const before = windows.get(address);
      const isOver = before === undefined || nowMs - before.beganAtMs >= windowMs;
      const window = isOver ? { beganAtMs: nowMs, count: 0 } : before;
      window.count += 1;
      windows.delete(address);
      windows.set(address, window);
      for (const oldest of windows.keys()) {
        if (windows.size <= addressesMax) break;
        windows.delete(oldest);
      }
      if (window.count <= failuresMax) return undefined;
      return { waitMs: window.beganAtMs + windowMs - nowMs, isFirst: window.count === failuresMax + 1 };
    },
  };
}
