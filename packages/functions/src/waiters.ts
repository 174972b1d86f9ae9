// Who waits for something to come into a lane, until it does, or time is up, or they are told to stop.

interface Waiters {
  /** Resolves at the lane's next `wake`, after `delayMs`, or when `signal` is aborted; it never rejects. */
  wait(lane: string, delayMs: number, signal?: AbortSignal): Promise<void>;
  wake(lane: string): void;
  wakeAll(): void;
}

/** setTimeout's own bound; a longer wait ends early, which its caller cannot tell from a wake. */
const delayMsMax = 2 ** 31 - 1;

export function createWaiters(): Waiters {
  const byLane = new Map<string, Set<() => void>>();
  const wake = (lane: string) => {
    for (const resume of [...(byLane.get(lane) ?? [])]) resume();
  };
  return {
    wake,
    wakeAll() {
      for (const lane of [...byLane.keys()]) wake(lane);
    },
    wait(lane, delayMs, signal) {
      if (delayMs <= 0 || signal?.aborted === true) return Promise.resolve();
      return new Promise((resolve) => {
        const waiting = byLane.get(lane) ?? new Set();
        byLane.set(lane, waiting);
        const resume = () => {
          clearTimeout(timer);
          signal?.removeEventListener("abort", resume);
          waiting.delete(resume);
          if (waiting.size === 0 && byLane.get(lane) === waiting) byLane.delete(lane);
          resolve();
        };
        const timer = setTimeout(resume, Math.min(delayMs, delayMsMax));
        waiting.add(resume);
        signal?.addEventListener("abort", resume, { once: true });
      });
    },
  };
}
