// Lets a few through at a time, in the order they came.

/** A place that holds a bounded number at once. */
export interface Gate {
  /** Runs `act` when there is room. An aborted signal ends the waiting with the signal's reason. */
  pass<Result>(act: () => Promise<Result>, signal: AbortSignal): Promise<Result>;
  /** Waits for room, and takes a place of it until that is disposed of. */
  enter(signal: AbortSignal): Promise<Disposable>;
}

/** Makes a gate for `places` at a time. */
export function createGate(places: number): Gate {
  let free = places;
  const waiting: (() => void)[] = [];

  function leave(): void {
    const next = waiting.shift();
    if (next === undefined) free += 1;
    else next();
  }

  async function wait(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (free > 0) {
      free -= 1;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = () => {
      const place = waiting.indexOf(resolve);
      // One that has just been let in is in, and leaves as any other.
      if (place === -1) return;
      waiting.splice(place, 1);
      reject(signal.reason);
    };
    waiting.push(resolve);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  async function enter(signal: AbortSignal): Promise<Disposable> {
    await wait(signal);
    let isInside = true;
    return {
      [Symbol.dispose]() {
        if (isInside) leave();
        isInside = false;
      },
    };
  }

  return {
    enter,
    async pass(act, signal) {
      using _ = await enter(signal);
      return await act();
    },
  };
}
