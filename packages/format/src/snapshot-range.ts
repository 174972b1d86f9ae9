// Reads a snapshot from anywhere: its header from the tail, and any range of pages by the seek table, fetching only the
// frames that hold them. See docs/format.md#seekable.
import { PageferryError } from "./errors.ts";
import { headerBytesMax, snapshotRawBytesMax } from "./limits.ts";
import type { RandomReader } from "./ports.ts";
import { type FramePlace, openSeekReader } from "./seek-reader.ts";
import { type DataPlace, decodeKeyedHeader, headerKey, parseDataPlace } from "./segment-file.ts";
import { isCompressed } from "./segment-header.ts";
import { bareCodecOf, readBareSnapshotHeader } from "./snapshot-bare.ts";
import { type SnapshotHeader, snapshotHeaderOf, snapshotWords } from "./snapshot-header.ts";

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
  const codec = bareCodecOf(head);
  if (codec !== undefined) {
    return {
      header: await readBareSnapshotHeader(reader, codec),
      place: { offset: 0, length: reader.size },
    };
  }
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
  const packed = isPacked ? await openSeekReader(reader, place, what) : undefined;
  const rawBytes = isPacked ? (packed?.rawBytes ?? Number(header.pageCount) * header.pageSize) : place.length;
  return {
    header,
    rawBytes,
    isSeekable: !isPacked || packed !== undefined,
    data: place,
    frames: packed?.frames ?? [],
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
      if (packed === undefined) {
        throw new PageferryError("bad-request", `${what}: has no seek table, it can only be read as a whole`);
      }
      return packed.read(offset, length);
    },
  };
}
