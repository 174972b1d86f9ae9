// Reads a snapshot from anywhere: its header from the tail, and any range of pages by the seek table, fetching only the
// frames that hold them. See docs/format.md#seekable.
import { PageferryError } from "./errors.ts";
import { headerBytesMax, snapshotRawBytesMax } from "./limits.ts";
import type { RandomReader } from "./ports.ts";
import { readSeekFooter, readSeekTable, type SeekEntry, seekFooterBytes } from "./seekable.ts";
import { type DataPlace, decodeKeyedHeader, headerKey, parseDataPlace } from "./segment-file.ts";
import { isCompressed } from "./segment-header.ts";
import { type SnapshotHeader, snapshotHeaderOf, snapshotWords } from "./snapshot-header.ts";
import { zstdDecompress } from "./zstd.ts";

/** A snapshot opened for ranges. */
export interface SnapshotRanges {
  readonly header: SnapshotHeader;
  /** Raw bytes of the database. */
  readonly rawBytes: number;
  /** Whether ranges can be read: not compressed, or with a seek table. Go-made compressed ones cannot. */
  readonly isSeekable: boolean;
  /** Where the data lies in the object. */
  readonly data: { readonly offset: number; readonly length: number };
  /** The frames of seekable compressed data, in order, the skippable ones included; else none. */
  readonly frames: readonly FramePlace[];
  /**
   * Raw bytes [offset, offset + length). Frames are verified by their own checksums; the whole object's is not. Throws
   * `bad-request` for a range past the end, or where the snapshot is not seekable.
   */
  read(offset: number, length: number): Promise<Uint8Array>;
}

const headBytesMax = 15;

/** Reads the header of a snapshot, with two small reads; the data between is not looked at. */
export async function readSnapshotHeader(reader: RandomReader): Promise<SnapshotHeader> {
  return (await readEnds(reader)).header;
}

/** Raw bytes [offset, offset + length) of a snapshot; `openSnapshot` is better for more than one range. */
export async function readSnapshotRange(
  reader: RandomReader,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  return (await openSnapshot(reader)).read(offset, length);
}

async function readEnds(
  reader: RandomReader,
): Promise<{ readonly header: SnapshotHeader; readonly place: DataPlace }> {
  const head = await reader.read(0, Math.min(headBytesMax, reader.size));
  const place = parseDataPlace(head, "snapshot", snapshotRawBytesMax);
  const end = place === undefined ? Number.POSITIVE_INFINITY : place.offset + place.length;
  if (place === undefined || reader.size < end) {
    throw new PageferryError("corrupt", `snapshot: cut short at ${reader.size} bytes`);
  }
  const trailerBytes = reader.size - end;
  if (trailerBytes > headerBytesMax + headerKey.length) {
    throw new PageferryError(
      "too-large",
      `snapshot: ${trailerBytes} bytes of header, at most ${headerBytesMax}`,
    );
  }
  const trailer = await reader.read(end, trailerBytes);
  return { header: snapshotHeaderOf(decodeKeyedHeader(trailer, "snapshot"), "snapshot header"), place };
}

/** Opens a snapshot for ranged reads: its header and its seek table, with four small reads. */
export async function openSnapshot(reader: RandomReader): Promise<SnapshotRanges> {
  const { header, place } = await readEnds(reader);
  const what = snapshotWords(header);
  const isPacked = isCompressed(header, what) && place.length > 0;
  const table = isPacked ? await readTable(reader, place, what) : undefined;
  const places = table === undefined ? undefined : placesOf(table);
  const rawBytes = isPacked
    ? (places?.at(-1)?.rawEnd ?? Number(header.pageCount) * header.pageSize)
    : place.length;
  return {
    header,
    rawBytes,
    isSeekable: !isPacked || places !== undefined,
    data: place,
    frames: places ?? [],
    async read(offset, length) {
      if (!(offset >= 0 && length >= 0 && offset + length <= rawBytes)) {
        throw new PageferryError(
          "bad-request",
          `${what}: bytes ${offset} to ${offset + length} of ${rawBytes}`,
        );
      }
      if (!isPacked) {
        return reader.read(place.offset + offset, length);
      }
      if (places === undefined) {
        throw new PageferryError("bad-request", `${what}: has no seek table, it can only be read as a whole`);
      }
      return readFrames(reader, place, places, { offset, length, what });
    },
  };
}

async function readTable(
  reader: RandomReader,
  place: DataPlace,
  what: string,
): Promise<SeekEntry[] | undefined> {
  const end = place.offset + place.length;
  const tailBytes = Math.min(seekFooterBytes, place.length);
  const footer = readSeekFooter(await reader.read(end - tailBytes, tailBytes), what);
  if (footer === undefined) {
    return undefined;
  }
  if (footer.tableBytes > place.length) {
    throw new PageferryError(
      "corrupt",
      `${what}: a seek table of ${footer.tableBytes} bytes in ${place.length}`,
    );
  }
  return readSeekTable(await reader.read(end - footer.tableBytes, footer.tableBytes), place.length, what);
}

/** Where a frame lies: in the data as it is stored, and in the raw database. A skippable frame has no raw bytes. */
export interface FramePlace {
  readonly storedStart: number;
  readonly storedEnd: number;
  readonly rawStart: number;
  readonly rawEnd: number;
}

function placesOf(table: readonly SeekEntry[]): FramePlace[] {
  let stored = 0;
  let raw = 0;
  return table.map(({ storedBytes, decodedBytes }) => {
    const place = {
      storedStart: stored,
      storedEnd: stored + storedBytes,
      rawStart: raw,
      rawEnd: raw + decodedBytes,
    };
    stored = place.storedEnd;
    raw = place.rawEnd;
    return place;
  });
}

async function readFrames(
  reader: RandomReader,
  data: DataPlace,
  places: readonly FramePlace[],
  range: { readonly offset: number; readonly length: number; readonly what: string },
): Promise<Uint8Array> {
  const end = range.offset + range.length;
  const wanted = places.filter((place) => place.rawStart < end && place.rawEnd > range.offset);
  const [first, last] = [wanted[0], wanted.at(-1)];
  if (first === undefined || last === undefined) {
    return new Uint8Array(0);
  }
  const stored = await reader.read(data.offset + first.storedStart, last.storedEnd - first.storedStart);
  const expectedBytes = last.rawEnd - first.rawStart;
  const raw = await zstdDecompress(stored, { outputBytesMax: expectedBytes, what: range.what });
  if (raw.length !== expectedBytes) {
    throw new PageferryError(
      "corrupt",
      `${range.what}: frames give ${raw.length} bytes, the seek table says ${expectedBytes}`,
    );
  }
  return raw.subarray(range.offset - first.rawStart, end - first.rawStart);
}
