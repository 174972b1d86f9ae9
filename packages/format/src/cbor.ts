// Our one dialect of CBOR: strict in (a pre-scan, then cbor-x, whose only importer this is), canonical out (keys
// length-first, shortest heads). See docs/format.md#cbor.
import { strict as assert } from "node:assert";
import { Decoder } from "cbor-x";
import { scanCbor } from "./cbor-scan.ts";
import { PageferryError } from "./errors.ts";

/** A decoded map: keys are texts, each once. */
export type CborMap = ReadonlyMap<string, unknown>;

const decoder = new Decoder({ mapsAsObjects: false, useRecords: false, copyBuffers: false });

/**
 * Decodes exactly one item; anything else, or anything the pre-scan refuses, throws `corrupt`, its message beginning
 * with `what`. Maps come as `Map`, integers of eight bytes as bigint, times of tags 0 and 1 as `Date`, and byte
 * strings as views into `bytes`, not copies.
 */
export function decodeCbor(bytes: Uint8Array, what = "document"): unknown {
  scanCbor(bytes, what);
  try {
    // A view of its own: the decoder leaves a property behind on what it is given, and cuts byte strings out of it, which
    // must not be Buffers, whose `slice` does not copy.
    return decoder.decode(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (cause) {
    throw new PageferryError("corrupt", `${what}: CBOR does not decode`, { cause });
  }
}

/**
 * Encodes a value canonically, as Go's canonical mode does: maps (`Map` or plain object, text keys) sorted by length,
 * then bytewise; heads as short as can be; entries that are `undefined` left out. Byte strings are copied once, into the
 * result. A number that is not a safe integer becomes a float of eight bytes.
 */
export function encodeCbor(value: unknown): Uint8Array {
  const parts: Uint8Array[] = [];
  collect(value, parts);
  return Buffer.concat(parts);
}

// Written by hand: cbor-x keeps the order keys were inserted in, writes numbers from 2^32 as floats and every bigint in
// eight bytes, and keeps a buffer as large as the largest document it ever wrote.
function collect(value: unknown, parts: Uint8Array[]): void {
  switch (typeof value) {
    case "number":
    case "bigint":
      parts.push(encodeNumber(value));
      return;
    case "string": {
      const text = Buffer.from(value);
      parts.push(cborHead(cborMajor.text, text.length), text);
      return;
    }
    case "boolean":
      parts.push(Uint8Array.of(value ? 0xf5 : 0xf4));
      return;
    case "object":
      collectObject(value, parts);
      return;
    default:
      assert.fail(`a ${typeof value} has no form in CBOR`);
  }
}

function collectObject(value: object | null, parts: Uint8Array[]): void {
  if (value === null) {
    parts.push(Uint8Array.of(0xf6));
  } else if (value instanceof Uint8Array) {
    parts.push(cborHead(cborMajor.bytes, value.length), value);
  } else if (Array.isArray(value)) {
    parts.push(cborHead(cborMajor.array, value.length));
    for (const element of value) {
      collect(element, parts);
    }
  } else {
    const entries: [string, unknown][] = value instanceof Map ? [...value] : Object.entries(value);
    const kept = entries.filter(([, entry]) => entry !== undefined).sort(([a], [b]) => compareKeys(a, b));
    parts.push(cborHead(cborMajor.map, kept.length));
    for (const [key, entry] of kept) {
      collect(key, parts);
      collect(entry, parts);
    }
  }
}

function encodeNumber(value: number | bigint): Uint8Array {
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    const float = Buffer.alloc(9, 0xfb);
    float.writeDoubleBE(value, 1);
    return float;
  }
  return value >= 0 ? cborHead(cborMajor.uint, value) : cborHead(cborMajor.negative, -1n - BigInt(value));
}

/** RFC 7049 canonical order: the shorter key first, then bytewise. */
function compareKeys(a: string, b: string): number {
  return Buffer.byteLength(a) - Buffer.byteLength(b) || Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** The major types whose heads are written by hand. */
export const cborMajor = { uint: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5 } as const;

/** Bytes of the shortest head that holds `argument`. */
export function cborHeadLength(argument: number | bigint): number {
  return argument < 24
    ? 1
    : argument < 0x100
      ? 2
      : argument < 0x1_0000
        ? 3
        : argument < 0x1_0000_0000
          ? 5
          : 9;
}

/** Writes the shortest head at `offset` and returns the offset behind it. */
export function writeCborHead(
  into: Buffer,
  offset: number,
  major: number,
  argument: number | bigint,
): number {
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

/** The head of an item of definite length. */
export interface CborHead {
  readonly major: number;
  /** Exact up to 2^53; beyond that it is above every bound. */
  readonly argument: number;
  /** Where what follows the head begins. */
  readonly end: number;
}

/** Reads the head at `at`. `undefined`: more bytes are needed, nine being always enough. `corrupt`: not of definite length. */
export function readCborHead(bytes: Uint8Array, at: number, what: string): CborHead | undefined {
  const initial = bytes[at];
  if (initial === undefined) {
    return undefined;
  }
  const major = initial >> 5;
  const info = initial & 31;
  if (info > 27) {
    throw new PageferryError(
      "corrupt",
      `${what}: CBOR at byte ${at}: an item of definite length is expected`,
    );
  }
  const width = info < 24 ? 0 : 1 << (info - 24);
  const end = at + 1 + width;
  if (end > bytes.length) {
    return undefined;
  }
  let argument = width === 0 ? info : 0;
  for (let digit = at + 1; digit < end; digit += 1) {
    argument = argument * 256 + (bytes[digit] ?? 0);
  }
  return { major, argument, end };
}
