// A restored database in memory: for tests, and for small databases that are looked at and not kept.

import { PageferryError } from "./errors.ts";
import type { RestoreSink } from "./workbench.ts";

/** A sink that keeps the database in memory. */
export interface MemorySink extends RestoreSink {
  /** The published database; undefined before `publish`, and when the restore failed. */
  bytes(): Uint8Array | undefined;
}

/** Makes a sink in memory; more than `bytesMax` bytes are `too-large`. Default 1 GiB. */
export function memorySink(bytesMax: number = 1024 * 1024 * 1024): MemorySink {
  let image = new Uint8Array(0);
  let published: Uint8Array | undefined;
  return {
    name: "memory",
    async begin(size) {
      if (size > bytesMax)
        throw new PageferryError(
          "too-large",
          `a database of ${size} bytes, at most ${bytesMax} go into memory`,
        );
      image = new Uint8Array(size);
    },
    async write(offset, pieces) {
      let at = offset;
      for (const piece of pieces) {
        image.set(piece, at);
        at += piece.length;
      }
    },
    openSource: (pageSize) => ({
      pageSize,
      size: image.length,
      read(pageId, count) {
        const end = (pageId + count) * pageSize;
        if (end > image.length)
          throw new PageferryError("corrupt", `page ${pageId + count - 1}: beyond the end of the database`);
        return image.subarray(pageId * pageSize, end);
      },
      [Symbol.dispose]() {},
    }),
    async publish() {
      published = image;
    },
    async discard() {
      image = new Uint8Array(0);
    },
    bytes: () => published,
  };
}
