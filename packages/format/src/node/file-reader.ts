// An archive in a directory: a file replica's root, a shadow, or what the Go implementation wrote.

import type { Dirent } from "node:fs";
import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ListedObject } from "../archive-listing.ts";
import type { ArchiveReader, ReadOptions, ReadRange } from "../archive-reader.ts";
import { PageferryError } from "../errors.ts";
import { checkObjectName } from "../names.ts";
import { fromFileSystem, isTemporaryPath } from "./durable.ts";

/** Bytes of one read of a stream; also the object size up to which one read takes it all. */
const chunkBytes = 1024 * 1024;

/** Objects up to this are read in one piece: a segment, rarely larger, is needed whole anyway. */
const wholeBytesMax = 8 * 1024 * 1024;

/** Files whose size is asked for at a time. */
const statsAtOnce = 64;

/** Reads an archive from a directory. A directory that is not there is `not-found` when it is listed. */
export function directoryReader(directory: string): ArchiveReader {
  return {
    name: directory,
    list: (options = {}) => listDirectory(directory, "", options),
    get: (name, options = {}) => getFile(directory, name, options),
    pathOf: (name) => join(directory, checkObjectName(name)),
  };
}

async function* listDirectory(
  root: string,
  prefix: string,
  options: ReadOptions,
): AsyncGenerator<ListedObject> {
  const directory = join(root, prefix);
  let entries: Dirent[];
  try {
    entries = await readdir(directory, { withFileTypes: true });
  } catch (error) {
    const isGone = prefix !== "" && (error as NodeJS.ErrnoException).code === "ENOENT";
    if (isGone) return;
    throw fromFileSystem(error, `listing ${directory}`);
  }
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  const files: string[] = [];
  for (const entry of entries) {
    if (isTemporaryPath(entry.name)) continue;
    const name = `${prefix}${entry.name}`;
    if (!entry.isDirectory()) files.push(name);
    else yield* listDirectory(root, `${name}/`, options);
  }
  for (let at = 0; at < files.length; at += statsAtOnce) {
    options.signal?.throwIfAborted();
    const sizes = await Promise.all(files.slice(at, at + statsAtOnce).map((name) => sizeOf(root, name)));
    for (const [index, size] of sizes.entries()) {
      if (size !== undefined) yield { name: files[at + index] as string, size };
    }
  }
}

/** The size of a regular file; undefined for anything else, and for what was removed meanwhile. */
async function sizeOf(root: string, name: string): Promise<number | undefined> {
  try {
    const found = await stat(join(root, name));
    return found.isFile() ? found.size : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw fromFileSystem(error, `listing ${join(root, name)}`);
  }
}

async function getFile(root: string, name: string, options: ReadRange): Promise<AsyncIterable<Uint8Array>> {
  const path = join(root, checkObjectName(name));
  options.signal?.throwIfAborted();
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "r");
    const { size } = await handle.stat();
    const offset = options.offset ?? 0;
    const length = options.length ?? size - offset;
    if (offset < 0 || length < 0 || offset + length > size) {
      throw new PageferryError("corrupt", `${path}: bytes ${offset} to ${offset + length} of ${size}`);
    }
    if (length > wholeBytesMax) {
      const streamed = handle;
      handle = undefined;
      return streamFile(streamed, path, offset, length, options);
    }
    return whole(await readExactly(handle, path, offset, length));
  } catch (error) {
    throw fromFileSystem(error, `reading ${path}`);
  } finally {
    await handle?.close();
  }
}

async function* whole(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}

async function* streamFile(
  handle: FileHandle,
  path: string,
  start: number,
  length: number,
  options: ReadOptions,
): AsyncGenerator<Uint8Array> {
  try {
    for (let at = 0; at < length; at += chunkBytes) {
      options.signal?.throwIfAborted();
      yield await readExactly(handle, path, start + at, Math.min(chunkBytes, length - at));
    }
  } catch (error) {
    throw fromFileSystem(error, `reading ${path}`);
  } finally {
    await handle.close();
  }
}

async function readExactly(
  handle: FileHandle,
  path: string,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
    if (bytesRead === 0) throw new PageferryError("corrupt", `${path}: became shorter while it was read`);
    done += bytesRead;
  }
  return bytes;
}
