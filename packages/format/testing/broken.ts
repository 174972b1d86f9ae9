// Builds files that no writer would: the broken sisters of vectors.
import { cborHead, cborMajor, decodeCbor, encodeCbor } from "../src/cbor.ts";
import { crc64 } from "../src/crc64.ts";
import { dataPrefix, headerKey, parseDataPlace } from "../src/segment-file.ts";

/** A segment or snapshot file taken apart: what is in it, not what it means. */
export interface Parts {
  readonly data: Uint8Array;
  /** The decoded map of the outer header; may be changed. */
  readonly header: Map<string, unknown>;
}

/** Takes a file apart. */
export function takeApart(bytes: Uint8Array): Parts {
  const place = parseDataPlace(bytes, "file", Number.MAX_SAFE_INTEGER);
  if (place === undefined) {
    throw new Error("not a file");
  }
  const end = place.offset + place.length;
  const header = decodeCbor(bytes.subarray(end + headerKey.length)) as Map<string, unknown>;
  return { data: new Uint8Array(bytes.subarray(place.offset, end)), header };
}

/** Puts a file together from any bytes. `header` may be CBOR already. */
export function putTogether(data: Uint8Array, header: Map<string, unknown> | Uint8Array): Uint8Array {
  return Buffer.concat([
    dataPrefix,
    cborHead(cborMajor.bytes, data.length),
    data,
    headerKey,
    header instanceof Uint8Array ? header : encodeCbor(header),
  ]);
}

/** The file with other data and everything else true: its checksum, and what `changes` says. */
export function withData(
  bytes: Uint8Array,
  data: Uint8Array,
  changes: Record<string, unknown> = {},
): Uint8Array {
  const { header } = takeApart(bytes);
  const hasChecksum = header.has("checksum");
  const sum = hasChecksum ? { checksum: crc64(data) } : {};
  return putTogether(data, new Map([...header, ...Object.entries({ ...sum, ...changes })]));
}

/** The file with other values in its outer header. */
export function withHeader(bytes: Uint8Array, changes: Record<string, unknown>): Uint8Array {
  const { data, header } = takeApart(bytes);
  return putTogether(data, new Map([...header, ...Object.entries(changes)]));
}

/** The file whose outer header has one pair more, as it stands, even if that breaks it. */
export function withPair(bytes: Uint8Array, key: string, value: Uint8Array): Uint8Array {
  const { data, header } = takeApart(bytes);
  const map = encodeCbor(header);
  const more = Buffer.concat([
    cborHead(cborMajor.map, header.size + 1),
    map.subarray(1),
    encodeCbor(key),
    value,
  ]);
  return putTogether(data, more);
}

/** The file with one bit turned. */
export function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = new Uint8Array(bytes);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

/** Arrays in arrays. */
export function nested(levels: number): Uint8Array {
  return Buffer.concat([Buffer.alloc(levels, 0x81), Buffer.from([0])]);
}

/** 6 KB of zstd that decode to 187 MiB of zeros: 1,500 blocks of 128 KiB, each one byte repeated. */
export function zstdBomb(): Uint8Array {
  const blocks = 1500;
  const bomb = Buffer.alloc(6 + 4 * blocks);
  bomb.writeUInt32LE(0xfd2fb528, 0);
  bomb[5] = 7 << 3; // A window of 2^17, no content size, no checksum.
  for (let block = 0; block < blocks; block += 1) {
    const isLast = block === blocks - 1 ? 1 : 0;
    bomb.writeUIntLE(((128 * 1024) << 3) | (1 << 1) | isLast, 6 + 4 * block, 3);
  }
  return bomb;
}
