// A stretch of a seekable snapshot: whole frames, decoded and written without looking at the rest, so that several threads share one
// snapshot. Frames have checksums of their own; the CRC of the whole is put together from those of the stretches.

import { eachUnclaimed, type PageClaims } from "./apply.ts";
import { crc64 } from "./crc64.ts";
import { PageferryError } from "./errors.ts";
import { giveBack } from "./give-back.ts";
import type { SnapshotRanges } from "./snapshot-range.ts";
import { zstdDecompressSync } from "./zstd.ts";

/** Which stretch, and what of it is wanted. Plain data, fit for another thread. */
export interface UnpackOrder {
  /** The object, for messages. */
  readonly name: string;
  /** Where the stretch lies in the object. */
  readonly offset: number;
  readonly length: number;
  /** Pairs: bytes of a frame as stored, and decoded. None: the data is not compressed. */
  readonly frames: Uint32Array;
  /** Where it lies in the database. */
  readonly rawOffset: number;
  readonly pageSize: number;
  readonly claims: Pick<PageClaims, "words" | "pageCount">;
}

/** A snapshot in a file whose data is one frame. */
export interface FrameOrder {
  readonly name: string;
  /** Where the data lies in the object. */
  readonly offset: number;
  readonly length: number;
  readonly pageSize: number;
  readonly claims: UnpackOrder["claims"];
  /** Whether the CRC of the data is wanted. */
  readonly isSummed: boolean;
}

/** What came out of it. Nothing is proved by it: it may have been cut, or more than one frame. */
export interface UnpackedFrame {
  readonly crc: bigint | undefined;
  readonly rawBytes: number;
  /** The first two pages. */
  readonly head: Uint8Array;
}

/** Raw bytes of one stretch: some frames, so that a store is asked for megabytes, and all threads end at about the same time. */
const stretchBytes = 4 * 1024 * 1024;

/** Cuts the data of a seekable snapshot into stretches; what follows the last of them holds no pages. */
export function stretchesOf(
  name: string,
  ranges: Pick<SnapshotRanges, "data" | "frames" | "rawBytes">,
  pageSize: number,
  claims: UnpackOrder["claims"],
): UnpackOrder[] {
  const { data, frames } = ranges;
  const orders: UnpackOrder[] = [];
  if (frames.length === 0) {
    for (let at = 0; at < data.length; at += stretchBytes) {
      const length = Math.min(stretchBytes, data.length - at);
      orders.push({
        name,
        offset: data.offset + at,
        length,
        frames: new Uint32Array(0),
        rawOffset: at,
        pageSize,
        claims,
      });
    }
    return orders;
  }
  for (let first = 0; first < frames.length; ) {
    const { storedStart, rawStart } = frames[first] as (typeof frames)[number];
    const sizes: number[] = [];
    let end = storedStart;
    let raw = rawStart;
    for (
      let frame = frames[first];
      frame !== undefined && raw - rawStart < stretchBytes;
      frame = frames[++first]
    ) {
      sizes.push(frame.storedEnd - frame.storedStart, frame.rawEnd - frame.rawStart);
      end = frame.storedEnd;
      raw = frame.rawEnd;
    }
    const offset = data.offset + storedStart;
    orders.push({
      name,
      offset,
      length: end - storedStart,
      frames: Uint32Array.from(sizes),
      rawOffset: rawStart,
      pageSize,
      claims,
    });
  }
  return orders;
}

/**
 * Decodes a stretch and hands out what is unclaimed of it, in order; `write` must be done with the bytes when it returns. Returns the
 * CRC-64 of the stored bytes. Throws `corrupt` and `too-large`.
 */
export function unpackStretch(
  order: UnpackOrder,
  stored: Uint8Array,
  write: (offset: number, bytes: Uint8Array) => void,
): bigint {
  const { frames, pageSize, claims } = order;
  const place = (raw: Uint8Array, rawOffset: number): void => {
    eachUnclaimed(claims, pageSize, rawOffset, raw.length, (offset, length) => {
      write(offset, raw.subarray(offset - rawOffset, offset - rawOffset + length));
    });
  };
  if (frames.length === 0) place(stored, order.rawOffset);
  let at = 0;
  let rawOffset = order.rawOffset;
  for (let pair = 0; pair < frames.length; pair += 2) {
    const storedBytes = frames[pair] as number;
    const decodedBytes = frames[pair + 1] as number;
    const frame = stored.subarray(at, at + storedBytes);
    const raw = zstdDecompressSync(frame, { outputBytesMax: decodedBytes, what: order.name });
    if (raw.length !== decodedBytes) {
      throw new PageferryError(
        "corrupt",
        `${order.name}: a frame gives ${raw.length} bytes, the seek table says ${decodedBytes}`,
      );
    }
    place(raw, rawOffset);
    giveBack(raw);
    at += storedBytes;
    rawOffset += decodedBytes;
  }
  return crc64(stored);
}
