// A spool on disk: bytes whose number is not known yet, such as a snapshot that is being compressed.

import { type FileHandle, open, rm } from "node:fs/promises";
import type { Spool } from "../snapshot.ts";
import { fromFileSystem, writeAll } from "./durable.ts";

/** Bytes of one read. */
const chunkBytes = 1024 * 1024;

/**
 * Makes a spool at `path`, which must not exist; the file appears with the first write, is private, and is gone after `remove`. A
 * spool is never durable: whoever crashes begins anew.
 */
export function fileSpool(path: string): Spool {
  let handle: FileHandle | undefined;
  let written = 0;
  let isRemoved = false;
  return {
    async write(bytes) {
      try {
        handle ??= await open(path, "wx+", 0o600);
        await writeAll(handle, bytes, written);
        written += bytes.length;
      } catch (error) {
        throw fromFileSystem(error, `spooling to ${path}`);
      }
    },
    size: () => written,
    async *open() {
      for (let at = 0; at < written; ) {
        const bytes = Buffer.allocUnsafeSlow(Math.min(chunkBytes, written - at));
        const { bytesRead } = await readFrom(handle, bytes, at, path);
        at += bytesRead;
        yield bytes.subarray(0, bytesRead);
      }
    },
    async remove() {
      if (isRemoved) return;
      isRemoved = true;
      await handle?.close();
      if (handle !== undefined) await rm(path, { force: true });
    },
  };
}

async function readFrom(
  handle: FileHandle | undefined,
  bytes: Uint8Array,
  position: number,
  path: string,
): Promise<{ readonly bytesRead: number }> {
  try {
    const result = await handle?.read(bytes, 0, bytes.length, position);
    if (result === undefined || result.bytesRead === 0)
      throw new Error("the spool is shorter than what was written to it");
    return result;
  } catch (error) {
    throw fromFileSystem(error, `reading the spool ${path}`);
  }
}
