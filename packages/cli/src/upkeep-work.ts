// What `repair`, `compact`, `prune` and `verify` have in common: the same work on some databases, done by the host that serves them, or
// straight on the replicas of a configuration.

import { type Config, type DatabaseName, PageferryError, parseDatabaseName } from "@pageferry/format";
import type { Replica, ReplicaSet } from "@pageferry/functions";
import {
  type AnswerOf,
  databasesRoute,
  type ParamsOf,
  type QueryInputOf,
  type Route,
} from "@pageferry/functions/routes";
import { dataOption, type OptionSpec } from "./command.ts";
import { loadConfig } from "./config-file.ts";
import { defaultDataDir } from "./data-dir.ts";
import { createHostClient, type HostClient, hostToken } from "./host-client.ts";
import { hostOrigin } from "./host-origin.ts";
import type { Io } from "./io.ts";
import { withFound } from "./many/open-lookers.ts";
import { replicasOf } from "./replica-source.ts";

/** Flags that say by whom the work is done. */
export interface WorkFlags {
  readonly data: string;
  readonly config: string;
  readonly host: string;
}

/** Their options, as every such command has them. */
export const workOptions: readonly OptionSpec[] = [
  { flags: "--config <file>", description: "work on the replicas of this configuration, without a host" },
  { flags: "--host <url>", description: "http://HOST:PORT (default: the host that runs on DIR)" },
  dataOption,
];

/** Databases of a host, and how to ask it. */
export interface HostWork {
  readonly client: HostClient;
  readonly databases: readonly DatabaseName[];
}

/** The host that runs here or is named, and the databases that are named, or all of its. */
export async function openHostWork(
  names: readonly string[],
  { data = defaultDataDir, host }: Partial<WorkFlags>,
  io: Io,
): Promise<HostWork> {
  const origin = await hostOrigin(host, data);
  const client = createHostClient(origin, await hostToken(origin, data, io));
  const chosen = names.length > 0 ? names : await databasesOf(client, io);
  return { client, databases: chosen.map(parseDatabaseName) };
}

async function databasesOf(client: HostClient, io: Io): Promise<string[]> {
  const { databases } = await client.call(databasesRoute, { params: {}, signal: io.signal });
  return databases.map(({ name }) => name);
}

/** A route of one database's. */
type WorkRoute = Route & { readonly path: `/v1/databases/:database/${string}` };

/** Asks the host to work on each database, one after the other. */
export async function callEach<const Declared extends WorkRoute>(
  { client, databases }: HostWork,
  declared: Declared,
  query: Readonly<QueryInputOf<Declared>>,
  io: Io,
): Promise<AnswerOf<Declared>[]> {
  const reports: AnswerOf<Declared>[] = [];
  for (const database of databases) {
    const params = { database } as unknown as ParamsOf<Declared["path"]>;
    reports.push(await client.call(declared, { params, query, signal: io.signal }));
  }
  return reports;
}

/** A database and those of its configured replicas that could be opened. */
export interface ReplicaWork {
  readonly database: DatabaseName;
  readonly replicas: readonly Replica[];
  /** Names of those that could not. */
  readonly unopened: readonly string[];
}

/** Replicas of a configuration, open until they are disposed of. */
export interface OpenedWork extends AsyncDisposable {
  readonly config: Config;
  readonly works: readonly ReplicaWork[];
  /** Whether a replica is the one that was asked for, or any where none was. */
  readonly isWanted: (replica: { readonly name: string }) => boolean;
}

/**
 * Opens the replicas of the named databases, or of all that are configured. Errors: `not-found` for a wanted replica that is not configured,
 * `bad-config` for the configuration of an agent alone.
 */
export async function openReplicaWork(
  names: readonly string[],
  path: string,
  wanted: string | undefined,
  io: Io,
): Promise<OpenedWork> {
  const { config } = await loadConfig(io, path);
  const { openReplicaSet } = await import("@pageferry/functions");
  await using opened = new AsyncDisposableStack();
  const sets: ReplicaSet[] = [];
  for (const entry of replicasOf(config)) {
    sets.push(opened.use(await openReplicaSet(entry, { hasDatabases: !config.isGoForm })));
  }
  if (wanted !== undefined && !sets.some(({ name }) => name === wanted)) {
    const hint = `There are ${sets.map(({ name }) => name).join(", ")}.`;
    throw new PageferryError("not-found", `replica ${wanted.slice(0, 200)} is not configured`, { hint });
  }
  const works: ReplicaWork[] = [];
  for (const name of await chosenOf(names, config, io))
    works.push(await openWork(parseDatabaseName(name), sets, io));
  const parts = opened.move();
  return {
    config,
    works,
    isWanted: ({ name }) => wanted === undefined || name === wanted || name.startsWith(`${wanted}/`),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

async function openWork(database: DatabaseName, sets: readonly ReplicaSet[], io: Io): Promise<ReplicaWork> {
  const found = await Promise.allSettled(sets.map((set) => set.of(database)));
  const replicas: Replica[] = [];
  const unopened: string[] = [];
  for (const [at, one] of found.entries()) {
    const name = sets[at]?.name ?? "";
    if (one.status === "fulfilled") replicas.push(one.value);
    else {
      unopened.push(name);
      const why = one.reason instanceof Error ? one.reason.message : String(one.reason);
      io.err(`warning: ${name} is left out: ${why}\n`);
    }
  }
  return { database, replicas, unopened };
}

/** The Go implementation's form names no database: there is one, and its replicas' paths are its roots. */
async function chosenOf(names: readonly string[], config: Config, io: Io): Promise<readonly string[]> {
  if (names.length > 0) return names;
  const { databases } = await withFound(config, config.dataDir ?? defaultDataDir, io);
  const configured = databases.map(({ name }) => name);
  return config.isGoForm && configured.length === 0 ? ["database"] : configured;
}
