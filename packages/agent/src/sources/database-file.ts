// The database file on disk: opened read-only, read with plain preads, never locked. Images and clones beside it.
import { createHash } from "node:crypto";
import {
  closeSync,
  constants,
  copyFileSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { PageferryError } from "@pageferry/format";
import { fileIdentity, type MachineIdentity } from "../identity.ts";
import type { ImageFile } from "./base-image.ts";
import type { FileClone, OpenFile } from "./tailer-state.ts";

/** Opens the file for reading. Throws `not-found`, `unreadable` with what to do about it, or `not-bolt` for what is not a file. */
export function openDatabaseFile(path: string, machine: MachineIdentity): OpenFile {
  const fd = open(path);
  try {
    if (!fstatSync(fd).isFile()) throw new PageferryError("not-bolt", `${path}: not a file`);
    return openFileOf(fd, machine);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function open(path: string): number {
  try {
    // Without O_NONBLOCK a named pipe would stop every database of this process.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") {
      const hint = "It is followed as soon as it is there; see whether the path is right.";
      throw new PageferryError("not-found", `${path}: there is no such file`, { cause, hint });
    }
    const hint =
      code === "EACCES" || code === "EPERM"
        ? "bolt files are usually mode 0600: run as the application's user, or with CAP_DAC_READ_SEARCH."
        : "It is tried again; see the system's log.";
    throw new PageferryError("unreadable", `${path}: cannot be opened (${code})`, { cause, hint });
  }
}

function openFileOf(fd: number, machine: MachineIdentity): OpenFile {
  let isOpen = true;
  return {
    identity: fileIdentity(fstatSync(fd, { bigint: true }), machine),
    openPath: `/proc/self/fd/${fd}`,
    readAt(position, into) {
      let got = 0;
      while (got < into.length) {
        const bytes = readSync(fd, into, got, into.length - got, position + got);
        if (bytes === 0) break;
        got += bytes;
      }
      return got;
    },
    stats() {
      const { size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
      return { size: Number(size), mtimeNs, ctimeNs };
    },
    close() {
      if (isOpen) closeSync(fd);
      isOpen = false;
    },
  };
}

/** Whether the path still names the open file. */
export function pathStateOf(path: string, file: OpenFile): "same" | "missing" | "replaced" {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (stats === undefined) return "missing";
  const { device, inode } = file.identity;
  return stats.dev.toString() === device && stats.ino.toString() === inode ? "same" : "replaced";
}

/** The path without symbolic links, as the kernel shows it; the path itself where it does not exist. */
export function kernelPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** Where the images of one database lie. Several databases may share a directory. */
export interface Scratch {
  readonly directory: string;
  readonly prefix: string;
  count: number;
}

/** Makes the directory for images and removes what an earlier process left there of this database. */
export function openScratch(directory: string, databasePath: string): Scratch {
  const digest = createHash("sha256").update(databasePath).digest("hex").slice(0, 16);
  const scratch = { directory, prefix: `image-${digest}-`, count: 0 };
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(directory)) {
    if (name.startsWith(scratch.prefix)) rmSync(join(directory, name), { force: true });
  }
  return scratch;
}

function nextImagePath(scratch: Scratch): string {
  scratch.count += 1;
  return join(scratch.directory, `${scratch.prefix}${scratch.count}.db`);
}

/** Makes an empty image file. */
export function createImageFile(scratch: Scratch): ImageFile {
  mkdirSync(scratch.directory, { recursive: true, mode: 0o700 });
  const path = nextImagePath(scratch);
  return imageFileOf(path, openSync(path, "w+", 0o600));
}

function imageFileOf(path: string, fd: number): ImageFile {
  let isOpen = true;
  const close = (): void => {
    if (isOpen) closeSync(fd);
    isOpen = false;
  };
  return {
    path,
    writeAt(position, bytes) {
      let done = 0;
      while (done < bytes.length) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
    },
    finish(length) {
      ftruncateSync(fd, length);
      close();
    },
    discard() {
      if (!isOpen) return;
      close();
      rmSync(path, { force: true });
    },
  };
}

/** Clones the file as it is now; undefined where the file system cannot share blocks between two files. */
export function cloneDatabaseFile(
  path: string,
  scratch: Scratch,
  machine: MachineIdentity,
): FileClone | undefined {
  const clone = nextImagePath(scratch);
  try {
    mkdirSync(scratch.directory, { recursive: true, mode: 0o700 });
    copyFileSync(path, clone, constants.COPYFILE_FICLONE_FORCE);
    return { file: openDatabaseFile(clone, machine), image: imageFileOf(clone, openSync(clone, "r+")) };
  } catch {
    rmSync(clone, { force: true });
    return undefined;
  }
}
