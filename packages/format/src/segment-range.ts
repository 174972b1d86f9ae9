// Reads what a segment says of itself, and single pages of a large one, without reading all of its data: in a store, or on
// disk. See docs/format.md#seekable.
import { PageferryError } from "./errors.ts";
import { cborElementsMax, headerBytesMax, segmentBytesMax } from "./limits.ts";
import type { RandomReader } from "./ports.ts";
import { type FramePlace, openSeekReader } from "./seek-reader.ts";
import { type PageIndexEntry, readPageIndex } from "./seekable.ts";
import { isBareSegment, readBareSegmentHeader } from "./segment-bare.ts";
import { type DataPlace, decodeKeyedHeader, headerKey, parseDataPlace } from "./segment-file.ts";
import { isCompressed, type SegmentHeader, segmentHeaderOf, segmentWords } from "./segment-header.ts";
import { checkPageSize } from "./segment-payload.ts";

/** A large segment opened for single pages. */
export interface SegmentRanges {
  readonly header: SegmentHeader;
  /** Its runs, ascending by page id. */
  readonly runs: readonly PageIndexEntry[];
  /** Where the payload lies in the object. */
  readonly data: DataPlace;
  /** The payload's frames, in order, the skippable ones included. */
  readonly frames: readonly FramePlace[];
  /** One page; `undefined` where the segment does not hold it. Its zstd frame is verified, the whole segment is not. */
  readPage(pageId: bigint): Promise<Uint8Array | undefined>;
}

const headBytesMax = 15;

/** Three numbers for each of the most runs that a segment may have, and room for its frame's head. */
const indexBytesMax = cborElementsMax * 24 + 64;

/**
 * Reads the header of a segment, with two small reads; the checksum is not verified, since the data is not looked at. A bare
 * one is read whole. Throws `corrupt`, `too-large` or `unsupported-version`.
 */
export async function readSegmentHeader(reader: RandomReader): Promise<SegmentHeader> {
  return (await readEnds(reader)).header;
}

/**
 * Opens a segment for single pages; `undefined` where it has no page index, as those below 8 MiB. Throws `corrupt`,
 * `too-large` or `unsupported-version`.
 */
export async function openSegment(reader: RandomReader): Promise<SegmentRanges | undefined> {
  const { header, place } = await readEnds(reader);
  const what = segmentWords(header);
  checkPageSize(header);
  if (place === undefined) return undefined;
  const payload = isCompressed(header, what) ? await openSeekReader(reader, place, what) : undefined;
  const last = payload?.frames.at(-1);
  if (payload === undefined || last === undefined || last.rawEnd > last.rawStart) {
    return undefined;
  }
  const indexBytes = last.storedEnd - last.storedStart;
  if (indexBytes > indexBytesMax)
    throw new PageferryError("corrupt", `${what}: a page index of ${indexBytes} bytes`);
  const stored = await reader.read(place.offset + last.storedStart, indexBytes);
  const runs = readPageIndex(stored, what);
  checkRuns(runs, payload.rawBytes, header);
  return {
    header,
    runs,
    data: place,
    frames: payload.frames,
    async readPage(pageId) {
      const run = runs.find((one) => one.pageId <= pageId && pageId < one.pageId + one.count);
      return run === undefined
        ? undefined
        : payload.read(Number(run.offset) + Number(pageId - run.pageId) * header.pageSize, header.pageSize);
    },
  };
}

/** Throws `corrupt` unless the runs ascend, do not overlap, and lie in the payload. */
function checkRuns(runs: readonly PageIndexEntry[], rawBytes: number, header: SegmentHeader): void {
  let freePage = 0n;
  let freeByte = 0n;
  for (const { pageId, count, offset } of runs) {
    const end = offset + count * BigInt(header.pageSize);
    if (count === 0n || pageId < freePage || offset < freeByte || end > rawBytes) {
      throw new PageferryError(
        "corrupt",
        `${segmentWords(header)}: its page index does not hold at page ${pageId}`,
      );
    }
    freePage = pageId + count;
    freeByte = end;
  }
}

/** Without a place: a bare segment, which has no page index. */
async function readEnds(
  reader: RandomReader,
): Promise<{ readonly header: SegmentHeader; readonly place: DataPlace | undefined }> {
  const head = await reader.read(0, Math.min(headBytesMax, reader.size));
  if (isBareSegment(head) === true) return { header: await readBareSegmentHeader(reader), place: undefined };
  const place = parseDataPlace(head, "segment", segmentBytesMax);
  const end = place === undefined ? reader.size : place.offset + place.length;
  const trailerBytes = reader.size - end;
  if (place === undefined || trailerBytes < headerKey.length) {
    throw new PageferryError("corrupt", `segment: cut short at ${reader.size} bytes`);
  }
  if (trailerBytes > headerBytesMax + headerKey.length) {
    throw new PageferryError(
      "too-large",
      `segment: ${trailerBytes} bytes of header, at most ${headerBytesMax}`,
    );
  }
  const map = decodeKeyedHeader(await reader.read(end, trailerBytes), "segment");
  return { header: segmentHeaderOf(map, "segment header"), place };
}
