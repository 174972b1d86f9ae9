// The Zstandard seekable format: frames of 1 MiB of input, and behind them skippable frames that say where each lies.
// Ranges also have a page index before the seek table. Both directions. See docs/format.md#seekable.
import { PageferryError } from "./errors.ts";
import { cborElementsMax, seekFramesMax } from "./limits.ts";

/** One frame of a seekable payload, by its sizes. */
export interface SeekEntry {
  readonly storedBytes: number;
  /** 0 for skippable frames. */
  readonly decodedBytes: number;
}

/** One run of pages in a segment's payload. */
export interface PageIndexEntry {
  readonly pageId: bigint;
  /** Pages of the run. */
  readonly count: bigint;
  /** Where the run's first byte lies in the decompressed payload. */
  readonly offset: bigint;
}

/** The magic of the skippable frame that holds the seek table. */
const seekTableMagic = 0x184d_2a5e;

/** The magic of the skippable frame that holds our page index. */
const pageIndexMagic = 0x184d_2a5d;

/** The last nine bytes of a seekable payload: how many frames, a descriptor, and a magic. */
export const seekFooterBytes = 9;

const seekFooterMagic = 0x8f92_eab1;
const skippableHeadBytes = 8;
const checksumFlag = 0x80;
const reservedBits = 0x7c;
const pageIndexEntryBytes = 24;

/** Wraps bytes into a skippable frame, which every zstd decoder passes over. */
export function encodeSkippable(magic: number, content: Uint8Array): Uint8Array {
  const frame = Buffer.alloc(skippableHeadBytes + content.length);
  frame.writeUInt32LE(magic, 0);
  frame.writeUInt32LE(content.length, 4);
  frame.set(content, skippableHeadBytes);
  return frame;
}

/** The seek table, a skippable frame that stands last. */
export function encodeSeekTable(entries: readonly SeekEntry[]): Uint8Array {
  const content = Buffer.alloc(entries.length * 8 + seekFooterBytes);
  let at = 0;
  for (const entry of entries) {
    content.writeUInt32LE(entry.storedBytes, at);
    content.writeUInt32LE(entry.decodedBytes, at + 4);
    at += 8;
  }
  content.writeUInt32LE(entries.length, at);
  content[at + 4] = 0;
  content.writeUInt32LE(seekFooterMagic, at + 5);
  return encodeSkippable(seekTableMagic, content);
}

/** What the footer tells: how long the whole skippable frame is. */
export interface SeekFooter {
  readonly frames: number;
  readonly entryBytes: number;
  readonly tableBytes: number;
}

/** Reads the last nine bytes of a payload; `undefined` where they are no footer, and the payload is not seekable. */
export function readSeekFooter(tail: Uint8Array, what: string): SeekFooter | undefined {
  if (tail.length < seekFooterBytes) {
    return undefined;
  }
  const view = new DataView(tail.buffer, tail.byteOffset + tail.length - seekFooterBytes, seekFooterBytes);
  if (view.getUint32(5, true) !== seekFooterMagic) {
    return undefined;
  }
  const frames = view.getUint32(0, true);
  const descriptor = view.getUint8(4);
  if (frames > seekFramesMax || (descriptor & reservedBits) !== 0) {
    throw new PageferryError("corrupt", `${what}: seek table of ${frames} frames, descriptor ${descriptor}`);
  }
  const entryBytes = (descriptor & checksumFlag) === 0 ? 8 : 12;
  return { frames, entryBytes, tableBytes: skippableHeadBytes + frames * entryBytes + seekFooterBytes };
}

/**
 * Reads the whole seek table, of `footer.tableBytes` bytes, of a payload of `payloadBytes`. Throws `corrupt` unless its
 * frames, the skippable ones included, fill the payload up to the table.
 */
