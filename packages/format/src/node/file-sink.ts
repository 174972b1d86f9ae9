// A restored database on disk: written to a temporary file, published whole under its name, or not at all.

import { constants, type Stats } from "node:fs";
import { copyFile, type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { PageferryError } from "../errors.ts";
import type { RestoreSink } from "../workbench.ts";
import { fromFileSystem, publishDurable, temporaryPath } from "./durable.ts";
import { fileLocks } from "./file-locks.ts";
import { openPageSource } from "./page-source.ts";

/** Where to restore to. */
export interface FileSinkOptions {
  /** Replace a target that is there and not empty. Default false: it is the error `exists`. */
  readonly force?: boolean | undefined;
  /** Where the temporary file lies. Default: the target's directory. On another file system the database is copied once more. */
  readonly tempDir?: string | undefined;
  /** For a file that is read once and removed: a power loss may take it, and nothing is waited for. Default false. */
  readonly isScratch?: boolean | undefined;
  /** A database that the new one begins with: a copy of it, which costs next to nothing where the file system shares blocks. */
  readonly copyOf?: string | undefined;
  /** Processes may read the target meanwhile, and go on with what they opened; only one that writes it is in the way. Default false. */
  readonly hasReaders?: boolean | undefined;
  /** Called with the finished and checked file before it gets the target's name. What it throws ends the restore; the target stays. */
  readonly beforePublish?: ((path: string) => Promise<void>) | undefined;
}

/** Often enough that the last fsync is short, seldom enough that a journal does not mind. */
const flushIntervalMs = 100;

/** A sink with the file that is being written. */
export interface FileSink extends RestoreSink, AsyncDisposable {
  /** The temporary file; threads may write it as well. */
  readonly path: string;
}

/**
 * Makes a sink for `target`. Refuses a target that is there and not empty (`exists`) unless forced, and always one that a process holds
 * locked (`locked`): a file in use is never replaced. Both are asked again before publishing. A forced target keeps its owner and mode.
 */
export async function fileSink(target: string, options: FileSinkOptions = {}): Promise<FileSink> {
  await checkTarget(target, options);
  const path = temporaryPath(options.tempDir ?? dirname(target));
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "wx+", 0o600);
  } catch (error) {
    throw fromFileSystem(error, `restoring to ${path}`);
  }
  const opened = handle;
  let isOpen = true;
  let flushing = false;
  let flushedAt = 0;
  const discard = async (): Promise<void> => {
    if (!isOpen) return;
    isOpen = false;
    await opened.close();
    await rm(path, { force: true });
  };
  return {
    name: target,
    path,
    async begin(size) {
      try {
        await opened.truncate(0);
        if (options.copyOf !== undefined) await copyFile(options.copyOf, path, constants.COPYFILE_FICLONE);
        await opened.truncate(size);
      } catch (error) {
        throw fromFileSystem(error, `restoring to ${path}`);
      }
    },
    write: (offset, pieces) => writePieces(opened, path, offset, pieces),
    flush() {
      const now = performance.now();
      if (options.isScratch === true || flushing || !isOpen || now - flushedAt < flushIntervalMs) return;
      flushing = true;
      flushedAt = now;
      // Its failure shows again in the fsync before publishing.
      opened
        .datasync()
        .catch(() => undefined)
        .finally(() => {
          flushing = false;
        });
    },
    openSource: () => openPageSource(path),
    async publish() {
      await options.beforePublish?.(path);
      const before = await checkTarget(target, options);
      if (before !== undefined) await keepOwner(opened, before);
      if (options.isScratch === true) await renameTo(path, target);
      else await publishFile(path, target, before !== undefined);
      isOpen = false;
      await opened.close();
    },
    discard,
    [Symbol.asyncDispose]: discard,
  };
}

async function renameTo(path: string, target: string): Promise<void> {
  try {
    await rename(path, target);
  } catch (error) {
    throw fromFileSystem(error, `restoring to ${target}`);
  }
}

/** Returns what is there now, if anything. */
async function checkTarget(
  target: string,
  { force = false, hasReaders = false }: FileSinkOptions,
): Promise<Stats | undefined> {
  let found: Stats;
  try {
    found = await stat(target);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw fromFileSystem(error, `restoring to ${target}`);
  }
  if (!found.isFile()) {
    throw new PageferryError("exists", `restoring to ${target}: it is there and not a file`, {
      hint: "Name the file to write, not its directory.",
    });
  }
  const lock = (await fileLocks(target)).find(({ isExclusive }) => isExclusive || !hasReaders);
  if (lock !== undefined) {
    const holder = lock.pid === 0 ? "a process" : `process ${lock.pid}`;
    throw new PageferryError("locked", `restoring to ${target}: ${holder} holds it locked`);
  }
  if (found.size > 0 && !force) {
    throw new PageferryError("exists", `restoring to ${target}: it is there, ${found.size} bytes`);
  }
  return found;
}

async function writePieces(
  handle: FileHandle,
  path: string,
  offset: number,
  pieces: readonly Uint8Array[],
): Promise<void> {
  try {
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const { bytesWritten } = await handle.writev(pieces as Uint8Array[], offset);
    if (bytesWritten === length) return;
    // A short write: say what is wrong by writing the rest.
    const rest = Buffer.concat(pieces as Uint8Array[]).subarray(bytesWritten);
    for (let done = 0; done < rest.length; ) {
      done += (await handle.write(rest, done, rest.length - done, offset + bytesWritten + done)).bytesWritten;
    }
  } catch (error) {
    throw fromFileSystem(error, `restoring to ${path}`);
  }
}

/** The application must be able to open what replaces its file. */
async function keepOwner(handle: FileHandle, before: Stats): Promise<void> {
  await handle.chmod(before.mode & 0o7777);
  const now = await handle.stat();
  if (now.uid === before.uid && now.gid === before.gid) return;
  try {
    await handle.chown(before.uid, before.gid);
  } catch (error) {
    throw fromFileSystem(
      error,
      `giving the restored file to user ${before.uid}, group ${before.gid}, as its forerunner`,
    );
  }
}

async function publishFile(path: string, target: string, overwrite: boolean): Promise<void> {
  try {
    await publishDurable(path, target, { overwrite });
  } catch (error) {
    const cause = error instanceof PageferryError ? error.cause : error;
    if ((cause as NodeJS.ErrnoException | undefined)?.code !== "EXDEV") throw error;
    const beside = temporaryPath(dirname(target));
    try {
      await copyFile(path, beside, constants.COPYFILE_EXCL);
      await publishDurable(beside, target, { overwrite });
      await rm(path, { force: true });
    } catch (copying) {
      await rm(beside, { force: true });
      throw fromFileSystem(copying, `copying ${path} beside ${target}`);
    }
  }
}
