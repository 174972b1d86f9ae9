// Reads any range of a payload through its seek table, fetching only the frames that hold it. See docs/format.md#seekable.
import { PageferryError } from "./errors.ts";
import type { RandomReader } from "./ports.ts";
import { readSeekFooter, readSeekTable, type SeekEntry, seekFooterBytes } from "./seekable.ts";
import type { DataPlace } from "./segment-file.ts";
import { zstdDecompress } from "./zstd.ts";

/** Where a frame lies, stored and raw, both counted from the payload's beginning. */
export interface FramePlace {
  readonly storedStart: number;
  readonly storedEnd: number;
  readonly rawStart: number;
  readonly rawEnd: number;
}

/** A payload whose seek table was read. */
export interface SeekReader {
  /** All frames, skippable ones before the seek table included. */
  readonly frames: readonly FramePlace[];
  readonly rawBytes: number;
  /** Raw bytes [offset, offset + length), which must lie in the payload; each frame is verified by its own checksum. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Reads the seek table of the payload at `place`, with two small reads; `undefined` where there is none. */
export async function openSeekReader(
  reader: RandomReader,
  place: DataPlace,
  what: string,
): Promise<SeekReader | undefined> {
  const table = await readTable(reader, place, what);
  if (table === undefined) {
    return undefined;
  }
  const frames = placesOf(table);
  return {
    frames,
    rawBytes: frames.at(-1)?.rawEnd ?? 0,
    read: (offset, length) => readFrames(reader, place, frames, { offset, length, what }),
  };
}

/** A frame that is larger was not written to be read by itself. Ours hold 1 MiB. */
const frameBytesMax = 16 * 1024 * 1024;

/** One frame of the payload at `data`, decoded and verified by its own checksum. Throws `corrupt`, or `too-large`. */
export async function readFrame(
  reader: RandomReader,
  data: DataPlace,
  frame: FramePlace,
  what: string,
): Promise<Uint8Array> {
  const length = frame.rawEnd - frame.rawStart;
  const storedBytes = frame.storedEnd - frame.storedStart;
  if (length > frameBytesMax || storedBytes > frameBytesMax) {
    throw new PageferryError(
      "too-large",
      `${what}: a frame of ${storedBytes} bytes, ${length} decoded; at most ${frameBytesMax} are read for a page`,
    );
  }
  return readFrames(reader, data, [frame], { offset: frame.rawStart, length, what });
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
