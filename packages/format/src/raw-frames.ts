// Raw bytes of a payload that is cut into frames, by whoever loads a frame: which frames hold a range, and the range put together.

import { PageferryError } from "./errors.ts";
import type { FramePlace } from "./seek-reader.ts";

/** A frame among others, and what of the raw bytes it holds. */
export interface RawFrame {
  readonly index: number;
  readonly rawStart: number;
  readonly rawEnd: number;
}

/** How a payload is cut. */
export interface RawFrames {
  /** The frame that holds a byte; of a byte beyond the end, none does. */
  find(byte: number): RawFrame | undefined;
}

/** Raw bytes [offset, offset + length): a view where one frame holds them. Throws `corrupt` where the frames end before. */
export async function readRawBytes(
  frames: RawFrames,
  offset: number,
  length: number,
  load: (frame: RawFrame) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let at = offset;
  while (at < offset + length) {
    const frame = frames.find(at);
    if (frame === undefined) throw new PageferryError("corrupt", `no frame holds raw byte ${at}`);
    const end = Math.min(frame.rawEnd, offset + length);
    const bytes = await load(frame);
    parts.push(bytes.subarray(at - frame.rawStart, end - frame.rawStart));
    at = end;
  }
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
}

/** Frames as a seek table tells of them. */
export function tableFrames(places: readonly FramePlace[]): RawFrames {
  return {
    find(byte) {
      let low = 0;
      let high = places.length;
      // The last that begins at or before it: a skippable one begins where the next one does.
      while (high - low > 1) {
        const middle = (low + high) >>> 1;
        if ((places[middle] as FramePlace).rawStart <= byte) low = middle;
        else high = middle;
      }
      const place = places[low];
      if (place === undefined || byte >= place.rawEnd) return undefined;
      return { index: low, rawStart: place.rawStart, rawEnd: place.rawEnd };
    },
  };
}

/** A payload without frames, read as if it had some, all of `frameBytes`: what is fetched for one page serves its neighbours. */
export function evenFrames(rawBytes: number, frameBytes: number): RawFrames {
  return {
    find(byte) {
      if (byte >= rawBytes) return undefined;
      const index = Math.floor(byte / frameBytes);
      return { index, rawStart: index * frameBytes, rawEnd: Math.min((index + 1) * frameBytes, rawBytes) };
    },
  };
}
