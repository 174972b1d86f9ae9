// A snapshot as the Go implementation's S3 and NATS replicas hold it: the database alone, compressed or not, without the map around it.
// Its own meta pages say what the header would. See docs/format.md#bare.
import { metaBytes, newestMeta, parseMeta } from "./bolt/meta.ts";
import { createByteReader } from "./byte-reader.ts";
import { PageferryError } from "./errors.ts";
import { pageSizeMax } from "./limits.ts";
import type { RandomReader } from "./ports.ts";
import { headerVersion } from "./segment-header.ts";
import type { SnapshotHeader } from "./snapshot-header.ts";
import { isSkippableMagic, zstdMagic } from "./zstd-frames.ts";
import { decodeZstdStream } from "./zstd-stream.ts";

/** How a bare snapshot is stored, in the words of its header. */
export type BareCodec = "zstd" | "none";

/** Both meta pages of a database with the largest pages lie in so many bytes. */
const bareHeadBytes = pageSizeMax + metaBytes;

/** What a store is asked for at a time, until both meta pages are known. */
const pieceBytes = 256 * 1024;

/**
 * Tells how a bare snapshot is stored from its first four bytes: a zstd frame, or page 0 of a database, whose id is 0. `undefined`: it
 * begins like neither, as files with their header do.
 */
export function bareCodecOf(head: Uint8Array): BareCodec | undefined {
  if (head.length < 4) return undefined;
  const magic = new DataView(head.buffer, head.byteOffset, 4).getUint32(0, true);
  if (magic === zstdMagic || isSkippableMagic(magic)) return "zstd";
  return magic === 0 ? "none" : undefined;
}

/** The header that a bare snapshot would have, from the first bytes of its database. Throws `corrupt` where they hold no meta page. */
export function bareSnapshotHeader(head: Uint8Array, codec: BareCodec): SnapshotHeader {
  const first = parseMeta(head);
  const meta = first === undefined ? undefined : newestMeta(head, head.subarray(first.pageSize));
  if (meta === undefined) {
    throw new PageferryError("corrupt", "bare snapshot: begins with no meta page of a bolt database");
  }
  return {
    txId: meta.txId,
    version: headerVersion,
    pageSize: meta.pageSize,
    createdAt: null,
    pageCount: BigInt(meta.highWaterMark),
    compression: codec,
    compressionLevel: 0,
    compressionWindow: 0,
  };
}

/** Reads what a bare snapshot says of itself, from its first part. Throws `corrupt`. */
export async function readBareSnapshotHeader(
  reader: RandomReader,
  codec: BareCodec,
): Promise<SnapshotHeader> {
  if (codec === "none") {
    return bareSnapshotHeader(await reader.read(0, Math.min(reader.size, bareHeadBytes)), codec);
  }
  const bytes = createByteReader(pieces(reader), "bare snapshot");
  let head = new Uint8Array(0);
  try {
    const decoded = decodeZstdStream(bytes, {
      payloadBytes: reader.size,
      parallelism: 1,
      what: "bare snapshot",
    });
    for await (const part of decoded) {
      head = joined(head, part);
      if (head.length >= bareHeadBytes) break;
    }
  } finally {
    await bytes.close();
  }
  return bareSnapshotHeader(head, codec);
}

/** Appends as much of `part` as a head may have. */
export function joined(head: Uint8Array, part: Uint8Array): Uint8Array<ArrayBuffer> {
  const rest = part.subarray(0, Math.max(0, bareHeadBytes - head.length));
  const bytes = new Uint8Array(head.length + rest.length);
  bytes.set(head);
  bytes.set(rest, head.length);
  return bytes;
}

async function* pieces(reader: RandomReader): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < reader.size; at += pieceBytes) {
    yield await reader.read(at, Math.min(pieceBytes, reader.size - at));
  }
}
