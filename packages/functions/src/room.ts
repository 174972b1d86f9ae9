// Room on the disk that holds the queue: what comes in is refused while a little is still free, because the queue must be
// able to write in order to let anything out.

import { statfs } from "node:fs/promises";
import { PageferryError } from "@pageferry/format";

/** Left free; on a disk smaller than a quarter of a gigabyte, a sixteenth of it. */
const reserveBytesMost = 16 * 1024 * 1024;

/** How old an answer of the file system may be: at a thousand messages a second each would ask. */
const askedAgainMs = 200;

export interface Room {
  /** Throws `disk-full` when `bytes` more would leave less than the reserve. */
  check(bytes: number): Promise<void>;
}

export function createRoom(directory: string, now: () => number = () => performance.now()): Room {
  let askedAtMs = Number.NEGATIVE_INFINITY;
  let free = 0;
  return {
    async check(bytes) {
      if (now() - askedAtMs > askedAgainMs) {
        const { bavail, bsize, blocks } = await statfs(directory);
        free = bavail * bsize - Math.min(reserveBytesMost, (blocks * bsize) / 16);
        askedAtMs = now();
      }
      if (bytes > free)
        throw new PageferryError(
          "disk-full",
          `${directory}: ${bytes} bytes more would leave no room for the queue to work`,
        );
      free -= bytes;
    },
  };
}
