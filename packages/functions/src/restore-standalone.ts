// A restore straight from the configured replicas, with no host and no agent: the Go implementation's RestoreStandalone,
// over the format's own planner and engine, from whichever replicas have what is needed.

import {
  type ArchiveReader,
  type Config,
  type DatabaseName,
  listingOf,
  openArchive,
  PageferryError,
  parseDatabaseName,
  planFromArchive,
  type RestoreProgress,
  type RestoreTarget,
} from "@pageferry/format";
import { type RestoreFileResult, restoreFile } from "@pageferry/format/node";
import { openReplicaSet } from "./replicas.ts";

export interface RestoreStandaloneOptions {
  readonly signal?: AbortSignal;
  /** Default: the newest point. */
  readonly target?: RestoreTarget;
  /** Which of the configuration's databases; may be left out where there is only one. */
  readonly database?: string;
  /** Replace a target that is there and not empty. Default false: it is `exists`. A locked one is never replaced. */
  readonly force?: boolean;
  /** Default quick. */
  readonly integrity?: "none" | "quick" | "full";
  readonly onProgress?: (progress: RestoreProgress) => void;
}

/** What of the configuration a restore needs. */
export type RestoreStandaloneConfig = Pick<Config, "replicas"> &
  Partial<Pick<Config, "databases" | "restore">>;

/**
 * Restores a database from its replicas to `restore.targetPath`, or to the database's own path. Errors: `bad-config`, those
 * of planning (`not-found`, `gap`, `bad-request`) and of restoring (`corrupt`, `exists`, `locked`, `disk-full`).
 */
export async function restoreStandalone(
  config: RestoreStandaloneConfig,
  options: RestoreStandaloneOptions = {},
): Promise<RestoreFileResult> {
  const { signal, target = {} } = options;
  const database = chooseDatabase(config, options.database);
  const output = config.restore?.targetPath ?? database?.path;
  if (output === undefined) {
    throw new PageferryError("bad-config", "restore.targetPath: where to restore to is expected");
  }
  if (config.replicas.length === 0)
    throw new PageferryError("bad-config", "replicas: at least one is expected");
  await using opened = new AsyncDisposableStack();
  const readers: ArchiveReader[] = [];
  for (const entry of config.replicas) {
    const set = opened.use(await openReplicaSet(entry, { hasDatabases: database !== undefined }));
    readers.push((await set.of(database?.name ?? anyName)).reader);
  }
  const archive = await openArchive(readers, { signal });
  if (listingOf(archive).generations.size === 0) {
    const places = readers.map(({ name }) => name).join(", ");
    throw new PageferryError(
      "not-found",
      `no backup${database === undefined ? "" : ` of ${database.name}`} in ${places}`,
    );
  }
  const plan = await planFromArchive(archive, target, { signal });
  return restoreFile({
    output,
    plan,
    readers: archive.readers,
    force: options.force,
    tempDir: config.restore?.tempDir,
    integrity: options.integrity,
    onProgress: options.onProgress,
    signal,
    // What was removed meanwhile is planned around, from a new listing.
    replan: async (without, point) => {
      const again = await openArchive(readers, { signal });
      return planFromArchive(again, { generation: point.generation, txId: point.txId }, { signal, without });
    },
  });
}

/** Where the path is itself the root, its name is of no interest. */
const anyName = parseDatabaseName("database");

function chooseDatabase(
  { databases = [] }: RestoreStandaloneConfig,
  wanted: string | undefined,
): { readonly name: DatabaseName; readonly path: string } | undefined {
  const [first, ...others] = databases;
  const names = databases.map(({ name }) => name).join(", ");
  if (wanted === undefined && others.length > 0) {
    throw new PageferryError("bad-config", `databases: there are ${names}; which one to restore is expected`);
  }
  const chosen = wanted === undefined ? first : databases.find(({ name }) => name === wanted);
  if (chosen === undefined) {
    if (wanted === undefined || databases.length === 0) return undefined;
    throw new PageferryError("bad-config", `databases: ${wanted.slice(0, 80)} is not among ${names}`);
  }
  return { name: parseDatabaseName(chosen.name), path: chosen.path };
}
