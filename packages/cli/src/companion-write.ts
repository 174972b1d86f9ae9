// Writes restored companion files: each whole or not at all, never through a link, never over what is there unless that was asked for. One that
// cannot be written hinders no other.

import { lstat, readdir } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { isPageferryError, PageferryError } from "@pageferry/format";
import { fromFileSystem, makeDirectoryDurable, writeFileDurable } from "@pageferry/format/node";
import type { PlacedCompanion } from "./companion-places.ts";

/** How to write. */
export interface WriteCompanionsOptions {
  /** Replace files that are there. */
  readonly overwrite: boolean;
  /** Below it no part of a path may be a link; undefined: the paths are this machine's own. */
  readonly root?: string | undefined;
}

/** A file that cannot be written, and why. */
export interface FailedCompanion {
  readonly path: string;
  readonly error: PageferryError;
}

/** What was written, what was left as it is because it was there, and what could not be written. */
export interface WrittenCompanions {
  readonly written: readonly string[];
  readonly left: readonly string[];
  readonly failed: readonly FailedCompanion[];
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

/**
 * Writes files; permissions as they were, less what the umask takes. Those that fail are told: `exists` for a link on the way below the root, and
 * for one, or a directory, that was to be replaced; what the disk says.
 */
export function writeCompanions(
  placed: readonly PlacedCompanion[],
  options: WriteCompanionsOptions,
): Promise<WrittenCompanions> {
  return sortOut(placed, async (one) => (await mayWrite(one, options)) && (await writeOne(one, options)));
}

/** What writing them would come to, as far as that can be seen before; nothing is written. */
export function foreseeCompanions(
  placed: readonly PlacedCompanion[],
  options: WriteCompanionsOptions,
): Promise<WrittenCompanions> {
  return sortOut(placed, (one) => mayWrite(one, options));
}

async function sortOut(
  placed: readonly PlacedCompanion[],
  isWritten: (one: PlacedCompanion) => Promise<boolean>,
): Promise<WrittenCompanions> {
  const written: string[] = [];
  const left: string[] = [];
  const failed: FailedCompanion[] = [];
  for (const one of placed) {
    const { path } = one;
    try {
      ((await isWritten(one)) ? written : left).push(path);
    } catch (error) {
      if (!isPageferryError(error)) throw error;
      failed.push({ path, error });
    }
  }
  return { written, left, failed };
}

/** False: there is something, which stays as it is. */
async function mayWrite(
  { path }: PlacedCompanion,
  { overwrite, root }: WriteCompanionsOptions,
): Promise<boolean> {
  if (root !== undefined) await checkWay(resolve(root), dirname(path));
  const there = await kindAt(path);
  if (there === undefined) return true;
  if (!overwrite) return false;
  if (there !== "file") throw inTheWay(path);
  return true;
}

async function writeOne(
  { path, file: { bytes, mode } }: PlacedCompanion,
  { overwrite }: WriteCompanionsOptions,
): Promise<boolean> {
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
