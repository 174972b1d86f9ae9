// Byte counts as people write them: "64MiB", "1GB", or an integer of bytes.

import { PageferryError } from "./errors.ts";

const bytesPerUnit: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** Reads "64MiB", "1.5 GB", "4096", or an integer of bytes; anything else is `bad-request`. */
export function parseByteCount(value: unknown): number {
  const match = typeof value === "string" ? /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(value.trim()) : null;
  const unit = match === null ? undefined : bytesPerUnit[(match[2] || "b").toLowerCase()];
  const bytes = match !== null && unit !== undefined ? Math.round(Number(match[1]) * unit) : value;
  if (typeof bytes !== "number" || !Number.isSafeInteger(bytes) || bytes < 0) {
    throw new PageferryError(
      "bad-request",
      `${JSON.stringify(value) ?? typeof value} is not a number of bytes, such as "64MiB" or 67108864`,
    );
  }
  return bytes;
}
