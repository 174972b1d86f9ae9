// Objects as files below one directory, `<directory>/<name>`, so that an archive can be read with `ls` and copied with
// `cp`. A name never shows a part of its object: temporary file, fsync, link without overwrite, fsync of the directory.

import { constants } from "node:fs";
import { type FileHandle, link, lstat, open, opendir, readdir, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { checkObjectName, isPageferryError, PageferryError } from "@pageferry/format";
import {
  fromFileSystem,
  fsyncDirectory,
  isTemporaryPath,
  makeDirectoryDurable,
  writeFileDurable,
} from "@pageferry/format/node";
import { bodySize, haveSameBytes, openBody } from "../body.ts";
import { chunkBytes, readChunks, readExactly, streamOf, streamOfBytes } from "../file-stream.ts";
import {
  type CallOptions,
  checkMutableName,
  compareNames,
  type ObjectInfo,
  type Retained,
  rangeWithin,
  type Store,
  type StoreBody,
} from "../store.ts";
import { storedBytes } from "./stored-bytes.ts";

/** File sizes are asked for this many at a time while a directory is listed. */
const statsAtOnce = 64;

/** Directories whose way down is known to hold no symbolic link; a bound, not a limit. */
const knownDirectoriesMax = 4096;

/** A writer touches its temporary file with every chunk; one that was left alone this long has no writer any more. */
const leftoverAgeMs = 60 * 60 * 1000;

export interface FileStoreOptions {
  readonly directory: string;
  /** A stable word for logs. Default `file://<directory>`. */
  readonly name?: string;
  /** Remove what killed writers left behind wherever this store lists. For the store's owner only. Default false. */
  readonly sweep?: boolean;
  readonly now?: () => number;
}

interface FileStore {
  readonly root: string;
  readonly sweep: boolean;
  readonly now: () => number;
  /** Directories that hold no symbolic link on their way; `written`: also swept, and made durable. */
  readonly known: Map<string, "checked" | "written">;
}

/** A store in a directory, which is made when the first object comes. */
export function fileStore(options: FileStoreOptions): Store {
  const root = resolve(options.directory);
  const store: FileStore = {
    root,
    sweep: options.sweep ?? false,
    now: options.now ?? Date.now,
    known: new Map(),
  };
  return {
    name: options.name ?? `file://${root}`,
    put: (name, body, call = {}) => put(store, name, body, call),
    get: (name, range = {}) => get(store, name, range),
    list: (prefix, call = {}) => list(store, prefix, call),
    remove: (names, call = {}) => remove(store, names, call),
    async replace(name, bytes, call = {}) {
      call.signal?.throwIfAborted();
      checkMutableName(name);
      await prepareDirectory(store, name);
      await writeFileDurable(join(root, name), bytes, { overwrite: true, ...given(call.signal) });
    },
    pathOf: (name) => join(root, checkObjectName(name)),
    async close() {},
    async [Symbol.asyncDispose]() {},
  };
}

function given(signal: AbortSignal | undefined): { readonly signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

async function put(
  store: FileStore,
  name: string,
  body: StoreBody,
  call: CallOptions,
): Promise<"stored" | "present"> {
  call.signal?.throwIfAborted();
  checkObjectName(name);
  const path = join(store.root, name);
  for (let round = 1; ; round++) {
    try {
      await prepareDirectory(store, name);
      if (await isPresent(path, name, body, call.signal)) return "present";
      if (await linkFile(path, name, body, call.signal)) return "stored";
      const chunks = body instanceof Uint8Array ? body : openBody(body, `object ${name}`, call.signal);
      await writeFileDurable(path, chunks, given(call.signal));
      return "stored";
    } catch (error) {
      // `exists`: another writer was first, and what it wrote decides. `not-found`: somebody removed the directory. What
      // stays so is a file where a directory should be.
      if (!isPageferryError(error, "exists") && !isPageferryError(error, "not-found")) throw error;
      if (round >= 3) throw new PageferryError("unavailable", error.message, { cause: error });
      store.known.delete(dirname(path));
    }
  }
}

/** What a file system says that cannot link this file here, but could hold a copy. */
const copyErrnos: readonly unknown[] = ["EXDEV", "EPERM", "EMLINK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"];

/** Gives a body that is a file already this name too, once its digest is verified. False: it must be copied. */
async function linkFile(
  path: string,
  name: string,
  body: StoreBody,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (body instanceof Uint8Array || body.path === undefined) return false;
  try {
    const [from, to] = await Promise.all([stat(body.path), stat(dirname(path))]);
    if (from.dev !== to.dev) return false;
    for await (const _ of openBody(body, `object ${name}`, signal));
    await link(body.path, path);
    await fsyncDirectory(dirname(path));
    return true;
  } catch (error) {
    if (copyErrnos.includes((error as NodeJS.ErrnoException).code)) return false;
    throw fromFileSystem(error, `linking ${body.path} as ${path}`);
  }
}

/** Tells whether these very bytes are stored, durably; other bytes are a `conflict`. */
async function isPresent(
  path: string,
  name: string,
  body: StoreBody,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  await using handle = await openFile(path, name, "conflict");
  if (handle === undefined) return false;
  const { size } = await handle.stat();
  const conflict = (cause?: unknown) =>
    new PageferryError("conflict", `object ${name}: ${size} other bytes are stored under this name`, {
      cause,
    });
  if (size !== bodySize(body)) throw conflict();
  const stored = storedBytes(readChunks(handle, 0, size, signal), conflict);
  if (!(await haveSameBytes(stored, openBody(body, `object ${name}`, signal)))) throw conflict();
  // Its writer may have been killed between the link and the fsync of the directory.
  await handle.sync();
  await fsyncDirectory(dirname(path));
  return true;
}

/** A regular file, never through a symbolic link, which is an error of this code; `undefined` if there is none. */
async function openFile(
  path: string,
  name: string,
  codeOfLink: "bad-config" | "conflict",
): Promise<FileHandle | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code;
    if (errno === "ENOENT" || errno === "ENOTDIR") return undefined;
    if (errno === "ELOOP")
      throw new PageferryError(codeOfLink, `object ${name} is a symbolic link`, { cause: error });
    throw fromFileSystem(error, `opening ${path}`);
  }
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  return undefined;
}

