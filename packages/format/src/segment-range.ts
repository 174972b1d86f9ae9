// Reads what a segment says of itself without reading its data: for large ones, in a store or on disk.
import { PageferryError } from "./errors.ts";
import { headerBytesMax, segmentBytesMax } from "./limits.ts";
import type { RandomReader } from "./ports.ts";
import { decodeKeyedHeader, headerKey, parseDataPlace } from "./segment-file.ts";
import { type SegmentHeader, segmentHeaderOf } from "./segment-header.ts";

const headBytesMax = 15;

/**
 * Reads the header of a segment, with two small reads; the checksum is not verified, since the data is not looked at.
 * Throws `corrupt`, `too-large` or `unsupported-version`.
 */
export async function readSegmentHeader(reader: RandomReader): Promise<SegmentHeader> {
  const place = parseDataPlace(
    await reader.read(0, Math.min(headBytesMax, reader.size)),
    "segment",
    segmentBytesMax,
  );
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
  return segmentHeaderOf(
    decodeKeyedHeader(await reader.read(end, trailerBytes), "segment"),
    "segment header",
  );
}