export function readSeekTable(table: Uint8Array, payloadBytes: number, what: string): SeekEntry[] {
  const footer = readSeekFooter(table, what);
  if (footer === undefined || footer.tableBytes !== table.length) {
    throw new PageferryError(
      "corrupt",
      `${what}: the seek table has no footer, or another length than it says`,
    );
  }
  const view = new DataView(table.buffer, table.byteOffset, table.length);
  if (
    view.getUint32(0, true) !== seekTableMagic ||
    view.getUint32(4, true) !== table.length - skippableHeadBytes
  ) {
    throw new PageferryError("corrupt", `${what}: the seek table's own frame does not hold`);
  }
  const entries: SeekEntry[] = [];
  let storedBytes = table.length;
  for (let index = 0; index < footer.frames; index += 1) {
    const at = skippableHeadBytes + index * footer.entryBytes;
    const entry = { storedBytes: view.getUint32(at, true), decodedBytes: view.getUint32(at + 4, true) };
    storedBytes += entry.storedBytes;
    entries.push(entry);
  }
  if (storedBytes !== payloadBytes) {
    throw new PageferryError(
      "corrupt",
      `${what}: the seek table tells of ${storedBytes} bytes, there are ${payloadBytes}`,
    );
  }
  return entries;
}

/** A seek table and the bytes of its own frame. */
export interface SeekTable {
  readonly entries: readonly SeekEntry[];
  readonly tableBytes: number;
}

/** The seek table at the end of a whole payload; `undefined` where it has none. */
export function findSeekTable(payload: Uint8Array, what: string): SeekTable | undefined {
  const footer = readSeekFooter(payload, what);
  if (footer === undefined) {
    return undefined;
  }
  const { tableBytes } = footer;
  if (tableBytes > payload.length) {
    throw new PageferryError("corrupt", `${what}: a seek table of ${tableBytes} bytes in ${payload.length}`);
  }
  const table = payload.subarray(payload.length - tableBytes);
  return { entries: readSeekTable(table, payload.length, what), tableBytes };
}

/** The page index that stands right before the seek table of a whole payload; `undefined` where it has none. */
export function findPageIndex(payload: Uint8Array, what: string): PageIndexEntry[] | undefined {
  const table = findSeekTable(payload, what);
  const last = table?.entries.at(-1);
  if (table === undefined || last === undefined || last.storedBytes < skippableHeadBytes) {
    return undefined;
  }
  const end = payload.length - table.tableBytes;
  const frame = payload.subarray(end - last.storedBytes, end);
  const magic = new DataView(frame.buffer, frame.byteOffset, frame.length).getUint32(0, true);
  return magic === pageIndexMagic ? readPageIndex(frame, what) : undefined;
}

/** The page index of a range: u64 little-endian triples in a skippable frame. */
export function encodePageIndex(entries: readonly PageIndexEntry[]): Uint8Array {
  const content = Buffer.alloc(entries.length * pageIndexEntryBytes);
  let at = 0;
  for (const entry of entries) {
    content.writeBigUInt64LE(entry.pageId, at);
    content.writeBigUInt64LE(entry.count, at + 8);
    content.writeBigUInt64LE(entry.offset, at + 16);
    at += pageIndexEntryBytes;
  }
  return encodeSkippable(pageIndexMagic, content);
}

/** Reads a page index, which is a whole skippable frame; throws `corrupt`. */
export function readPageIndex(frame: Uint8Array, what: string): PageIndexEntry[] {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const contentBytes = frame.length - skippableHeadBytes;
  const isIndex =
    contentBytes >= 0 &&
    view.getUint32(0, true) === pageIndexMagic &&
    view.getUint32(4, true) === contentBytes &&
    contentBytes % pageIndexEntryBytes === 0 &&
    contentBytes / pageIndexEntryBytes <= cborElementsMax;
  if (!isIndex) {
    throw new PageferryError("corrupt", `${what}: the page index does not hold`);
  }
  const entries: PageIndexEntry[] = [];
  for (let at = skippableHeadBytes; at < frame.length; at += pageIndexEntryBytes) {
    entries.push({
      pageId: view.getBigUint64(at, true),
      count: view.getBigUint64(at + 8, true),
      offset: view.getBigUint64(at + 16, true),
    });
  }
  return entries;
}
