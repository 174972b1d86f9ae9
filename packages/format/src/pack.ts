// A pack: whole segment files side by side in one object, each still a point, with an index before them. Both directions.
// See docs/format.md#pack.

import { type CborHead, cborHead, cborMajor, decodeCbor, encodeCbor, readCborHead } from "./cbor.ts";
import { cborFields } from "./cbor-fields.ts";
import { cborItemEnd } from "./cbor-scan.ts";
import { PageferryError } from "./errors.ts";
import { packBytesMax, packSegmentsMax } from "./limits.ts";
import { decodeSegmentFile } from "./segment-file.ts";
import { optional, segmentState, segmentWords, stateHashText } from "./segment-header.ts";
import type { StateHash } from "./state-hash.ts";
import { type TxId, txId } from "./txid.ts";

/** What the index says of one segment. */
export interface PackEntry {
  readonly parentTxId: TxId;
  readonly txId: TxId;
  /** The last commit's time; absent in a Go-made segment. */
  readonly stampMs?: number;
  /** When the queue took it. */
  readonly receivedMs?: number;
  /** Where the segment file begins in the pack object, for a ranged read. */
  readonly offset: number;
  readonly length: number;
  readonly pre?: StateHash;
  readonly post?: StateHash;
}

const packMagic = "PFPK";
const packVersion = 1;
/** What stands in each entry, in order. */
const entryFields = ["parentTxId", "txId", "stamp", "received", "offset", "length", "pre", "post"] as const;
/** The index alone: 16,384 entries of at most 128 bytes. */
const indexBytesMax = 2 * 1024 * 1024;
/** `a4 65 "index"`. */
const indexKey = Buffer.from("\xa4\x65index", "latin1");
/** `65 "magic" 64 "PFPK" 67 "version" <uint> 68 "segments"`, the uint apart. */
const magicKey = Buffer.from(`\x65magic\x64${packMagic}\x67version`, "latin1");
const segmentsKey = Buffer.from("\x68segments", "latin1");

/** Packs segment files; each must decode and lead on from the one before it (`corrupt`, `gap`), and fit (`too-large`). */
export function encodePack(items: readonly { readonly bytes: Uint8Array }[]): Uint8Array {
  let offset = 0;
  let reached: TxId | undefined;
  const index = items.map(({ bytes }) => {
    const { header } = decodeSegmentFile(bytes);
    if (reached !== undefined && header.parentTxId !== reached) {
      throw new PageferryError(
        "gap",
        `${segmentWords(header)}: does not lead on from transaction ${reached} in a pack`,
      );
    }
    reached = header.txId;
    const { stampMs = null, receivedMs = null, pre, post } = segmentState(header);
    const at = offset;
    offset += bytes.length;
    return [
      header.parentTxId,
      header.txId,
      stampMs,
      receivedMs,
      at,
      bytes.length,
      hashText(pre),
      hashText(post),
    ];
  });
  if (index.length === 0 || index.length > packSegmentsMax || offset > packBytesMax) {
    throw new PageferryError(
      "too-large",
      `a pack of ${index.length} segments and ${offset} bytes; it holds 1 to ${packSegmentsMax} and ${packBytesMax}`,
    );
  }
  return Buffer.concat([
    indexKey,
    encodeCbor(index),
    magicKey,
    cborHead(cborMajor.uint, packVersion),
    segmentsKey,
    cborHead(cborMajor.bytes, offset),
    ...items.map(({ bytes }) => bytes),
  ]);
}

function hashText(hash: StateHash | undefined): string | null {
  return hash === undefined ? null : hash.toString(16).padStart(32, "0");
}

/**
 * Reads the index from a pack or from a prefix that holds it whole. Throws `corrupt` (also when the prefix is too short),
 * `too-large` or `unsupported-version`. Entries cover the segments' bytes exactly, in order, each leading on.
 */
export function decodePackIndex(bytes: Uint8Array): PackEntry[] {
  return readIndex(bytes).entries;
}

