// Verifies a stored segment by its checksum as it streams by, in little memory: for copies, and for finding broken ones.
import { createByteReader } from "./byte-reader.ts";
import { createCrc64 } from "./crc64.ts";
import { PageferryError } from "./errors.ts";
import { headerBytesMax, segmentBytesMax } from "./limits.ts";
import { decodeBareSegmentAsync, isBareSegment } from "./segment-bare.ts";
import { collectSegmentFile, decodeKeyedHeader, headerKey, parseDataPlace } from "./segment-file.ts";
import { type SegmentHeader, segmentHeaderOf, segmentWords } from "./segment-header.ts";

const headBytesMax = 15;

/** What is taken of the data at a time. */
const pieceBytes = 1024 * 1024;

/**
 * Reads a segment file to its end and verifies its checksum; what is inside is not decompressed. A bare one has no checksum, and is decoded.
 * Returns the header. Errors: `corrupt`, `too-large`, `unsupported-version`.
 */
export async function verifySegmentStream(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<SegmentHeader> {
  const reader = createByteReader(chunks, "segment");
  try {
    const head = await reader.peek(headBytesMax);
    if (isBareSegment(head) === true) {
      const bytes = await collectSegmentFile(rest(reader));
      return (await decodeBareSegmentAsync(bytes)).header;
    }
    const place = parseDataPlace(head, "segment", segmentBytesMax);
    if (place === undefined) throw new PageferryError("corrupt", "segment: cut short in its first bytes");
    await reader.take(place.offset);
    const crc = createCrc64();
    for (let left = place.length; left > 0; ) {
      const part = await reader.some(Math.min(left, pieceBytes));
      crc.update(part);
      left -= part.length;
    }
    return await checkTrailer(reader, crc.digest());
  } finally {
    await reader.close();
  }
}

async function* rest(reader: ReturnType<typeof createByteReader>): AsyncGenerator<Uint8Array> {
  while ((await reader.peek(1)).length > 0) yield await reader.some(pieceBytes);
}

async function checkTrailer(
  reader: ReturnType<typeof createByteReader>,
  sum: bigint,
): Promise<SegmentHeader> {
  const bytesMax = headerKey.length + headerBytesMax;
  const trailer = await reader.peek(bytesMax + 1);
  if (trailer.length > bytesMax) {
    throw new PageferryError("too-large", `segment: more than ${headerBytesMax} bytes of header`);
  }
  const header = segmentHeaderOf(decodeKeyedHeader(trailer, "segment"), "segment header");
  if (header.checksum === sum) return header;
  throw new PageferryError(
    "corrupt",
    `${segmentWords(header)}: checksum ${sum.toString(16)}, its header says ${header.checksum.toString(16)}`,
  );
}