async function get(
  store: FileStore,
  name: string,
  range: Parameters<Store["get"]>[1] & {},
): Promise<ReadableStream<Uint8Array>> {
  range.signal?.throwIfAborted();
  const path = join(store.root, checkObjectName(name));
  const isInside = await checkDirectories(store, dirname(path));
  const handle = isInside ? await openFile(path, name, "bad-config") : undefined;
  if (handle === undefined) throw new PageferryError("not-found", `object ${name} is not in ${store.root}`);
  try {
    const [start, end] = rangeWithin((await handle.stat()).size, range, `object ${name}`);
    if (end - start > chunkBytes) return streamOf(handle, start, end, range.signal);
    // Most objects are small: read at once, so that a reader who forgets the stream holds no descriptor.
    const bytes = await readExactly(handle, start, end);
    await handle.close();
    return streamOfBytes(bytes);
  } catch (error) {
    await handle.close().catch(() => undefined);
    throw fromFileSystem(error, `reading ${path}`);
  }
}

async function* list(store: FileStore, prefix: string, call: CallOptions): AsyncGenerator<ObjectInfo> {
  call.signal?.throwIfAborted();
  // A prefix that leaves the root, or cannot begin a name, begins no name.
  if (prefix !== "" && /^\/|\\|\0|(^|\/)\.{0,2}\//.test(prefix)) return;
  const below = prefix.slice(0, prefix.lastIndexOf("/") + 1);
  if (below !== "" && !(await checkDirectories(store, join(store.root, below)))) return;
  yield* listDirectory(store, below, prefix, call.signal);
}

/** One directory's names are in memory, and those of the directories above it; never those of the whole store. */
async function* listDirectory(
  store: FileStore,
  below: string,
  prefix: string,
  signal?: AbortSignal,
): AsyncGenerator<ObjectInfo> {
  const files: string[] = [];
  for (const name of await sortedNames(store, below, prefix)) {
    if (!name.endsWith("/")) files.push(name);
    if (files.length >= statsAtOnce || name.endsWith("/")) yield* withSizes(store, files.splice(0), signal);
    if (name.endsWith("/")) yield* listDirectory(store, name, prefix, signal);
  }
  yield* withSizes(store, files, signal);
}

/** Full names, directories with a slash at their end: that sorts them to where their objects belong. */
async function sortedNames(store: FileStore, below: string, prefix: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for (const entry of await readdir(join(store.root, below), { withFileTypes: true })) {
      const name = `${below}${entry.name}${entry.isDirectory() ? "/" : ""}`;
      if (isTemporaryPath(name)) {
        if (store.sweep) await sweepOne(store, join(store.root, name));
      } else if (
        (entry.isFile() && name.startsWith(prefix)) ||
        (entry.isDirectory() && (name.startsWith(prefix) || prefix.startsWith(name)))
      ) {
        names.push(name);
      }
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw fromFileSystem(error, `listing ${join(store.root, below)}`);
  }
  return names.sort(compareNames);
}

async function* withSizes(
  store: FileStore,
  names: readonly string[],
  signal?: AbortSignal,
): AsyncGenerator<ObjectInfo> {
  const sizes = await Promise.all(names.map((name) => sizeOf(join(store.root, name))));
  for (const [index, name] of names.entries()) {
    signal?.throwIfAborted();
    const size = sizes[index];
    if (size !== undefined) yield { name, size };
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    const stat = await lstat(path);
    return stat.isFile() ? stat.size : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw fromFileSystem(error, `listing ${path}`);
  }
}

async function remove(
  store: FileStore,
  names: Iterable<string>,
  call: CallOptions,
): Promise<readonly Retained[]> {
  const touched = new Set<string>();
  for (const name of names) {
    call.signal?.throwIfAborted();
    const path = join(store.root, checkObjectName(name));
    if (!(await checkDirectories(store, dirname(path)))) continue;
    try {
      await rm(path);
      touched.add(dirname(path));
    } catch (error) {
      const errno = (error as NodeJS.ErrnoException).code;
      if (errno !== "ENOENT" && errno !== "ENOTDIR") throw fromFileSystem(error, `removing ${path}`);
    }
  }
  for (const directory of touched) await fsyncDirectory(directory);
  return [];
}

/** Makes an object's directory, durably, and once per directory removes what killed writers left in it. */
async function prepareDirectory(store: FileStore, name: string): Promise<void> {
  const directory = dirname(join(store.root, name));
  if (store.known.get(directory) === "written") return;
  if (!(await checkDirectories(store, directory))) {
    await makeDirectoryDurable(directory);
    await checkDirectories(store, directory);
  }
  await sweepDirectory(store, directory);
  remember(store, directory, "written");
}

async function sweepDirectory(store: FileStore, directory: string): Promise<void> {
  for await (const entry of await opendir(directory)) {
    if (entry.isFile() && isTemporaryPath(entry.name)) await sweepOne(store, join(directory, entry.name));
  }
}

async function sweepOne(store: FileStore, path: string): Promise<void> {
  try {
    if (store.now() - (await lstat(path)).mtimeMs > leftoverAgeMs) await rm(path, { force: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw fromFileSystem(error, `sweeping ${path}`);
  }
}

/**
 * Tells whether a directory is there; throws `bad-config` if the way to it, below the root, leads through a symbolic link:
 * names are checked as text, and a link would lead out of the root all the same.
 */
async function checkDirectories(store: FileStore, directory: string): Promise<boolean> {
  if (store.known.has(directory)) return true;
  const inside = directory
    .slice(store.root.length)
    .split("/")
    .filter((part) => part !== "");
  let path = store.root;
  for (const part of inside) {
    path = join(path, part);
    try {
      const stat = await lstat(path);
      if (stat.isSymbolicLink())
        throw new PageferryError(
          "bad-config",
          `${path} is a symbolic link, which may lead out of ${store.root}`,
          { hint: "Put a directory in its place, or name what it leads to as the replica's own path." },
        );
      if (!stat.isDirectory()) return false;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
      throw fromFileSystem(error, `looking for ${path}`);
    }
  }
  if (inside.length === 0 && !(await isDirectory(directory))) return false;
  remember(store, directory, "checked");
  return true;
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await lstat(join(path, "."))).isDirectory();
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code;
    if (errno === "ENOENT" || errno === "ENOTDIR") return false;
    throw fromFileSystem(error, `looking for ${path}`);
  }
}

function remember(store: FileStore, directory: string, state: "checked" | "written"): void {
  if (store.known.size >= knownDirectoriesMax) store.known.clear();
  store.known.set(directory, state);
}
