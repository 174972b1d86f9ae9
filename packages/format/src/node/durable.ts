// Files that are whole or absent, also after a power loss: write beside, fsync, publish by link or rename, fsync the directory.
// Shared by the shadow, the stage, the file replica and the restore sink.

import { randomBytes } from "node:crypto";
import { type FileHandle, link, lstat, mkdir, open, rename, rm, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type ErrorCode, PageferryError } from "../errors.ts";

/** Temporary files begin with this, so that a listing can leave them out and a start can sweep them. */
const temporaryPrefix = ".pageferry-";

/** A new name for a temporary file in `directory`: short, hidden, and unlike any object name. */
export function temporaryPath(directory: string): string {
  return join(directory, `${temporaryPrefix}${process.pid}-${randomBytes(6).toString("hex")}.tmp`);
}

/** Tells whether a path is one that `temporaryPath` makes: unpublished, and rubbish once its writer is gone. */
export function isTemporaryPath(path: string): boolean {
  const name = basename(path);
  return name.startsWith(temporaryPrefix) && name.endsWith(".tmp");
}

const codeOfErrno: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "not-found",
  ENOTDIR: "not-found",
  EEXIST: "exists",
  ENOTEMPTY: "exists",
  EISDIR: "exists",
  EACCES: "unauthorized",
  EPERM: "unauthorized",
  EROFS: "unauthorized",
  ENOSPC: "disk-full",
  EDQUOT: "disk-full",
  ENAMETOOLONG: "bad-name",
};

const ownerAndMode = "Look at the owner and mode of the named path.";
const isItThere = "Look whether the named path is there, or the directory that it is to lie in.";

/** What to do where a process has too few open files. */
export const openFilesHint =
  "Raise the limit of open files (LimitNOFILE= of a unit, --ulimit nofile of a container, ulimit -n), or divide the databases among several agents.";

/** Where a code's own hint, which speaks of tokens or of points, would lead astray. */
const hintOfErrno: Readonly<Record<string, string>> = {
  ENOENT: isItThere,
  ENOTDIR: isItThere,
  EACCES: ownerAndMode,
  EPERM: ownerAndMode,
  EMFILE: openFilesHint,
  EROFS:
    "Writing is forbidden there, whoever asks: in a systemd unit name the directory in ReadWritePaths=, in a container mount it without :ro.",
};

/**
 * Turns what the file system threw into a coded error; `doing` is the first half of the sentence, with the path. Our own errors and
 * whatever a signal was aborted with pass unchanged.
 */
export function fromFileSystem(error: unknown, doing: string): unknown {
  const errno = (error as NodeJS.ErrnoException | undefined)?.code;
  if (error instanceof PageferryError || typeof errno !== "string" || errno === "ABORT_ERR") return error;
  const hint = hintOfErrno[errno];
  return new PageferryError(codeOfErrno[errno] ?? "unavailable", `${doing}: ${errno}`, {
    cause: error,
    ...(hint !== undefined && { hint }),
  });
}

/** Makes the names in a directory durable: what was linked, renamed or removed there stays so after a power loss. */
export async function fsyncDirectory(directory: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(directory, "r");
    await handle.sync();
  } catch (error) {
    // Some network file systems cannot fsync a directory and say so; there the server's own order must do.
    const errno = (error as NodeJS.ErrnoException).code;
    if (errno !== "EINVAL" && errno !== "ENOTSUP" && errno !== "EOPNOTSUPP")
      throw fromFileSystem(error, `fsync of ${directory}`);
  } finally {
    await handle?.close();
  }
}

/** Makes a directory and its missing parents, each durable in its parent; one that exists costs two calls. */
export async function makeDirectoryDurable(directory: string, mode = 0o700): Promise<void> {
  try {
    const first = await makeDirectories(directory, mode);
    if (first === undefined) return;
    const top = dirname(first);
    for (let made = directory; made !== top && made !== dirname(made); made = dirname(made))
      await fsyncDirectory(dirname(made));
  } catch (error) {
    throw fromFileSystem(error, `making directory ${directory}`);
  }
}

