// Our one dialect of CBOR: strict in, canonical out (keys length-first, shortest heads). The only importer of cbor-x.
// Large byte strings are laid out by their heads (`cborHead`), so that page bytes are copied once. See docs/format.md#cbor.
import { Encoder } from "cbor-x";
import { scanCbor } from "./cbor-scan.ts";
import { PageferryError } from "./errors.ts";

/** A decoded map: keys are texts, each once. */
export type CborMap = ReadonlyMap<string, unknown>;

const codec = new Encoder({
  mapsAsObjects: false,
  useRecords: false,
  variableMapSize: true,
  tagUint8Array: false,
  copyBuffers: false,
});

/**
 * Decodes exactly one item; anything else, or anything the pre-scan refuses, throws `corrupt`, its message beginning
 * with `what`. Maps come as `Map`, integers of eight bytes as bigint, times of tags 0 and 1 as `Date`, and byte
 * strings as views into `bytes`, not copies.
 */
export function decodeCbor(bytes: Uint8Array, what = "document"): unknown {
  scanCbor(bytes, what);
  try {
    // A fresh view, because the decoder leaves a property behind on what it is given.
    return codec.decode(bytes.subarray());
  } catch (cause) {
    throw new PageferryError("corrupt", `${what}: CBOR does not decode`, { cause });
  }
}

/**
 * Encodes a value canonically, as Go's canonical mode does: maps (`Map` or plain object, text keys) sorted by length,
 * then bytewise; integers in their shortest form. Entries that are `undefined` are left out. The result is a copy.
 */
export function encodeCbor(value: unknown): Uint8Array {
  return new Uint8Array(codec.encode(canonical(value)));
}

// cbor-x writes keys as they were inserted, numbers from 2^32 as floats, and every bigint in eight bytes.
function canonical(value: unknown): unknown {
  if (typeof value === "number") {
    return Number.isSafeInteger(value) && Math.abs(value) >= 2 ** 31 && value >>> 0 !== value ? BigInt(value) : value;
  }
  if (typeof value === "bigint") {
    return value >= -(2n ** 31n) && value < 2n ** 32n ? Number(value) : value;
  }
  if (Array.isArray(value)) {
    return value.map(canonical);
  }
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) {
    return value;
  }
  const entries: [string, unknown][] = value instanceof Map ? [...value] : Object.entries(value);
  const kept = entries.filter(([, entry]) => entry !== undefined);
  kept.sort(([a], [b]) => compareKeys(a, b));
  return new Map(kept.map(([key, entry]) => [key, canonical(entry)]));
}

/** RFC 7049 canonical order: the shorter key first, then bytewise. */
function compareKeys(a: string, b: string): number {
  return Buffer.byteLength(a) - Buffer.byteLength(b) || Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** The major types whose heads are written by hand. */
export const cborMajor = { uint: 0, bytes: 2, text: 3, array: 4, map: 5 } as const;

/** Bytes of the shortest head that holds `argument`. */
export function cborHeadLength(argument: number | bigint): number {
  return argument < 24 ? 1 : argument < 0x100 ? 2 : argument < 0x1_0000 ? 3 : argument < 0x1_0000_0000 ? 5 : 9;
}

/** Writes the shortest head at `offset` and returns the offset behind it. */
export function writeCborHead(into: Buffer, offset: number, major: number, argument: number | bigint): number {
  const length = cborHeadLength(argument);
  const initial = major << 5;
  switch (length) {
    case 1:
      into[offset] = initial | Number(argument);
      break;
    case 2:
      into[offset] = initial | 24;
      into[offset + 1] = Number(argument);
      break;
    case 3:
      into[offset] = initial | 25;
      into.writeUInt16BE(Number(argument), offset + 1);
      break;
    case 5:
      into[offset] = initial | 26;
      into.writeUInt32BE(Number(argument), offset + 1);
      break;
    default:
      into[offset] = initial | 27;
      into.writeBigUInt64BE(BigInt(argument), offset + 1);
  }
  return offset + length;
}

/** The shortest head of an item, by itself. */
export function cborHead(major: number, argument: number | bigint): Uint8Array {
  const head = Buffer.alloc(cborHeadLength(argument));
  writeCborHead(head, 0, major, argument);
  return head;
}
