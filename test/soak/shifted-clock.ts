// Loaded before a program whose clock a test steps: its `Date`, in all threads, is off by the milliseconds that stand in a file now, as after
// somebody set the system's clock. Timers go on as they did, as the system's do.
import { readFileSync } from "node:fs";

const path = process.env.PAGEFERRY_TEST_CLOCK ?? "";

/** How long the file is believed: a clock is read more often than it is stepped. */
const believedMs = 20;

const real = globalThis.Date;
const known = { offsetMs: 0, atMs: Number.NEGATIVE_INFINITY };

function offsetMs(): number {
  const atMs = performance.now();
  if (atMs - known.atMs < believedMs) return known.offsetMs;
  known.atMs = atMs;
  try {
    known.offsetMs = Number(readFileSync(path, "utf8")) || 0;
  } catch {
    // Not there: the clock is right.
  }
  return known.offsetMs;
}

const now = (): number => real.now() + offsetMs();

globalThis.Date = new Proxy(real, {
  get: (target, key, receiver) => (key === "now" ? now : Reflect.get(target, key, receiver)),
  apply: () => new real(now()).toString(),
  construct: (target, given: unknown[], newTarget) =>
    Reflect.construct(target, given.length === 0 ? [now()] : given, newTarget),
});
