// FROM of `restore` and `points`: a replica's root on disk, or a database of a host. What each can give is the same.

import { readdir } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type ArchiveReader,
  openArchive,
  PageferryError,
  type Point,
  planFromArchive,
  type RestorePlan,
  type RestoreTarget,
  readPoints,
} from "@pageferry/format";
import { directoryReader } from "@pageferry/format/node";
import { defaultDataDir } from "./data-dir.ts";
import { openHostSource } from "./host-source.ts";
import type { Io } from "./io.ts";

/** Where backups of one database are read from. */
export interface BackupSource {
  /** A stable word for messages. Never holds a secret. */
  readonly name: string;
  /** Every point that can be restored, newest first. */
  points(signal: AbortSignal): Promise<readonly Point[]>;
  /** Plans a restore; `without` names objects that turned out to be unusable. */
  plan(target: RestoreTarget, signal: AbortSignal, without?: ReadonlySet<string>): Promise<RestorePlan>;
  /** Gives the objects of a plan. */
  readonly readers: readonly ArchiveReader[];
}

/** Opens FROM: a path, `file://…`, or `http(s)://HOST/v1/databases/NAME`. Errors: `bad-request`, `not-found`. */
export async function openBackupSource(
  from: string,
  io: Io,
  dataDir = defaultDataDir,
): Promise<BackupSource> {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(from)?.[1]?.toLowerCase();
  if (scheme === undefined) return openDirectory(resolve(from));
  if (scheme === "file") return openDirectory(pathOfFileUrl(from));
  if (scheme === "http" || scheme === "https") return openHostSource(from, dataDir, io);
  throw new PageferryError("bad-request", `FROM: ${scheme}:// cannot be read directly`, {
    hint: "Name a replica's directory, or the host that serves it: http://HOST/v1/databases/NAME.",
  });
}

function pathOfFileUrl(from: string): string {
  try {
    return fileURLToPath(from);
  } catch (cause) {
    throw new PageferryError("bad-request", `FROM: ${from} is not an absolute file URL`, {
      cause,
      hint: "Write file:///absolute/path, or a plain path.",
    });
  }
}

async function openDirectory(directory: string): Promise<BackupSource> {
  await checkIsRoot(directory);
  const readers = [directoryReader(directory)];
  return {
    name: directory,
    readers,
    async points(signal) {
      return readPoints(await openArchive(readers, { signal }), { signal });
    },
    async plan(target, signal, without = new Set()) {
      return planFromArchive(await openArchive(readers, { signal }), target, { signal, without });
    },
  };
}

const generationPattern = /^[0-9a-f]{16}$/;

/** A replica's root holds generations. What people name instead is the directory above, or something else entirely. */
async function checkIsRoot(directory: string): Promise<void> {
  const names = await namesIn(directory);
  if (names.some((name) => generationPattern.test(name))) return;
  const inside = await Promise.all(
    names.map(async (name) => {
      const below = await namesIn(resolve(directory, name)).catch(() => []);
      return below.some((candidate) => generationPattern.test(candidate)) ? name : undefined;
    }),
  );
  const databases = inside.filter((name) => name !== undefined);
  if (databases.length > 0) {
    throw new PageferryError("bad-request", `${directory} holds the backups of ${databases.join(", ")}`, {
      hint: `Name one of them: ${resolve(directory, databases[0] ?? "")}`,
    });
  }
  throw new PageferryError("not-found", `${directory} is not a replica: there is no generation in it`, {
    hint: "A replica's root holds directories of 16 hex digits; `up` keeps it in pageferry-data/replica/NAME.",
  });
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT")
      throw new PageferryError("not-found", `${directory}: there is no such directory`, { cause });
    if (code === "ENOTDIR")
      throw new PageferryError("not-found", `${directory} is a file, not a replica's directory`, { cause });
    throw new PageferryError("unreadable", `${directory} cannot be listed (${code})`, { cause });
  }
}