/** Splits a whole pack; each item's bytes are a view. The segments themselves are verified when they are decoded. */
export function decodePack(bytes: Uint8Array): { readonly entry: PackEntry; readonly bytes: Uint8Array }[] {
  const { entries, end } = readIndex(bytes);
  if (end !== bytes.length) {
    throw new PageferryError("corrupt", `pack: ${bytes.length} bytes, its index tells of ${end}`);
  }
  return entries.map((entry) => ({
    entry,
    bytes: bytes.subarray(entry.offset, entry.offset + entry.length),
  }));
}

function readIndex(bytes: Uint8Array): { readonly entries: PackEntry[]; readonly end: number } {
  expectKey(bytes, 0, indexKey);
  const indexEnd = cborItemEnd(bytes.subarray(0, indexBytesMax), indexKey.length, "pack: index");
  expectKey(bytes, indexEnd, magicKey);
  const version = headAt(bytes, indexEnd + magicKey.length, cborMajor.uint);
  if (version.argument !== packVersion) {
    throw new PageferryError(
      version.argument > packVersion ? "unsupported-version" : "corrupt",
      `pack: version ${version.argument}, this program reads ${packVersion}`,
    );
  }
  expectKey(bytes, version.end, segmentsKey);
  const segments = headAt(bytes, version.end + segmentsKey.length, cborMajor.bytes);
  if (segments.argument > packBytesMax) {
    throw new PageferryError(
      "too-large",
      `pack: ${segments.argument} bytes of segments, at most ${packBytesMax} are read`,
    );
  }
  const index = decodeCbor(bytes.subarray(indexKey.length, indexEnd), "pack: index");
  return { entries: entriesOf(index, segments), end: segments.end + segments.argument };
}

function expectKey(bytes: Uint8Array, at: number, key: Uint8Array): void {
  if (Buffer.compare(bytes.subarray(at, at + key.length), key) !== 0) {
    throw new PageferryError("corrupt", `pack: at byte ${at} it is cut short, or not a pack`);
  }
}

function headAt(bytes: Uint8Array, at: number, major: number): CborHead {
  const head = readCborHead(bytes, at, "pack");
  if (head === undefined || head.major !== major) {
    throw new PageferryError("corrupt", `pack: at byte ${at} it is cut short, or not a pack`);
  }
  return head;
}

function entriesOf(index: unknown, segments: CborHead): PackEntry[] {
  if (!Array.isArray(index) || index.length === 0 || index.length > packSegmentsMax) {
    throw new PageferryError("corrupt", `pack: its index is not a list of 1 to ${packSegmentsMax} segments`);
  }
  let free = 0;
  let reached: TxId | undefined;
  const entries = index.map((item: unknown, position) => {
    const entry = entryOf(item, position, segments.end);
    const follows =
      entry.offset === segments.end + free && (reached === undefined || entry.parentTxId === reached);
    if (!follows || entry.txId <= entry.parentTxId) {
      throw new PageferryError(
        "corrupt",
        `pack: segment ${position} of its index does not follow the one before it`,
      );
    }
    free += entry.length;
    reached = entry.txId;
    return entry;
  });
  if (free !== segments.argument) {
    throw new PageferryError(
      "corrupt",
      `pack: its index tells of ${free} bytes, it holds ${segments.argument}`,
    );
  }
  return entries;
}

function entryOf(item: unknown, position: number, segmentsOffset: number): PackEntry {
  const what = `pack: segment ${position} of its index`;
  if (!Array.isArray(item) || item.length < entryFields.length) {
    throw new PageferryError("corrupt", `${what} is not a list of ${entryFields.length}`);
  }
  const fields = cborFields(new Map(entryFields.map((name, at) => [name, item[at] as unknown])), what);
  return {
    parentTxId: txId(fields.uint("parentTxId")),
    txId: txId(fields.uint("txId")),
    ...optional("stampMs", fields.has("stamp") ? fields.count("stamp") : undefined),
    ...optional("receivedMs", fields.has("received") ? fields.count("received") : undefined),
    offset: segmentsOffset + fields.count("offset", packBytesMax),
    length: fields.count("length", packBytesMax),
    ...optional("pre", stateHashText(fields.text("pre"))),
    ...optional("post", stateHashText(fields.text("post"))),
  };
}
