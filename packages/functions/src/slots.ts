// A bound on how much goes on at a time: who takes a slot gives it back, who finds none waits in line.

/** So many at a time. `take` gives what gives the slot back; giving it back twice is nothing. */
export interface Slots {
  take(): Promise<() => void>;
  /** Runs `work` in a slot. */
  run<Result>(work: () => Promise<Result>): Promise<Result>;
}

export function slots(count: number): Slots {
  const line: (() => void)[] = [];
  let free = count;

  async function take(): Promise<() => void> {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => line.push(resolve));
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      const next = line.shift();
      if (next === undefined) free += 1;
      else next();
    };
  }

  return {
    take,
    async run(work) {
      const give = await take();
      try {
        return await work();
      } finally {
        give();
      }
    },
  };
}
