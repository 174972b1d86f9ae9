// Replicas as a source of backups: directories, or stores behind a URL. Several make one archive, and one that does not answer is left out.

import { readdir, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type Archive,
  type ArchiveReader,
  type Config,
  companionsIn,
  companionVersions,
  databaseNamePattern,
  openArchive,
  PageferryError,
  parseConfig,
  parseDatabaseName,
  parseObjectName,
  planFromArchive,
  pointsIn,
  type ReplicaConfig,
  readTimeline,
  replicaLabel,
  timelineJson,
} from "@pageferry/format";
import { directoryReader } from "@pageferry/format/node";
import type { BackupSource } from "./backup-source.ts";
import { defaultDataDir, replicaDir } from "./data-dir.ts";
import { apiOf } from "./host-origin.ts";
import type { Io } from "./io.ts";

/** Points of which a timeline shows each one. */
const newestMax = 20;

/** Opens replicas of one database. `config` is where credentials and names of databases are looked up. */
export async function openReplicaSource(
  froms: readonly string[],
  io: Io,
  config: Config | undefined,
): Promise<BackupSource> {
  await using opened = new AsyncDisposableStack();
  const readers: ArchiveReader[] = [];
  const failures: unknown[] = [];
  for (const from of froms) {
    try {
      readers.push(...(await openFrom(from, io, config, opened)));
    } catch (error) {
      // With one place alone nothing is left.
      if (froms.length === 1 || !isAbsent(error)) throw error;
      failures.push(error);
      io.err(`warning: ${(error as Error).message}: it is left out\n`);
    }
  }
  if (readers.length === 0) throw failures[0];
  const parts = opened.move();
  const told = new Set<string>();
  const tell = (warnings: readonly string[]): void => {
    for (const warning of warnings) {
      if (!told.has(warning)) io.err(`warning: ${warning}\n`);
      told.add(warning);
    }
  };
  let planned: Archive | undefined;
  const open = async (signal: AbortSignal): Promise<Archive> => {
    const archive = await openArchive(readers, { signal });
    checkHasGenerations(archive);
    return archive;
  };
  return {
    name: readers.map(({ name }) => name).join(" and "),
    readers,
    async points(signal) {
      const { points, warnings } = await pointsIn(await open(signal), { signal });
      tell(warnings);
      return points;
    },
    async timeline(signal) {
      const timeline = timelineJson(await readTimeline(await open(signal), { signal, newestMax }));
      tell(timeline.warnings);
      return timeline;
    },
    async companions({ generation, heir = generation, txId }, { timestampMs }, signal) {
      const wanted = { generation: heir, txId, notAfterMs: timestampMs };
      return companionsIn(planned ?? (await open(signal)), wanted);
    },
    async companionVersions(signal) {
      return companionVersions(await open(signal));
    },
    async plan(target, signal, without = new Set()) {
      planned = await open(signal);
      return planFromArchive(planned, target, { signal, without });
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** What a place says when nothing is there, or nobody answers. */
function isAbsent(error: unknown): boolean {
  return (
    error instanceof PageferryError &&
    (error.code === "not-found" || error.code === "unreadable" || error.remedy === "retry")
  );
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function openFrom(
  from: string,
  io: Io,
  config: Config | undefined,
  opened: AsyncDisposableStack,
): Promise<ArchiveReader[]> {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(from)?.[1]?.toLowerCase();
  if (scheme === undefined) {
    const database = config?.databases.find(({ name }) => name === from);
    // One that is found in a directory need not be there any more to be restored; a path has a slash or is there.
    const mayBeFound = (config?.directories.length ?? 0) > 0 && databaseNamePattern.test(from);
    const isConfigured = database !== undefined || (mayBeFound && !(await isThere(resolve(from))));
    if (config === undefined || !isConfigured) return [await openDirectory(resolve(from))];
    return openConfigured(config, from, io, opened);
  }
  if (scheme === "file") return [await openDirectory(pathOfFileUrl(from))];
  if (scheme === "s3" || scheme === "nats" || scheme === "tls" || scheme === "sftp") {
    const { openStore } = await import("@pageferry/functions/stores/open");
    const store = opened.use(await openStore(entryOf(from, io, config)));
    return [readerOf(store)];
  }
  throw new PageferryError("bad-request", `FROM: ${scheme}:// is no replica`, {
    hint: "Name a replica (a path, file://, s3://, nats://, sftp://), or a host: http://HOST/v1/databases/NAME.",
  });
}

/** A store whose root is the archive's. */
function readerOf(store: {
  readonly name: string;
  list(prefix: string, options?: object): AsyncIterable<{ readonly name: string; readonly size: number }>;
  get(name: string, options?: object): Promise<AsyncIterable<Uint8Array>>;
}): ArchiveReader {
  return {
    name: store.name,
    list: (options = {}) => store.list("", options),
    get: (name, options = {}) => store.get(name, options),
  };
}

/** All replicas of a configured database. One that cannot be opened is left out, and said, unless none can. */
async function openConfigured(
  config: Config,
  name: string,
  io: Io,
  opened: AsyncDisposableStack,
): Promise<ArchiveReader[]> {
  const { openReplicaSet } = await import("@pageferry/functions");
  const database = parseDatabaseName(name);
  const replicas = replicasOf(config);
  const found = await Promise.allSettled(
    replicas.map(async (entry) => {
      const set = opened.use(await openReplicaSet(entry, { hasDatabases: !config.isGoForm }));
      return lateReader(set.name, async () => (await set.of(database)).reader);
    }),
  );
  const readers = found.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  if (readers.length > 0) {
    for (const [at, one] of found.entries()) {
      if (one.status === "fulfilled") continue;
      const why = one.reason instanceof Error ? one.reason.message : String(one.reason);
      io.err(`warning: ${replicaLabel(replicas[at] as ReplicaConfig)} is left out: ${why}\n`);
    }
    return readers;
  }
  throw found.find((one) => one.status === "rejected")?.reason;
}

/** The replicas of a configuration: those that it names, else the one that `up` keeps in its data. Errors: `bad-config` for that of an agent alone. */
export function replicasOf({ replicas, queue, dataDir = defaultDataDir }: Config): readonly ReplicaConfig[] {
  if (replicas.length > 0) return replicas;
  if (queue === undefined) return [{ type: "file", path: resolve(replicaDir(dataDir)) }];
  const host = apiOf(queue)?.replace(/\/+$/, "") ?? "http://HOST";
  throw new PageferryError(
    "bad-config",
    "replicas: the configuration of an agent names none, its host has them",
    {
      hint: `Ask the host: ${host}/v1/databases/NAME, or all of them with --all: ${host}; verify and its like take --host ${host}.`,
    },
  );
}

/** Opened when it is first asked, so that one that does not answer fails in its listing, where others go on. */
function lateReader(name: string, open: () => Promise<ArchiveReader>): ArchiveReader {
  let opening: Promise<ArchiveReader> | undefined;
  const reader = (): Promise<ArchiveReader> => {
    opening ??= open();
    return opening;
  };
  return {
    name,
    async *list(options) {
      yield* (await reader()).list(options);
    },
    get: async (object, range) => (await reader()).get(object, range),
  };
}

/** The entry that a path or URL stands for. */
export function replicaEntry(from: string, io: Io, config: Config | undefined): ReplicaConfig {
  if (/^file:/i.test(from)) return { type: "file", path: pathOfFileUrl(from) };
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(from)
    ? entryOf(from, io, config)
    : { type: "file", path: resolve(from) };
}

/** The entry that a URL stands for; what it does not say of its credentials is taken from a configured replica of the same place. */
function entryOf(from: string, io: Io, config: Config | undefined): ReplicaConfig {
  const [entry] = parseConfig({ replicas: [from] }, { env: io.env, source: "FROM" }).replicas;
  if (entry === undefined) throw new PageferryError("bad-request", "FROM: not a replica");
  const same = config?.replicas.find((other) => isSamePlace(entry, other));
  if (same === undefined) return entry;
  const written = Object.fromEntries(
    Object.entries(entry).filter(([, value]) => value !== undefined && value !== false && value !== ""),
  );
  return { ...same, ...defaultsOut(written, from) } as ReplicaConfig;
}

function isSamePlace(a: ReplicaConfig, b: ReplicaConfig): boolean {
  if (a.type === "s3" && b.type === "s3") return a.bucket === b.bucket;
  if (a.type === "nats" && b.type === "nats") return a.bucket === b.bucket && hostOf(a.url) === hostOf(b.url);
  return a.type === "sftp" && b.type === "sftp" && a.host === b.host;
}

function hostOf(url: string): string {
  return url.replace(/^[^/]*\/\//, "").replace(/^[^@]*@/, "");
}

/** Of what was parsed, only what the URL itself said: its place, its user, its query. */
function defaultsOut(written: Record<string, unknown>, from: string): Record<string, unknown> {
  const query = new Set(URL.parse(from)?.searchParams.keys() ?? []);
  const places = new Set([
    "type",
    "bucket",
    "prefix",
    "path",
    "host",
    "user",
    "password",
    "accessKey",
    "secretKey",
  ]);
  return Object.fromEntries(Object.entries(written).filter(([key]) => places.has(key) || query.has(key)));
}

/** What people name instead of a database's root is the place above it, which holds several. */
function checkHasGenerations(archive: Archive): void {
  const below = new Set<string>();
  for (const { name } of archive.objects) {
    const parsed = parseObjectName(name);
    if (parsed !== undefined && "generation" in parsed) return;
    const [first = "", ...rest] = name.split("/");
    const inside = rest.length === 0 ? undefined : parseObjectName(rest.join("/"));
    if (inside !== undefined && "generation" in inside) below.add(first);
  }
  const where = archive.readers.map(({ name }) => name).join(" and ");
  const [first] = below;
  if (first === undefined) {
    if (archive.objects.length === 0) return;
    throw new PageferryError("not-found", `${where}: there is no generation in it`);
  }
  throw new PageferryError("bad-request", `${where} holds the backups of ${[...below].sort().join(", ")}`, {
    hint: `Name one of them: put /${first} behind the path or prefix.`,
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

const generationPattern = /^[0-9a-f]{16}$/;

/** A replica's root holds generations. What people name instead is the directory above, or something else entirely. */
async function openDirectory(directory: string): Promise<ArchiveReader> {
  const names = await namesIn(directory);
  if (names.some((name) => generationPattern.test(name))) return directoryReader(directory);
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
    hint: `A replica's root holds directories of 16 hex digits. ${whereBackupsAre}`,
  });
}

/** For somebody who named the wrong place. */
const whereBackupsAre =
  "`up` keeps them in DIR/replica/NAME, where DIR is its --data (pageferry-data); else name the replica's own path or URL, the host (http://HOST/v1/databases/NAME), or with --config FILE the database.";

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT")
      throw new PageferryError("not-found", `${directory}: there is no such directory`, {
        cause,
        hint: whereBackupsAre,
      });
    if (code === "ENOTDIR")
      throw new PageferryError("not-found", `${directory} is a file, not a replica's directory`, {
        cause,
        hint: `The backups of a database lie elsewhere than its file. ${whereBackupsAre}`,
      });
    throw new PageferryError("unreadable", `${directory} cannot be listed (${code})`, { cause });
  }
}
