// Looks for bolt files below a directory. What is no bolt file is passed over; symbolic links are followed only to what lies within.

import { constants, type Dirent } from "node:fs";
import { open, readdir, realpath, stat } from "node:fs/promises";
import { join, matchesGlob, relative, resolve, sep } from "node:path";
import { type DirectoryConfig, detectPageSize, metaBytes, PageferryError } from "@pageferry/format";
import { isTemporaryPath, openFilesHint } from "@pageferry/format/node";
import { foundName } from "./found-name.ts";

/** A bolt file that was found. */
export interface FoundFile {
  readonly name: string;
  readonly path: string;
  /** Of the file itself, whatever it is called: device and inode. */
  readonly id: string;
}

/** What a look at a directory found. */
export interface Findings {
  /** By path. */
  readonly files: readonly FoundFile[];
  /** Match the pattern, and are no bolt files, or not yet. */
  readonly others: readonly string[];
  /** All that were looked into. */
  readonly directories: readonly string[];
  /** Why not everything was seen; what is not in `files` may be there all the same. */
  readonly problem: PageferryError | undefined;
}

/** What bounds a look. */
export interface LookBounds {
  readonly filesMax: number;
  readonly depthMax: number;
  readonly entriesMax: number;
  readonly timeMs: number;
}

/** What a look is done with. */
export interface LookOptions {
  /** Known to be bolt files: these are not read again. */
  readonly known?: ReadonlyMap<string, string>;
  /** Our own directories, which may lie within: an archive holds no databases to back up. */
  readonly excluded?: readonly string[];
  readonly signal?: AbortSignal;
  readonly bounds?: Partial<LookBounds>;
  readonly onSkipped?: (path: string, why: string) => void;
}

/** Ten thousand databases are what one agent was tried with; a million names and a minute are what a look may cost. */
const boundsDefault: LookBounds = { filesMax: 10_000, depthMax: 16, entriesMax: 1_000_000, timeMs: 60_000 };

/** No more than this process has open files for. */
async function boundsHere(): Promise<LookBounds> {
  // Other commands look for nothing, and do without an agent.
  const { databasesMax } = await import("@pageferry/agent");
  return { ...boundsDefault, filesMax: Math.min(boundsDefault.filesMax, databasesMax()) };
}

const narrowHint = "Narrow the pattern, or divide the directory among several agents.";

/** Files looked at together: a network file system answers slowly, and has other work. */
const atATime = 8;

interface Look {
  readonly entry: DirectoryConfig;
  /** Without symbolic links. */
  readonly root: string;
  readonly excluded: ReadonlySet<string>;
  readonly options: LookOptions;
  readonly bounds: LookBounds;
  readonly endMs: number;
  readonly candidates: Candidate[];
  readonly directories: string[];
  entries: number;
  problem: PageferryError | undefined;
}

interface Candidate {
  readonly path: string;
  readonly isLink: boolean;
}

/** Looks once. Nothing is thrown for what is wrong with the directory: that is `problem`. Throws what `signal` was aborted with. */
export async function findDatabases(entry: DirectoryConfig, options: LookOptions = {}): Promise<Findings> {
  const bounds = { ...(await boundsHere()), ...options.bounds };
  const top = resolve(entry.dir);
  const root = await realpath(top).catch(() => top);
  const excluded = new Set(
    await Promise.all((options.excluded ?? []).map((path) => realpath(path).catch(() => path))),
  );
  const look: Look = {
    ...{ entry, root, excluded, options, bounds, candidates: [], directories: [] },
    endMs: performance.now() + bounds.timeMs,
    entries: 0,
    problem: undefined,
  };
  await walk(look, top, 0);
  const found: (FoundFile | undefined)[] = [];
  const candidates = look.candidates.sort(byPlainFirst);
  for (let at = 0; at < candidates.length && mayGoOn(look); at += atATime) {
    found.push(...(await Promise.all(candidates.slice(at, at + atATime).map((one) => examine(look, one)))));
  }
  const files = onePerFile(found.filter((one) => one !== undefined));
  if (files.length > bounds.filesMax) {
    const words = `${entry.dir}: more than ${bounds.filesMax} databases match ${entry.pattern}; the others are not backed up`;
    look.problem = new PageferryError("bad-config", words, {
      hint: bounds.filesMax < boundsDefault.filesMax ? openFilesHint : narrowHint,
    });
  }
  const chosen = keepKnown(files, bounds.filesMax, options.known);
  const paths = new Set(files.map(({ path }) => path));
  return {
    files: chosen,
    others: candidates.map(({ path }) => path).filter((path) => !paths.has(path)),
    directories: look.directories,
    problem: look.problem,
  };
}

async function walk(look: Look, directory: string, depth: number): Promise<void> {
  if (!mayGoOn(look)) return;
  let entries: Dirent[];
  try {
    entries = await readdir(directory, { withFileTypes: true });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    // One that went while it was looked for, and is not the one that was asked for.
    if (code === "ENOENT" && depth > 0) return void tellUnnamed(look, directory, cause);
    look.problem ??= unreadable(directory, cause);
    return;
  }
  look.directories.push(directory);
  look.entries += entries.length;
  for (const entry of entries) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await descend(look, path, depth);
    else if (isWanted(look, entry)) look.candidates.push({ path, isLink: entry.isSymbolicLink() });
  }
}

