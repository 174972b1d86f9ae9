// Reads typed fields out of a decoded CBOR map, as Go's struct decoder does: keys match in any case, a missing or null
// field is its zero value. Unlike Go, a wrong type, a negative count and a key that comes twice are all `corrupt`.
import type { CborMap } from "./cbor.ts";
import { PageferryError } from "./errors.ts";

/** Typed access to one map; every method throws `corrupt` with the key and what was found. */
export interface CborFields {
  /** Whether the key is there and not null. */
  has(key: string): boolean;
  text(key: string): string;
  /** 0 to 2^64-1. */
  uint(key: string): bigint;
  /** 0 to `max`, as a number. */
  count(key: string, max?: number): number;
  /** A whole number of either sign that a double holds exactly. */
  integer(key: string): number;
  bytes(key: string): Uint8Array;
  array(key: string): readonly unknown[];
  map(key: string): CborMap;
  raw(key: string): unknown;
}

const uintMax = 0xffff_ffff_ffff_ffffn;

/** Takes a decoded value as a map of fields; `what` begins each message. */
export function cborFields(value: unknown, what: string): CborFields {
  const fields = lowerCased(value, what);
  const find = (key: string): unknown => fields.get(key.toLowerCase()) ?? undefined;
  const fail = (key: string, expected: string): PageferryError =>
    new PageferryError("corrupt", `${what}: ${key} is ${describe(find(key))}, ${expected} is expected`);
  const uint = (key: string): bigint => {
    const found = find(key) ?? 0;
    if (typeof found === "bigint" && found >= 0n && found <= uintMax) {
      return found;
    }
    if (typeof found === "number" && Number.isSafeInteger(found) && found >= 0) {
      return BigInt(found);
    }
    throw fail(key, "an integer from 0 to 2^64-1");
  };
  const integer = (key: string): number => {
    const found = find(key) ?? 0;
    const number = typeof found === "bigint" ? Number(found) : found;
    if (typeof number !== "number" || !Number.isSafeInteger(number)) {
      throw fail(key, "an integer");
    }
    return number;
  };
  return {
    has: (key) => find(key) !== undefined,
    raw: find,
    uint,
    integer,
    count(key, max = Number.MAX_SAFE_INTEGER) {
      const number = integer(key);
      if (number < 0 || number > max) {
        throw fail(key, `an integer from 0 to ${max}`);
      }
      return number;
    },
    text(key) {
      const found = find(key) ?? "";
      if (typeof found !== "string") {
        throw fail(key, "a text");
      }
      return found;
    },
    bytes(key) {
      const found = find(key);
      if (!(found instanceof Uint8Array)) {
        throw fail(key, "a byte string");
      }
      return found;
    },
    array(key) {
      const found = find(key);
      if (!Array.isArray(found)) {
        throw fail(key, "an array");
      }
      return found;
    },
    map(key) {
      const found = find(key) ?? new Map();
      if (!(found instanceof Map)) {
        throw fail(key, "a map");
      }
      return found;
    },
  };
}

function lowerCased(value: unknown, what: string): CborMap {
  if (!(value instanceof Map)) {
    throw new PageferryError("corrupt", `${what}: ${describe(value)} where a map is expected`);
  }
  const fields = new Map<string, unknown>();
  for (const [key, field] of value as CborMap) {
    const lower = key.toLowerCase();
    if (fields.has(lower)) {
      throw new PageferryError("corrupt", `${what}: key "${key.slice(0, 40)}" comes twice`);
    }
    fields.set(lower, field);
  }
  return fields;
}

function describe(value: unknown): string {
  if (value === undefined || value === null) {
    return "missing";
  }
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") {
    return String(value);
  }
  return value instanceof Uint8Array ? "a byte string" : value instanceof Map ? "a map" : `a ${typeof value}`;
}
