// A clock that a test steps under a running program.
import { writeFile } from "node:fs/promises";

/** One clock; programs that are started with `env` go by it. */
export interface SteppedClock {
  readonly env: Readonly<Record<string, string>>;
  /** By how much it is wrong from now on, ms. */
  step(offsetMs: number): Promise<void>;
}

const preload = new URL("shifted-clock.ts", import.meta.url).pathname;

/** Makes a clock that is right; its offset is kept in the file at `path`. */
export function steppedClock(path: string): SteppedClock {
  return {
    env: {
      PAGEFERRY_TEST_CLOCK: path,
      NODE_OPTIONS: `--require=${preload} --disable-warning=ExperimentalWarning`,
    },
    step: (offsetMs) => writeFile(path, String(offsetMs)),
  };
}
