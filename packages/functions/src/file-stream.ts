// Ranges of open files as streams, at the reader's pace; a stream that ends or is left closes its file.

import type { FileHandle } from "node:fs/promises";
import { PageferryError } from "@pageferry/format";

/** One read: large enough that a restore is not bound by calls, small enough that eight streams fit anywhere. */
export const chunkBytes = 256 * 1024;

export function streamOfBytes(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      if (bytes.length > 0) controller.enqueue(bytes);
      controller.close();
    },
  });
}

export function streamOf(
  handle: FileHandle,
  start: number,
  end: number,
  signal: AbortSignal | undefined,
): ReadableStream<Uint8Array> {
  const chunks = readChunks(handle, start, end, signal);
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          const next = await chunks.next();
          if (next.done !== true) return controller.enqueue(next.value);
          await handle.close();
          controller.close();
        } catch (error) {
          await handle.close().catch(() => undefined);
          controller.error(error);
        }
      },
      cancel: () => handle.close(),
    },
    { highWaterMark: 0 },
  );
}

export async function* readChunks(
  handle: FileHandle,
  start: number,
  end: number,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (let at = start; at < end; at += chunkBytes) {
    signal?.throwIfAborted();
    yield await readExactly(handle, at, Math.min(end, at + chunkBytes));
  }
}

export async function readExactly(handle: FileHandle, start: number, end: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(end - start);
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, start + done);
    if (bytesRead === 0)
      throw new PageferryError("corrupt", `a stored file became shorter than ${end} bytes while it was read`);
    done += bytesRead;
  }
  return bytes;
}
