// The `compression` key as the Go implementation reads it (vectors/compression-config.json): a codec's name, or {codec, level, window}.
// Parsing takes any codec's name, as Go does; `compressionSettings` refuses an unknown one, and parseConfig calls it at once.

import { PageferryError } from "./errors.ts";

/** The codecs that exist. */
export type CompressionType = "none" | "zstd";

/** What to compress with, as configured. `level` is Go's 1 to 11 (0: the codec's default), not a zstd level. */
export interface CompressionConfig {
  /** "none" or "zstd"; "" is zstd at Go's level 6. Another text parses, and is refused by `compressionSettings`. */
  readonly codec: string;
  readonly level: number;
  /** Kept because Go's configuration has it; it is never used, there or here. */
  readonly window: number;
}

/** What a header holds: a known codec, and the level as Go maps it (may be negative; 0 is left out of headers). */
export interface CompressionSettings {
  readonly codec: CompressionType;
  readonly level: number;
  readonly window: 0;
}

/** Where nothing is configured: zstd at its default level, which is 3 in Node. */
export const defaultCompression: CompressionConfig = { codec: "zstd", level: 0, window: 0 };

const zero: CompressionConfig = { codec: "", level: 0, window: 0 };

/** Go's levels 1 to 11 as its headers write them. */
const headerLevels = [-5, -3, -1, 0, 3, 6, 9, 12, 15, 18, 22] as const;

/**
 * Reads a value of the `compression` key. A text sets only the codec and leaves level and window as in `prior`; an
 * object sets all; null clears all. Keys match in any case and unknown ones are ignored, as in Go. Errors: `bad-config`.
 */
export function parseCompressionConfig(value: unknown, prior: CompressionConfig = zero): CompressionConfig {
  if (typeof value === "string") return { ...prior, codec: value };
  if (value === null) return zero;
  if (typeof value !== "object" || Array.isArray(value)) {
    throw bad(`a codec's name or {codec, level, window} is expected, not ${kindOf(value)}`);
  }
  let result = zero;
  for (const [key, field] of Object.entries(value)) {
    const name = key.toLowerCase();
    if (field === null) continue; // Go leaves a field as it is on null.
    if (name === "codec") result = { ...result, codec: text(field) };
    else if (name === "level" || name === "window") result = { ...result, [name]: integer(name, field) };
  }
  return result;
}

/** `parseCompressionConfig` of JSON text. It sees how numbers are written: Go takes 100 and refuses 1e2 and 100.0. */
export function parseCompressionConfigJson(json: string, prior: CompressionConfig = zero): CompressionConfig {
  let value: unknown;
  try {
    value = JSON.parse(json, refuseFractions);
  } catch (cause) {
    throw new PageferryError(
      "bad-config",
      `compression: ${cause instanceof Error ? cause.message : "not JSON"}`,
      {
        cause,
      },
    );
  }
  return parseCompressionConfig(value, prior);
}

function refuseFractions(
  this: unknown,
  key: string,
  value: unknown,
  context?: { readonly source?: string },
): unknown {
  const isInteger = context?.source === undefined || /^-?\d+$/.test(context.source);
  if (typeof value === "number" && !isInteger)
    throw bad(`${key || "value"}: ${context.source} is not an integer`);
  return value;
}

/** The codec and level to write into headers. An unknown codec is `bad-config`. */
export function compressionSettings(config: CompressionConfig): CompressionSettings {
  const codec = config.codec === "" ? "zstd" : config.codec;
  const level = config.codec === "" && config.level === 0 ? 6 : config.level;
  if (codec === "none") return { codec, level: 0, window: 0 };
  if (codec !== "zstd") throw bad(`unknown compression codec: ${codec}`);
  const mapped = level <= 0 ? 0 : headerLevels[Math.min(level, headerLevels.length) - 1];
  return { codec, level: mapped ?? 0, window: 0 };
}

function text(value: unknown): string {
  if (typeof value !== "string") throw bad(`codec: a text is expected, not ${kindOf(value)}`);
  return value;
}

function integer(name: string, value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) {
    throw bad(`${name}: an integer is expected, not ${typeof value === "number" ? value : kindOf(value)}`);
  }
  return value;
}

function kindOf(value: unknown): string {
  return Array.isArray(value) ? "a list" : `a ${typeof value}`;
}

function bad(message: string): PageferryError {
  return new PageferryError("bad-config", `compression: ${message}`);
}
