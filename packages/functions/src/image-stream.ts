// A restored database on its way to a client, at the client's pace: it is given back when it was sent, when the client hangs up, and when the client
// takes nothing for too long.

import { PageferryError } from "@pageferry/format";
import { readExactly } from "./file-stream.ts";
import type { RestoredImage } from "./restored-images.ts";

/** One read, and what is held for a client. */
const chunkBytes = 512 * 1024;

/** A client that takes nothing for so long is gone. */
const idleMsDefault = 2 * 60_000;

/** The bytes of a range as a stream that owns the image. */
export function streamImage(
  image: RestoredImage,
  { offset, length }: { readonly offset: number; readonly length: number },
  idleMs = idleMsDefault,
): ReadableStream<Uint8Array> {
  const end = offset + length;
  let at = offset;
  let idle: NodeJS.Timeout | undefined;
  const free = async (): Promise<void> => {
    clearTimeout(idle);
    await image[Symbol.asyncDispose]();
  };
  const watch = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
    clearTimeout(idle);
    idle = setTimeout(() => {
      controller.error(new PageferryError("unavailable", `the client took nothing for ${idleMs} ms`));
      void free();
    }, idleMs).unref();
  };
  return new ReadableStream<Uint8Array>(
    {
      start: watch,
      async pull(controller) {
        try {
          watch(controller);
          const next = Math.min(end, at + chunkBytes);
          if (next > at) controller.enqueue(await readExactly(image.file, at, next));
          at = next;
          if (at < end) return;
          await free();
          controller.close();
        } catch (error) {
          await free();
          controller.error(error);
        }
      },
      cancel: free,
    },
    // One chunk is read while another is being sent.
    { highWaterMark: 1 },
  );
}
