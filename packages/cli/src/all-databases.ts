// Which databases FROM of `restore --all` holds, and each of them as a source: a host's, or those of replicas, wherever they are.

import {
  type Config,
  type DatabaseConfig,
  type DatabaseName,
  isPageferryError,
  PageferryError,
  type ProfileHints,
  parseConfig,
  parseDatabaseName,
  type ReplicaConfig,
  replicaLabel,
} from "@pageferry/format";
import { databasesRoute } from "@pageferry/functions/routes";
import { type BackupSource, openBackupSource } from "./backup-source.ts";
import { loadConfig } from "./config-file.ts";
import { defaultDataDir } from "./data-dir.ts";
import { createHostClient, hostToken } from "./host-client.ts";
import type { Io } from "./io.ts";
import { openReplicaSource, replicaEntry, replicasOf } from "./replica-source.ts";
import type { RestoreOptions } from "./restore-options.ts";

/** The databases of an archive. */
export interface AllDatabases {
  /** In order. */
  readonly names: readonly DatabaseName[];
  /** What the configuration says of one. */
  hintsOf(database: DatabaseName): Omit<ProfileHints, "name">;
  open(database: DatabaseName, acknowledge: string | undefined): Promise<BackupSource>;
}

/** Errors: `bad-request`, `not-found` where there is none, and those of asking. */
export async function openAllDatabases(
  froms: readonly string[],
  options: Partial<RestoreOptions>,
  io: Io,
): Promise<AllDatabases> {
  const hosts = froms.filter((from) => /^https?:\/\//i.test(from));
  const config = options.config === undefined ? undefined : (await loadConfig(io, options.config)).config;
  const hintsOf = (database: DatabaseName) => hintsIn(config, database);
  const [host] = hosts;
  if (host === undefined) return { ...(await ofReplicas(froms, config, io)), hintsOf };
  if (froms.length === 1) return { ...(await ofHost(host, options, io)), hintsOf };
  throw new PageferryError("bad-request", "FROM: a host is read alone; it takes from all its replicas", {
    hint: "Name either one host, or any number of replicas.",
  });
}

function hintsIn(config: Config | undefined, database: DatabaseName): Omit<ProfileHints, "name"> {
  const found = config?.databases.find(({ name }) => name === database);
  return { path: found?.path ?? `${database}.db`, configured: found?.profile };
}

async function ofHost(
  from: string,
  { data: dataDir = defaultDataDir, manifestKey }: Partial<RestoreOptions>,
  io: Io,
): Promise<Omit<AllDatabases, "hintsOf">> {
  const url = new URL(from);
  const base = `${url.origin}${url.pathname.replace(/\/+$/, "").replace(/\/v1(\/databases)?$/, "")}`;
  if (url.search !== "" || url.username !== "" || /\/v1\/databases\/[^/]/.test(url.pathname)) {
    throw new PageferryError("bad-request", "FROM: with --all a host is http://HOST", {
      hint: "One database of it is restored with -o OUT.",
    });
  }
  const token = io.env.PAGEFERRY_RESTORE_TOKEN || (await hostToken(base, dataDir, io));
  const answer = await createHostClient(base, token).call(databasesRoute, { params: {}, signal: io.signal });
  return {
    names: namesOf(
      answer.databases.map(({ name }) => name),
      base,
    ),
    open: (database, acknowledge) =>
      openBackupSource([`${base}/v1/databases/${database}`], io, { dataDir, manifestKey, acknowledge }),
  };
}

async function ofReplicas(
  froms: readonly string[],
  given: Config | undefined,
  io: Io,
): Promise<Omit<AllDatabases, "hintsOf">> {
  const replicas =
    froms.length > 0 || given === undefined
      ? froms.map((from) => replicaEntry(from, io, given))
      : replicasOf(given);
  if (replicas.length === 0) {
    throw new PageferryError("bad-request", "FROM is missing: which backups are meant?", {
      hint: "Name replicas or a host, or with --config a configuration.",
    });
  }
  const where = replicas.map(replicaLabel).join(" and ");
  const names = namesOf(await discover(replicas, io), where);
  const config: Config = {
    ...(given ?? parseConfig({}, { env: io.env, source: "FROM" })),
    ...{ replicas, isGoForm: false, databases: names.map((name): DatabaseConfig => ({ name, path: name })) },
  };
  return {
    names,
    open: (database) => openReplicaSource([database], io, config),
  };
}

/** Names that any of the replicas holds. One that does not answer is left out, and said, unless none does. */
async function discover(replicas: readonly ReplicaConfig[], io: Io): Promise<string[]> {
  const { openReplicaSet } = await import("@pageferry/functions");
  const names: string[] = [];
  const failures: unknown[] = [];
  for (const entry of replicas) {
    try {
      await using set = await openReplicaSet(entry);
      names.push(...(await set.discover({ signal: io.signal })));
    } catch (error) {
      io.signal.throwIfAborted();
      if (!isPageferryError(error)) throw error;
      failures.push(error);
      if (replicas.length > 1) io.err(`warning: ${replicaLabel(entry)} is left out: ${error.message}\n`);
    }
  }
  if (failures.length === replicas.length) throw failures[0];
  return names;
}

function namesOf(found: readonly string[], where: string): DatabaseName[] {
  const names = [...new Set(found)].sort().flatMap((name) => {
    try {
      return [parseDatabaseName(name)];
    } catch {
      // No name that a database can have: something else lies there.
      return [];
    }
  });
  if (names.length > 0) return names;
  throw new PageferryError("not-found", `${where} holds no database`, {
    hint: "Name the place above the databases' own directories. The archive of one database is restored with -o OUT.",
  });
}
