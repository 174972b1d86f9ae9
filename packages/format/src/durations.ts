// Durations as people and the Go implementation write them: "6h", "1h30m", "250ms", or an integer of nanoseconds. Inside, milliseconds.

import { PageferryError } from "./errors.ts";

const nanosecondsPerUnit: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3, // The micro sign, U+00B5.
  μs: 1e3, // The Greek letter mu, U+03BC; Go takes both.
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
  // Go has no days; retention is unreadable without them.
  d: 86_400e9,
};

/** About 292 years: what Go's time.Duration holds. */
const nanosecondsMax = 2 ** 63;

const part = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d)/gy;

/**
 * Reads "6h", "1h30m", "1.5h", "250ms" (Go's units, and `d`), or an integer of nanoseconds as Go writes durations
 * in JSON. Gives milliseconds, which may have a fraction. Anything else, and less than nothing, is `bad-request`.
 */
export function parseDuration(value: unknown): number {
  const nanoseconds = typeof value === "string" ? fromText(value.trim()) : fromNumber(value);
  if (nanoseconds === undefined || !(nanoseconds >= 0 && nanoseconds < nanosecondsMax)) {
    throw new PageferryError(
      "bad-request",
      `${JSON.stringify(value) ?? typeof value} is not a duration, such as "6h", "1h30m", "250ms" or nanoseconds`,
    );
  }
  return nanoseconds / 1e6;
}

function fromNumber(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) ? value : undefined;
}

/** Digits alone are no duration here: from an environment variable, Go's nanoseconds would be a trap. */
function fromText(text: string): number | undefined {
  if (text === "0") return 0;
  let total = 0;
  let end = 0;
  part.lastIndex = 0;
  for (let match = part.exec(text); match !== null; match = part.exec(text)) {
    total += Number(match[1]) * (nanosecondsPerUnit[match[2] ?? ""] ?? Number.NaN);
    end = part.lastIndex;
  }
  return end > 0 && end === text.length ? total : undefined;
}

/** Writes milliseconds as a text that `parseDuration` reads back: `5400000` is "1h30m", `250` is "250ms". */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1000) return milliseconds === 0 ? "0s" : `${milliseconds}ms`;
  const hours = Math.floor(milliseconds / 3_600_000);
  const minutes = Math.floor((milliseconds % 3_600_000) / 60_000);
  const seconds = (milliseconds % 60_000) / 1000;
  return [
    hours > 0 ? `${hours}h` : "",
    minutes > 0 ? `${minutes}m` : "",
    seconds > 0 ? `${seconds}s` : "",
  ].join("");
}
