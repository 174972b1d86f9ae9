// Waiting that can be cut short: by a notification, or by a signal.

/** A wait for "something happened", which remembers a notification that came before the wait. */
export interface Wake {
  notify(): void;
  /** Returns after `ms`, at a notification, or when the signal aborts, whichever is first. Never throws. */
  wait(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Timers take at most a signed 32-bit number; a longer wait just wakes early and waits again. */
const timerMsMax = 2 ** 31 - 1;

/** Makes a wake for one waiter. */
export function createWake(): Wake {
  let isNotified = false;
  let wakeUp: (() => void) | undefined;
  return {
    notify() {
      isNotified = true;
      wakeUp?.();
    },
    async wait(ms, signal) {
      if (!isNotified && signal?.aborted !== true && ms > 0) {
        const { promise, resolve } = Promise.withResolvers<void>();
        const timer = setTimeout(resolve, Math.min(ms, timerMsMax));
        const end = () => resolve();
        wakeUp = end;
        signal?.addEventListener("abort", end, { once: true });
        await promise;
        clearTimeout(timer);
        signal?.removeEventListener("abort", end);
        wakeUp = undefined;
      }
      isNotified = false;
    },
  };
}
