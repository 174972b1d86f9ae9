// Writes restored companion files: each whole or not at all, never through a link, never over what is there unless that was asked for.

import { lstat, readdir } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { type Companion, isPageferryError, PageferryError } from "@pageferry/format";
import { fromFileSystem, makeDirectoryDurable, writeFileDurable } from "@pageferry/format/node";
import type { PlacedCompanion } from "./companion-places.ts";

/** How to write. */
export interface WriteCompanionsOptions {
  /** Replace files that are there. */
  readonly overwrite: boolean;
  /** Below it no part of a path may be a link; undefined: the paths are this machine's own. */
  readonly root?: string | undefined;
}

/** What was written, and what was left as it is because it was there: paths. */
export interface WrittenCompanions {
  readonly written: readonly string[];
  readonly left: readonly string[];
}

/** Throws `exists` unless a directory is not there, or empty. */
export async function checkEmptyDirectory(directory: string): Promise<void> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw fromFileSystem(error, `reading ${directory}`);
  });
  if (names.length === 0) return;
  throw new PageferryError("exists", `${directory} is not empty`, {
    hint: "Name another directory for the companion files, or add --force to replace those that are there.",
  });
}

/** Writes files; permissions as they were, less what the umask takes. Errors: `exists` for a link on the way below the root, and for one, or a directory, that was to be replaced; those of the disk. */
export async function writeCompanions(
  placed: readonly PlacedCompanion[],
  { overwrite, root }: WriteCompanionsOptions,
): Promise<WrittenCompanions> {
  const written: string[] = [];
  const left: string[] = [];
  for (const { file, path } of placed) {
    if (root !== undefined) await checkWay(resolve(root), dirname(path));
    const isWritten = await writeOne(path, file, overwrite);
    (isWritten ? written : left).push(path);
  }
  return { written, left };
}

/** Whether it was written; false: there is something, which stays as it is. */
async function writeOne(path: string, { bytes, mode }: Companion, overwrite: boolean): Promise<boolean> {
  const there = await kindAt(path);
  if (there !== undefined && !overwrite) return false;
  if (there === "other") throw inTheWay(path);
  await makeDirectoryDurable(dirname(path));
  try {
    await writeFileDurable(path, bytes, { overwrite, mode: mode & 0o777 });
    return true;
  } catch (error) {
    // It came just now.
    if (!overwrite && isPageferryError(error, "exists")) return false;
    throw error;
  }
}

/** Every part of the way below the root is a directory, or is not there yet. The root itself is where somebody said that it is. */
async function checkWay(root: string, directory: string): Promise<void> {
  let at = root;
  for (const part of relative(root, directory).split(sep)) {
    if (part === "") continue;
    at = join(at, part);
    const there = await kindAt(at);
    if (there === "file" || there === "other") throw inTheWay(at);
  }
}

function inTheWay(path: string): PageferryError {
  return new PageferryError(
    "exists",
    `${path}: something is in the way that is not replaced, such as a link`,
    {
      hint: "Look what it is; remove it, or restore the files elsewhere with --files.",
    },
  );
}

async function kindAt(path: string): Promise<"file" | "directory" | "other" | undefined> {
  try {
    const found = await lstat(path);
    return found.isFile() ? "file" : found.isDirectory() ? "directory" : "other";
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code;
    if (errno === "ENOENT") return undefined;
    throw fromFileSystem(error, `looking at ${path}`);
  }
}
