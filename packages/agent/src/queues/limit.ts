// A limit on standing still: it is set anew whenever something moved, so that what is slow may take as long as it goes on.

/** What ends an exchange that stands still. */
export class StalledError extends Error {
  override readonly name = "StalledError";
}

/**
 * No line is taken to be slower than 2 KiB a second: what systems and proxies on the way have taken, and of which nothing is seen
 * here, may take as long as that. So may an answer.
 */
export const slowestBytesPerMs = 2.048;

/** A limit that is set anew whenever something happened. */
export interface Limit {
  set(ms: number): void;
  clear(): void;
  /** The error it ended the exchange with. */
  stalled(): StalledError | undefined;
}

/** Makes a limit that is not set yet; `end` is called once it is over. */
export function startLimit(end: (error: StalledError) => void): Limit {
  let timer: NodeJS.Timeout | undefined;
  let stalled: StalledError | undefined;
  return {
    set(ms) {
      clearTimeout(timer);
      timer = setTimeout(() => {
        stalled = new StalledError(`nothing moved for ${Math.ceil(ms / 1000)} s`);
        end(stalled);
      }, ms);
    },
    clear: () => clearTimeout(timer),
    stalled: () => stalled,
  };
}
