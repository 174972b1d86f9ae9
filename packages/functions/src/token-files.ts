// The records of tokens, one file each below `<dataDir>/tokens`, written once: making and revoking are one step of the file system, two
// people never overwrite each other, and a file that is broken breaks one token.

import { readdir, readFile, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { counted, PageferryError } from "@pageferry/format";
import {
  fromFileSystem,
  fsyncDirectory,
  makeDirectoryDurable,
  writeFileDurable,
} from "@pageferry/format/node";
import { makeToken, type NewToken, parseTokenRecord, type TokenRecord } from "./tokens.ts";

/** Each is looked at once a second while there are calls. */
const tokensMax = 1000;

/** A thousand names of databases are 70 KB. */
const recordBytesMax = 128 * 1024;

/** How long a token that was revoked may go unnoticed. */
const lookAgainMs = 1000;

const filePattern = /^([0-9a-f]{12})\.json$/;

function tokensDirectory(dataDir: string): string {
  return join(dataDir, "tokens");
}

/** Makes a token for the host over `dataDir`, whether it runs or not. Errors: `not-found` (no such directory), `bad-request`, `bad-name`. */
export async function createToken(
  dataDir: string,
  wanted: NewToken,
  nowMs: number,
): Promise<{ readonly token: string; readonly record: TokenRecord }> {
  await requireDirectory(dataDir);
  const directory = tokensDirectory(dataDir);
  const { length } = await idsIn(directory);
  if (length >= tokensMax) {
    throw new PageferryError(
      "too-large",
      `${length} tokens are in ${directory}, at most ${tokensMax} are read`,
      {
        hint: "Revoke those that nobody uses: `pageferry token list`.",
      },
    );
  }
  const made = makeToken(wanted, nowMs);
  await makeDirectoryDurable(directory);
  await writeFileDurable(pathOf(directory, made.record.id), Buffer.from(`${JSON.stringify(made.record)}\n`));
  return made;
}

/** The tokens of `dataDir`, oldest first, and what could not be read. */
export async function listTokens(
  dataDir: string,
): Promise<{ readonly records: readonly TokenRecord[]; readonly troubles: readonly string[] }> {
  await requireDirectory(dataDir);
  const book = createTokenBook({ dataDir, clock: () => 0, onTroubles: () => undefined });
  const { records, troubles } = await book.look();
  return { records: records.toSorted((a, b) => a.createdAtMs - b.createdAtMs), troubles };
}

/** Revokes a token: a host that runs notices within a second. Errors: `bad-request`, `not-found`. */
export async function revokeToken(dataDir: string, given: string): Promise<string> {
  // Somebody may give the whole token.
  const id = /^(?:pf_)?([0-9a-f]{12})(?:_.*)?$/.exec(given)?.[1];
  if (id === undefined) {
    throw new PageferryError("bad-request", "ID is not the id of a token: 12 hex digits", {
      hint: "`pageferry token list` shows the ids.",
    });
  }
  const directory = tokensDirectory(dataDir);
  try {
    await unlink(pathOf(directory, id));
    await fsyncDirectory(directory);
    return id;
  } catch (error) {
    if (!isAbsent(error)) throw fromFileSystem(error, `removing ${pathOf(directory, id)}`);
    throw new PageferryError("not-found", `no token ${id} is in ${directory}`, {
      cause: error,
      hint: "`pageferry token list` shows those that are.",
    });
  }
}

/** The tokens as a host sees them. */
export interface TokenBook {
  /** A token's record as it was at most a second ago, or less. */
  find(id: string, ageMsMax?: number): Promise<TokenRecord | undefined>;
  /** Looks at the files now. */
  look(): Promise<{ readonly records: readonly TokenRecord[]; readonly troubles: readonly string[] }>;
}

export interface TokenBookOptions {
  readonly dataDir: string;
  /** Monotonic, ms. */
  readonly clock: () => number;
  /** Told what cannot be read whenever that changes. */
  readonly onTroubles: (troubles: readonly string[]) => void;
}

interface Entry {
  /** Tells one state of the file from another. */
  readonly mark: string;
  /** The last one that could be read. */
  readonly record: TokenRecord | undefined;
  readonly trouble?: string;
}

export function createTokenBook({ dataDir, clock, onTroubles }: TokenBookOptions): TokenBook {
  const directory = tokensDirectory(dataDir);
  let entries: ReadonlyMap<string, Entry> = new Map();
  let told = "";
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  let looking: Promise<readonly string[]> | undefined;

  async function readAll(): Promise<readonly string[]> {
    const ids = await idsIn(directory);
    const next = new Map<string, Entry>();
    for (const id of ids.slice(0, tokensMax)) {
      const entry = await readEntry(pathOf(directory, id), id, entries.get(id));
      if (entry !== undefined) next.set(id, entry);
    }
    entries = next;
    const left = ids.length - tokensMax;
    const tooMany =
      left > 0
        ? [`${directory}: ${counted(left, "token")} above ${tokensMax} ${left === 1 ? "is" : "are"} not read`]
        : [];
    return [...tooMany, ...[...next.values()].flatMap(({ trouble }) => trouble ?? [])];
  }

  /** What cannot be listed stays as it was: a disk that fails for a moment must stop no backup. */
  async function read(): Promise<readonly string[]> {
    const troubles = await readAll().catch((error: unknown) => [messageOf(error)]);
    const telling = troubles.join("\n");
    if (telling !== told) onTroubles(troubles);
    told = telling;
    return troubles;
  }

  function refresh(): Promise<readonly string[]> {
    const atMs = clock();
    looking ??= read().finally(() => {
      lookedAtMs = atMs;
      looking = undefined;
    });
    return looking;
  }

  return {
    async find(id, ageMsMax = lookAgainMs) {
      if (clock() - lookedAtMs >= ageMsMax) await refresh();
      return entries.get(id)?.record;
    },
    async look() {
      const troubles = await refresh();
      return { records: [...entries.values()].flatMap(({ record }) => record ?? []), troubles };
    },
  };
}

/** `undefined` for a file that is gone. One that does not hold any more keeps what it said last. */
async function readEntry(path: string, id: string, before: Entry | undefined): Promise<Entry | undefined> {
  let mark = "";
  try {
    const { ino, mtimeNs, size } = await stat(path, { bigint: true });
    mark = `${ino} ${mtimeNs} ${size}`;
    if (before !== undefined && before.mark === mark) return before;
    if (size > recordBytesMax)
      throw new PageferryError("bad-config", `${path}: ${size} bytes are no record of a token`);
    const record = parseTokenRecord(await readFile(path, "utf8"), path);
    if (record.id !== id)
      throw new PageferryError("bad-config", `${path}: it is the record of another token`);
    return { mark, record };
  } catch (error) {
    if (isAbsent(error)) return undefined;
    return { mark, record: before?.record, trouble: messageOf(fromFileSystem(error, `reading ${path}`)) };
  }
}

async function idsIn(directory: string): Promise<readonly string[]> {
  try {
    const names = await readdir(directory);
    return names.flatMap((name) => filePattern.exec(name)?.[1] ?? []).sort();
  } catch (error) {
    if (isAbsent(error)) return [];
    throw fromFileSystem(error, `listing ${directory}`);
  }
}

async function requireDirectory(dataDir: string): Promise<void> {
  try {
    await stat(dataDir);
  } catch (error) {
    if (!isAbsent(error)) throw fromFileSystem(error, `looking at ${dataDir}`);
    throw new PageferryError("not-found", `no host has run on ${dataDir}`, {
      cause: error,
      hint: "Name the host's data directory with --data.",
    });
  }
}

function pathOf(directory: string, id: string): string {
  return join(directory, `${id}.json`);
}

function isAbsent(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
