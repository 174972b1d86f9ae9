// One record of the shadow: a captured segment with what is needed to send it and to roll a page table forward.
// Framing: u32-LE length, u32-LE CRC-32 of length and payload, then the payload, one CBOR map.
import { crc32 } from "node:zlib";
import {
  decodeCbor,
  encodeCbor,
  formatStateHash,
  PageferryError,
  parseStateHash,
  type StateHash,
  segmentBytesMax,
  type TxId,
  txId,
} from "@pageferry/format";

/** What the shadow knows of a segment without decoding it. */
export interface RecordFacts {
  readonly parentTxId: TxId;
  readonly txId: TxId;
  /** Commit stamp of `txId`, ms. */
  readonly stampMs: number;
  readonly pre: StateHash;
  readonly post: StateHash;
  /** Bytes of its pages before compression. */
  readonly rawBytes: number;
}

/** A record as it is kept. */
export interface ShadowRecord extends RecordFacts {
  /** Blocks that were live in the parent and are not any more. */
  readonly freed: Uint32Array;
  /** The segment file. */
  readonly segment: Uint8Array;
}

/** Bytes before the payload of a record. */
export const recordHeadBytes = 8;

/** A segment at its bound, and as many freed pages as a terabyte of database has. */
const payloadBytesMax = segmentBytesMax + 4 * 2 ** 28;

const recordVersion = 1;

/** Writes a record with its framing. */
export function encodeRecord(record: ShadowRecord): Uint8Array {
  const { freed } = record;
  const payload = encodeCbor({
    version: recordVersion,
    parentTxId: record.parentTxId,
    txId: record.txId,
    stamp: record.stampMs,
    pre: formatStateHash(record.pre),
    post: formatStateHash(record.post),
    rawBytes: record.rawBytes,
    freed: new Uint8Array(freed.buffer, freed.byteOffset, freed.byteLength),
    segment: record.segment,
  });
  if (payload.length > payloadBytesMax) {
    throw new PageferryError(
      "too-large",
      `shadow record: ${payload.length} bytes, at most ${payloadBytesMax}`,
    );
  }
  const framed = Buffer.allocUnsafe(recordHeadBytes + payload.length);
  framed.writeUInt32LE(payload.length, 0);
  framed.set(payload, recordHeadBytes);
  framed.writeUInt32LE(checksumOf(framed), 4);
  return framed;
}

function checksumOf(framed: Uint8Array): number {
  return crc32(framed.subarray(recordHeadBytes), crc32(framed.subarray(0, 4)));
}

/**
 * The length of the whole record that begins with `head` (its first 8 bytes), or `undefined` where none can begin: too few
 * bytes, a length of zero (which is what a file that grew without its data reads as), or more than `bytesLeft`.
 */
export function recordLength(head: Uint8Array, bytesLeft: number): number | undefined {
  if (head.length < recordHeadBytes) {
    return;
  }
  const length = Buffer.from(head.buffer, head.byteOffset, recordHeadBytes).readUInt32LE(0);
  const isPossible = length > 0 && length <= payloadBytesMax && recordHeadBytes + length <= bytesLeft;
  return isPossible ? recordHeadBytes + length : undefined;
}

/** Whether a whole framed record is as it was written. */
export function isIntactRecord(framed: Uint8Array): boolean {
  return (
    Buffer.from(framed.buffer, framed.byteOffset, recordHeadBytes).readUInt32LE(4) === checksumOf(framed)
  );
}

/** Reads a whole framed record; `segment` is a view into it. Throws `corrupt`, or `unsupported-version`. */
export function decodeRecord(framed: Uint8Array, what: string): ShadowRecord {
  if (!isIntactRecord(framed)) {
    throw new PageferryError("corrupt", `${what}: the checksum does not hold`);
  }
  const map = decodeCbor(framed.subarray(recordHeadBytes), what);
  const fields = map instanceof Map ? (map as ReadonlyMap<string, unknown>) : new Map<string, unknown>();
  if (fields.get("version") !== recordVersion) {
    throw new PageferryError("unsupported-version", `${what}: version ${String(fields.get("version"))}`);
  }
  const integer = (key: string) => checked(fields.get(key), isInteger, `${what}: ${key}`);
  const bytes = (key: string) => checked(fields.get(key), isBytes, `${what}: ${key}`);
  const text = (key: string) => checked(fields.get(key), isText, `${what}: ${key}`);
  return {
    parentTxId: txId(integer("parentTxId")),
    txId: txId(integer("txId")),
    stampMs: Number(integer("stamp")),
    pre: parseStateHash(text("pre")),
    post: parseStateHash(text("post")),
    rawBytes: Number(integer("rawBytes")),
    // Copied, because a view of four-byte numbers must begin at a multiple of four.
    freed: new Uint32Array(Uint8Array.from(bytes("freed")).buffer),
    segment: bytes("segment"),
  };
}

function isInteger(value: unknown): value is number | bigint {
  return typeof value === "bigint" || Number.isSafeInteger(value);
}

function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array;
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function checked<Value>(value: unknown, is: (value: unknown) => value is Value, what: string): Value {
  if (!is(value)) {
    throw new PageferryError("corrupt", `${what} is not what it should be`);
  }
  return value;
}
