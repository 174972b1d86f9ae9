// Directories, ports, waiting and seeded chance for the tests.
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runProcess } from "./processes.ts";

/** A directory that is gone when its scope ends. */
export interface TemporaryDirectory extends AsyncDisposable {
  readonly path: string;
  file(...parts: readonly string[]): string;
}

/** Makes an empty directory under the system's temporary one, or under `parent`. */
export async function temporaryDirectory(parent: string = tmpdir()): Promise<TemporaryDirectory> {
  const path = await mkdtemp(join(parent, "pageferry-test-"));
  return {
    path,
    file: (...parts) => join(path, ...parts),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 3 }),
  };
}

/** A file system in memory of `bytes`: a disk that is soon full. Needs root, as the tests in CI have. */
export async function smallDisk(bytes: number): Promise<TemporaryDirectory> {
  const directory = await temporaryDirectory();
  const mounted = await runProcess("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", directory.path]);
  if (mounted.code !== 0) {
    await directory[Symbol.asyncDispose]();
    throw new Error(`a small disk needs root: ${mounted.stderr.trim()}`);
  }
  return {
    ...directory,
    async [Symbol.asyncDispose]() {
      await runProcess("umount", ["-l", directory.path]);
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** A port of the loopback that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") {
    throw new Error("no port");
  }
  return address.port;
}

/** Asks `probe` again and again until it gives something other than undefined or false. */
export async function until<Value>(
  what: string,
  probe: () => Value | undefined | false | Promise<Value | undefined | false>,
  options: { readonly timeoutMs?: number; readonly everyMs?: number } = {},
): Promise<Value> {
  const deadlineMs = performance.now() + (options.timeoutMs ?? 90_000);
  let last: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) {
        return value;
      }
      last = value;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadlineMs) {
      throw new Error(`not in ${options.timeoutMs ?? 90_000} ms: ${what}`, { cause: last });
    }
    await sleep(options.everyMs ?? 50);
  }
}

/** Seeded chance (mulberry32), so that a failing run can be run again: print the seed. */
export interface Chance {
  readonly seed: number;
  /** In [0, 1). */
  next(): number;
  /** An integer in [0, below). */
  below(below: number): number;
  pick<Item>(items: readonly Item[]): Item;
  /** Up to `count` distinct items. */
  sample<Item>(items: readonly Item[], count: number): Item[];
}

/** A chance from a seed; without one from the clock. */
export function chance(seed: number = Date.now() % 1_000_000): Chance {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (bound: number) => Math.floor(next() * bound);
  const pick = <Item>(items: readonly Item[]): Item => {
    const item = items[below(items.length)];
    if (item === undefined) {
      throw new Error("nothing to pick from");
    }
    return item;
  };
  const sample = <Item>(items: readonly Item[], count: number): Item[] => {
    const rest = [...items];
    return Array.from({ length: Math.min(count, rest.length) }, () =>
      rest.splice(below(rest.length), 1),
    ).flat();
  };
  return { seed, next, below, pick, sample };
}

/** The value at `share` of the sorted numbers: 0.5 is the median. */
export function quantile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
