// The structural pre-scan that stands before any CBOR decoding: bounds, depth, counts, text keys, no duplicates, UTF-8.
// It allocates nothing that a hostile length asks for. See docs/format.md#cbor.
import { isUtf8 } from "node:buffer";
import { PageferryError } from "./errors.ts";
import { cborDepthMax, cborElementsMax, cborItemsMax } from "./limits.ts";

interface Cursor {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly what: string;
  at: number;
  items: number;
}

/** Marks the argument of an item of indefinite length. */
const indefinite = -1;
const breakByte = 0xff;
/** Above this many keys, duplicates are looked up in a set instead of compared in pairs. */
const pairwiseKeysMax = 16;

function corrupt(cursor: Cursor, why: string): PageferryError {
  return new PageferryError("corrupt", `${cursor.what}: CBOR at byte ${cursor.at}: ${why}`);
}

/** Throws `corrupt` unless `bytes` is exactly one item that may be handed to the decoder. `what` begins the message. */
export function scanCbor(bytes: Uint8Array, what: string): void {
  const end = cborItemEnd(bytes, 0, what);
  if (end !== bytes.length) {
    throw new PageferryError(
      "corrupt",
      `${what}: CBOR at byte ${end}: ${bytes.length - end} bytes follow the end`,
    );
  }
}

/** The offset behind the item that begins at `at`; throws `corrupt` unless it may be handed to the decoder. */
export function cborItemEnd(bytes: Uint8Array, at: number, what: string): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const cursor: Cursor = { bytes, view, what, at, items: 0 };
  scanItem(cursor, 0);
  return cursor.at;
}

function need(cursor: Cursor, count: number): void {
  if (count > cursor.bytes.length - cursor.at) {
    throw corrupt(cursor, `${count} bytes are needed, ${cursor.bytes.length - cursor.at} are left`);
  }
}

/** Reads the argument that follows an initial byte; a 64-bit one may come out inexact, which is then out of bounds. */
function argument(cursor: Cursor, info: number): number {
  if (info < 24) {
    return info;
  }
  if (info === 31) {
    return indefinite;
  }
  if (info > 27) {
    throw corrupt(cursor, `additional information ${info} is reserved`);
  }
  const width = 1 << (info - 24);
  need(cursor, width);
  const at = cursor.at;
  cursor.at += width;
  switch (width) {
    case 1:
      return cursor.view.getUint8(at);
    case 2:
      return cursor.view.getUint16(at);
    case 4:
      return cursor.view.getUint32(at);
    default:
      return cursor.view.getUint32(at) * 2 ** 32 + cursor.view.getUint32(at + 4);
  }
}

function scanItem(cursor: Cursor, depth: number): void {
  need(cursor, 1);
  cursor.items += 1;
  if (cursor.items > cborItemsMax) {
    throw corrupt(cursor, `more than ${cborItemsMax} items`);
  }
  const initial = cursor.bytes[cursor.at] ?? 0;
  cursor.at += 1;
  const major = initial >> 5;
  const info = initial & 31;
  const value = argument(cursor, info);
  if (value === indefinite && major !== 4 && major !== 5) {
    throw corrupt(cursor, "only arrays and maps may be of indefinite length here");
  }
  switch (major) {
    case 0:
    case 1:
      return;
    case 2:
      need(cursor, value);
      cursor.at += value;
      return;
    case 3:
      scanText(cursor, value);
      return;
    case 4:
    case 5:
      scanContainer(cursor, major === 5, value, depth + 1);
      return;
    case 6:
      scanTime(cursor, value, depth + 1);
      return;
    default:
      if (!(info >= 20 && info <= 23) && !(info >= 25 && info <= 27)) {
        throw corrupt(cursor, `simple value ${value} has no meaning here`);
      }
  }
}

function scanText(cursor: Cursor, length: number): void {
  need(cursor, length);
  if (!isUtf8(cursor.bytes.subarray(cursor.at, cursor.at + length))) {
    throw corrupt(cursor, "a text is not UTF-8");
  }
  cursor.at += length;
}

/** Tags 0 and 1 stand before a time; no other has a meaning here, and the decoder knows many. */
function scanTime(cursor: Cursor, tag: number, depth: number): void {
  const next = cursor.bytes[cursor.at] ?? 0;
  const isTimeText = tag === 0 && next >> 5 === 3;
  const isTimeNumber = tag === 1 && (next >> 5 <= 1 || (next >= 0xf9 && next <= 0xfb));
  if (!isTimeText && !isTimeNumber) {
    throw corrupt(cursor, `tag ${tag} has no meaning here`);
  }
  checkDepth(cursor, depth);
  scanItem(cursor, depth);
}

function checkDepth(cursor: Cursor, depth: number): void {
  if (depth > cborDepthMax) {
    throw corrupt(cursor, `nested more than ${cborDepthMax} deep`);
  }
}

function scanContainer(cursor: Cursor, isMap: boolean, count: number, depth: number): void {
  checkDepth(cursor, depth);
  if (count > cborElementsMax) {
    throw corrupt(cursor, `more than ${cborElementsMax} elements in one ${isMap ? "map" : "array"}`);
  }
  const keys: number[] = [];
  for (let index = 0; index !== count; index += 1) {
    if (count === indefinite) {
      if (cursor.bytes[cursor.at] === breakByte) {
        cursor.at += 1;
        break;
      }
      if (index === cborElementsMax) {
        throw corrupt(cursor, `more than ${cborElementsMax} elements in one ${isMap ? "map" : "array"}`);
      }
    }
    if (isMap) {
      scanKey(cursor, keys);
    }
    scanItem(cursor, depth);
  }
  if (keys.length > 2) {
    refuseDuplicates(cursor, keys);
  }
}

/** Scans a key, which is a text, and notes where its bytes lie. */
function scanKey(cursor: Cursor, keys: number[]): void {
  need(cursor, 1);
  cursor.items += 1;
  const initial = cursor.bytes[cursor.at] ?? 0;
  if (initial >> 5 !== 3) {
    throw corrupt(cursor, "a map key is not a text");
  }
  cursor.at += 1;
  const length = argument(cursor, initial & 31);
  if (length === indefinite) {
    throw corrupt(cursor, "a map key is of indefinite length");
  }
  const start = cursor.at;
  scanText(cursor, length);
  keys.push(start, cursor.at);
}

function refuseDuplicates(cursor: Cursor, keys: readonly number[]): void {
  const bytes = Buffer.from(cursor.bytes.buffer, cursor.bytes.byteOffset, cursor.bytes.byteLength);
  if (keys.length > 2 * pairwiseKeysMax) {
    const seen = new Set<string>();
    for (let index = 0; index < keys.length; index += 2) {
      seen.add(bytes.toString("latin1", keys[index], keys[index + 1]));
    }
    if (seen.size !== keys.length / 2) {
      throw corrupt(cursor, "a key comes twice in one map");
    }
    return;
  }
  for (let later = 2; later < keys.length; later += 2) {
    for (let earlier = 0; earlier < later; earlier += 2) {
      if (isSameKey(bytes, keys, earlier, later)) {
        throw corrupt(cursor, "a key comes twice in one map");
      }
    }
  }
}

function isSameKey(bytes: Buffer, keys: readonly number[], a: number, b: number): boolean {
  const [aStart = 0, aEnd = 0, bStart = 0, bEnd = 0] = [keys[a], keys[a + 1], keys[b], keys[b + 1]];
  return aEnd - aStart === bEnd - bStart && bytes.compare(bytes, aStart, aEnd, bStart, bEnd) === 0;
}
