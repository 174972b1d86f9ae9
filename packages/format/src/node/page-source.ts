// A bolt file on disk as a page source: plain positional reads, no lock, nothing kept in memory.
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { detectPageSize } from "../bolt/meta.ts";
import type { PageSource } from "../bolt/tree.ts";
import { PageferryError } from "../errors.ts";

/** An open bolt file. */
export interface FilePageSource extends PageSource, Disposable {
  /** Bytes of the file when it was opened. */
  readonly size: number;
  /** Closes the file; again is nothing. */
  close(): void;
}

/**
 * Opens a bolt file for reading. Throws `not-found`, `unreadable` when it may not be opened, `not-bolt` when it is empty, not a
 * file, or holds no valid meta page.
 */
export function openPageSource(path: string): FilePageSource {
  const fd = open(path);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new PageferryError("not-bolt", `${path}: not a file`);
    if (stat.size === 0) throw new PageferryError("not-bolt", `${path}: the file is empty`);
    const pageSize = detectPageSize((offset, length) => readUpTo(fd, path, offset, new Uint8Array(length)));
    if (pageSize === undefined) throw new PageferryError("not-bolt", `${path}: neither meta page is valid`);
    return sourceOf(fd, path, pageSize, stat.size);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function sourceOf(fd: number, path: string, pageSize: number, size: number): FilePageSource {
  let isOpen = true;
  const close = (): void => {
    if (isOpen) closeSync(fd);
    isOpen = false;
  };
  return {
    pageSize,
    size,
    read(pageId, count, into) {
      const length = count * pageSize;
      const offset = pageId * pageSize;
      // Asked first, so that a page with a wild overflow count does not cost its memory.
      if (offset + length > size) {
        const missing = Math.max(pageId, Math.floor(size / pageSize));
        throw new PageferryError("corrupt", `page ${missing}: beyond the end of ${path} at ${size} bytes`);
      }
      const target = into !== undefined && into.length === length ? into : new Uint8Array(length);
      const bytes = readUpTo(fd, path, offset, target);
      if (bytes.length === length) return bytes;
      const missing = pageId + Math.floor(bytes.length / pageSize);
      throw new PageferryError("corrupt", `page ${missing}: ${path} became shorter while it was read`);
    },
    close,
    [Symbol.dispose]: close,
  };
}

function open(path: string): number {
  try {
    // Non-blocking, for a named pipe would wait for its writer; for files it changes nothing.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR")
      throw new PageferryError("not-found", `${path}: no such file`, { cause });
    throw new PageferryError("unreadable", `${path}: cannot be opened for reading (${code ?? "unknown"})`, {
      cause,
    });
  }
}

function readUpTo(fd: number, path: string, offset: number, target: Uint8Array): Uint8Array {
  let done = 0;
  while (done < target.length) {
    let count: number;
    try {
      count = readSync(fd, target, done, target.length - done, offset + done);
    } catch (cause) {
      throw new PageferryError("unreadable", `${path}: cannot be read at byte ${offset + done}`, { cause });
    }
    if (count === 0) break;
    done += count;
  }
  return done === target.length ? target : target.subarray(0, done);
}