async function descend(look: Look, path: string, depth: number): Promise<void> {
  const isHidden = path.slice(path.lastIndexOf(sep) + 1).startsWith(".");
  if (!look.entry.recursive || isHidden || (await isExcluded(look, path))) return;
  if (depth + 1 >= look.bounds.depthMax) {
    look.problem ??= new PageferryError(
      "bad-config",
      `${path}: deeper than ${look.bounds.depthMax} directories; it is not looked into`,
      {
        hint: "Give it an entry of its own under `databases`.",
      },
    );
    return;
  }
  await walk(look, path, depth + 1);
}

async function isExcluded({ excluded }: Look, path: string): Promise<boolean> {
  return excluded.size > 0 && excluded.has(await realpath(path).catch(() => path));
}

/** Broken files that a restore put aside, lock files and what is half written match `*` and are nobody's database. */
const asidePattern = /\.invalid-\d{8}T\d{6}Z?(?:-\d+)?$|\.lock$/;

function isWanted({ entry: { pattern } }: Look, entry: Dirent): boolean {
  const { name } = entry;
  return (
    (entry.isFile() || entry.isSymbolicLink()) &&
    matchesGlob(name, pattern) &&
    !asidePattern.test(name) &&
    !isTemporaryPath(name)
  );
}

function mayGoOn(look: Look): boolean {
  look.options.signal?.throwIfAborted();
  const isLate = performance.now() > look.endMs;
  if (isLate || look.entries > look.bounds.entriesMax) {
    const why = isLate ? `after ${look.bounds.timeMs / 1000} s` : `with ${look.entries} names`;
    look.problem ??= new PageferryError("bad-config", `${look.entry.dir}: it was not seen whole ${why}`, {
      hint: "Name the directories with databases in them one by one, or the files.",
    });
    return false;
  }
  return true;
}

async function examine(look: Look, { path, isLink }: Candidate): Promise<FoundFile | undefined> {
  const { known, onSkipped } = look.options;
  try {
    if (isLink && !(await isWithin(look, path))) {
      onSkipped?.(path, "a link to elsewhere");
      return;
    }
    const { dev, ino, size } = await stat(path, { bigint: true });
    const id = `${dev}:${ino}`;
    if (known?.get(path) !== id && (size === 0n || !(await isBolt(path)))) {
      onSkipped?.(path, "no bolt file");
      return;
    }
    const { pattern, name: prefix } = look.entry;
    const below = relative(resolve(look.entry.dir), path).split(sep).join("/");
    return { path, id, name: foundName(below, { pattern, prefix }) };
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ELOOP") return void tellUnnamed(look, path, cause);
    look.problem ??= unreadable(path, cause);
    return;
  }
}

async function isWithin({ root }: Look, path: string): Promise<boolean> {
  const target = await realpath(path);
  return target.startsWith(`${root}${sep}`) && (await stat(target)).isFile();
}

/** Meta 1 lies at the page's size, 64 KiB at most. */
const headBytes = 64 * 1024 + metaBytes;

/** Whether either meta page is valid, for the other may be being written. Only where the first does not tell is more read. */
async function isBolt(path: string): Promise<boolean> {
  // What was a file a moment ago may be a pipe, which must not hold the look up.
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  for (const length of [metaBytes, headBytes]) {
    const head = new Uint8Array(length);
    const { bytesRead } = await file.read(head, 0, length, 0);
    const readAt = (offset: number, count: number) =>
      head.subarray(offset, Math.min(bytesRead, offset + count));
    if (detectPageSize(readAt) !== undefined) return true;
    if (bytesRead < metaBytes) return false;
  }
  return false;
}

function unreadable(path: string, cause: unknown): PageferryError {
  const { code } = cause as NodeJS.ErrnoException;
  const message = `${path}: it cannot be looked at (${code ?? "unknown"})`;
  if (code !== "ENOENT") return new PageferryError("unreadable", message, { cause });
  return new PageferryError("not-found", `${path}: there is no such directory`, {
    cause,
    hint: "Make it, mount it, or correct `dir`. What was found there before is kept.",
  });
}

/** What was found by a name that is not UTF-8 is not found by what that was read as. */
function tellUnnamed(look: Look, path: string, cause: unknown): void {
  if (!path.includes("\uFFFD")) return;
  look.problem ??= new PageferryError("unreadable", `${path}: its name is not UTF-8; it is not backed up`, {
    cause,
    hint: "Give it another name.",
  });
}

/** A file's own name before one that leads to it. */
function byPlainFirst(a: Candidate, b: Candidate): number {
  if (a.isLink !== b.isLink) return a.isLink ? 1 : -1;
  return a.path < b.path ? -1 : 1;
}

/** A file of two names is one database, under the first of them. */
function onePerFile(files: readonly FoundFile[]): readonly FoundFile[] {
  const seen = new Set<string>();
  return files.filter(({ id }) => !seen.has(id) && seen.add(id));
}

/** Beyond the bound those stay that were there before. */
function keepKnown(
  files: readonly FoundFile[],
  filesMax: number,
  known: ReadonlyMap<string, string> = new Map(),
): readonly FoundFile[] {
  const isKnown = ({ path }: FoundFile) => known.has(path);
  const chosen =
    files.length <= filesMax ? files : [...files.filter(isKnown), ...files.filter((one) => !isKnown(one))];
  return chosen.slice(0, filesMax).toSorted((a, b) => (a.path < b.path ? -1 : 1));
}
