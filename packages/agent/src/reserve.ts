// Room that was taken while there was some, for the small files that a full disk is freed with: the file that is to be written is written into
// it in place, so that nobody else can take the room in between. Its content means nothing before it has the other name.
import { randomBytes } from "node:crypto";
import { type FileHandle, link, open, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { isPageferryError } from "@pageferry/format";
import {
  fromFileSystem,
  fsyncDirectory,
  publishDurable,
  writeAll,
  writeFileDurable,
} from "@pageferry/format/node";

/** Writes a file durably, whole under its name or what was there before; where the disk is full, in the room of `reserve`. */
export async function writeWithReserve(path: string, bytes: Uint8Array, reserve: string): Promise<void> {
  try {
    await writeFileDurable(path, bytes, { overwrite: true });
  } catch (error) {
    if (!isPageferryError(error, "disk-full")) throw error;
    if (await fillReserve(reserve, bytes)) return publishReserve(reserve, path);
    // A file system that writes in place nowhere, such as btrfs, or a file that has grown.
    await rm(reserve, { force: true });
    await writeFileDurable(path, bytes, { overwrite: true });
  }
}

async function fillReserve(reserve: string, bytes: Uint8Array): Promise<boolean> {
  let handle: FileHandle;
  try {
    handle = await open(reserve, "r+");
  } catch {
    return false;
  }
  try {
    await writeAll(handle, bytes, 0);
    await handle.truncate(bytes.length);
    await handle.sync();
    return true;
  } catch {
    return false;
  } finally {
    await handle.close();
  }
}

/** What a crash leaves while a reserve takes a file's place: room that nobody would find again. */
export function isReserveRubbish(name: string): boolean {
  return name.endsWith(nextSuffix);
}

const nextSuffix = ".next";

/** The file that is replaced, if there is one, is the next reserve: its room is given to nobody in between. */
async function publishReserve(reserve: string, path: string): Promise<void> {
  const next = `${reserve}${nextSuffix}`;
  await rm(next, { force: true });
  const isKept = await link(path, next).then(
    () => true,
    () => false,
  );
  await publishDurable(reserve, path, { overwrite: true });
  if (isKept) await rename(next, reserve).catch(() => {});
}

/** Makes a file that is not needed any more the reserve, unless there is one. */
export async function becomeReserve(path: string, reserve: string): Promise<void> {
  try {
    if (await isThere(reserve)) await rm(path, { force: true });
    else await rename(path, reserve);
    await fsyncDirectory(dirname(reserve));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw fromFileSystem(error, `removing ${path}`);
  }
}

/** Written at a time: a table has gigabytes where its database has terabytes. */
const pieceBytes = 2 ** 20;

/**
 * Brings a reserve to `bytes`, or as far as there is room: a part of it is worth having. It has at most half of the room that it finds, so that it is
 * not itself what fills a disk.
 */
export async function keepReserve(reserve: string, bytes: number): Promise<void> {
  const size = await stat(reserve).then(
    (stats) => stats.size,
    () => 0,
  );
  if (size >= bytes) return;
  const free = await statfs(dirname(reserve)).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  );
  const wanted = Math.min(bytes, Math.floor((size + free) / 2));
  if (size >= wanted) return;
  const handle = await open(reserve, "a", 0o600).catch(() => undefined);
  try {
    for (let left = wanted - size; handle !== undefined && left > 0; left -= pieceBytes) {
      // Not of zeros, which some file systems keep no room for.
      await writeAll(handle, randomBytes(Math.min(left, pieceBytes)));
    }
  } catch {
    // The disk is full, or there is none. What is there stays.
  } finally {
    await handle?.close();
  }
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