/**
 * Gives the topmost directory that was made, if any. Node's own `recursive` never ends where a file system says of a name below a directory that is
 * there that there is none, as /proc does.
 */
async function makeDirectories(directory: string, mode: number): Promise<string | undefined> {
  if (await makeOne(directory, mode, "ENOENT")) return directory;
  if (await isDirectory(directory)) return undefined;
  const first = await makeDirectories(dirname(directory), mode);
  return (await makeOne(directory, mode)) ? (first ?? directory) : first;
}

/** False: it is there already, or what `forgiven` says. */
async function makeOne(directory: string, mode: number, forgiven?: string): Promise<boolean> {
  try {
    await mkdir(directory, { mode });
    return true;
  } catch (error) {
    const isForgiven = (error as NodeJS.ErrnoException).code === forgiven && dirname(directory) !== directory;
    if (isForgiven || (await isDirectory(directory))) return false;
    throw error;
  }
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (there) => there.isDirectory(),
    () => false,
  );
}

/** How a file is published under its name. */
export interface PublishOptions {
  /** Replace what is there (atomically, by rename); otherwise an existing name is the error `exists`. Default false. */
  readonly overwrite?: boolean;
}

/**
 * Gives a finished file its name: fsync of the file, link (or rename with `overwrite`), fsync of the directory. Both paths lie on
 * one file system. On success the temporary name is gone; on failure it is its owner's to remove.
 */
export async function publishDurable(
  temporary: string,
  path: string,
  options: PublishOptions = {},
): Promise<void> {
  try {
    const handle = await open(temporary, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    await publishSynced(temporary, path, options);
  } catch (error) {
    throw fromFileSystem(error, `publishing ${path}`);
  }
}

async function publishSynced(temporary: string, path: string, options: PublishOptions): Promise<void> {
  if (options.overwrite === true) await rename(temporary, path);
  else await linkOrRename(temporary, path);
  await fsyncDirectory(dirname(path));
}

async function linkOrRename(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code;
    if (errno !== "EPERM" && errno !== "ENOTSUP" && errno !== "EOPNOTSUPP" && errno !== "ENOSYS") throw error;
    // A file system without hard links: look, then rename. Two writers of one name could race here, and only here.
    if (await isThere(path))
      throw new PageferryError("exists", `publishing ${path}: EEXIST`, { cause: error });
    await rename(temporary, path);
    return;
  }
  await unlink(temporary);
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

/** How `writeFileDurable` writes. */
export interface WriteFileOptions extends PublishOptions {
  /** Permission bits of the new file. Default 0600: a backup is as private as its database. */
  readonly mode?: number;
  readonly signal?: AbortSignal;
}

/**
 * Writes a whole file so that its name never shows a part of it: temporary file in the same directory, fsync, link or rename, fsync
 * of the directory. Throws `exists` (without `overwrite`), `disk-full`, `unauthorized`, `not-found` (no such directory).
 */
export async function writeFileDurable(
  path: string,
  bytes: Uint8Array | AsyncIterable<Uint8Array>,
  options: WriteFileOptions = {},
): Promise<void> {
  const temporary = temporaryPath(dirname(path));
  try {
    const handle = await open(temporary, "wx", options.mode ?? 0o600);
    try {
      if (bytes instanceof Uint8Array) await writeAll(handle, bytes);
      else for await (const chunk of bytes) await writeChunk(handle, chunk, options.signal);
      options.signal?.throwIfAborted();
      await handle.sync();
    } finally {
      await handle.close();
    }
    await publishSynced(temporary, path, options);
  } catch (error) {
    await rm(temporary, { force: true });
    throw fromFileSystem(error, `writing ${path}`);
  }
}

async function writeChunk(
  handle: FileHandle,
  chunk: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  signal?.throwIfAborted();
  await writeAll(handle, chunk);
}

/** Writes all of `bytes` at `position` (or at the end); a write may take only a part, most often just before the disk is full. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array, position?: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const at = position === undefined ? null : position + done;
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, at);
    done += bytesWritten;
  }
}
