// A snapshot whose data is one long zstd frame, as the Go implementation writes it: decoded from its file in a thread, into and out of the
// same few buffers. Streamed through the caller's thread it would cost a garbage collection for every few megabytes.

import { closeSync, openSync, readSync } from "node:fs";
import { createZstdDecompress, type ZstdDecompress } from "node:zlib";
import { eachUnclaimed } from "../apply.ts";
import { createCrc64 } from "../crc64.ts";
import { giveBack } from "../give-back.ts";
import type { FrameOrder, UnpackedFrame } from "../restore-unpack.ts";
import { fromFileSystem } from "./durable.ts";

/** Bytes of one read, and of one piece of output. */
const chunkBytes = 1024 * 1024;

/** Decodes the frame and writes what is unclaimed. What is wrong with it is thrown, or shows in the count of bytes. */
export async function unpackFrame(
  order: FrameOrder,
  path: string,
  write: (offset: number, bytes: Uint8Array) => void,
): Promise<UnpackedFrame> {
  const { pageSize, claims } = order;
  const decoder = createZstdDecompress({ chunkSize: chunkBytes });
  const failed = new Promise<never>((_, reject) => decoder.on("error", reject));
  failed.catch(() => undefined);
  const ended = new Promise<void>((resolve) => decoder.on("end", resolve));
  const head = new Uint8Array(2 * pageSize);
  let rawBytes = 0;
  decoder.on("data", (raw: Uint8Array) => {
    try {
      if (rawBytes < head.length) head.set(raw.subarray(0, head.length - rawBytes), rawBytes);
      const at = rawBytes;
      rawBytes += raw.length;
      eachUnclaimed(claims, pageSize, at, raw.length, (offset, length) =>
        write(offset, raw.subarray(offset - at, offset - at + length)),
      );
      freeWhenFull(raw);
    } catch (error) {
      decoder.destroy(error as Error);
    }
  });
  try {
    const crc = await Promise.race([failed, feed(decoder, order, path)]);
    decoder.end();
    await Promise.race([failed, ended]);
    return { crc, rawBytes, head };
  } finally {
    decoder.destroy();
  }
}

/**
 * Gives an output buffer back once it is full. The decoder delivers it in pieces, in order; what it delivered is ours, so that after the
 * last piece it cannot touch any of it, and all of it has been written.
 */
function freeWhenFull(raw: Uint8Array): void {
  if (raw.buffer.byteLength === chunkBytes && raw.byteOffset + raw.byteLength === chunkBytes) giveBack(raw);
}

/** Reads the data into one buffer, again and again: the decoder has taken a chunk when it calls back. Returns the CRC if it is asked for. */
async function feed(decoder: ZstdDecompress, order: FrameOrder, path: string): Promise<bigint | undefined> {
  const crc = order.isSummed ? createCrc64() : undefined;
  const buffer = new Uint8Array(Math.min(chunkBytes, order.length));
  let input: number | undefined;
  try {
    input = openSync(path, "r");
    for (let at = 0; at < order.length; ) {
      const count = readSync(input, buffer, 0, Math.min(buffer.length, order.length - at), order.offset + at);
      if (count === 0) break;
      const chunk = buffer.subarray(0, count);
      crc?.update(chunk);
      await new Promise<void>((resolve) => decoder.write(chunk, () => resolve()));
      at += count;
    }
  } catch (error) {
    throw fromFileSystem(error, `reading ${path}`);
  } finally {
    if (input !== undefined) closeSync(input);
  }
  return crc?.digest();
}
