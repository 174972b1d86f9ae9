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
  replicaLabel,
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
  const { readers, warnings } = await openReaders(config, database?.name, opened, signal);
  const archive = await openArchive(readers, { signal });
  if (listingOf(archive).generations.size === 0) {
    const places = readers.map(({ name }) => name).join(", ");
    throw new PageferryError(
      "not-found",
      `no backup${database === undefined ? "" : ` of ${database.name}`} in ${places}`,
    );
  }
  const plan = await planFromArchive(archive, target, { signal });
  return await restoreFile({
    output,
    plan: { ...plan, warnings: [...warnings, ...plan.warnings] },
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

interface OpenedReaders {
  readonly readers: readonly ArchiveReader[];
  /** Which replicas were left out, and why. */
  readonly warnings: readonly string[];
}

/** Opens all replicas at once. One that cannot be opened or does not answer is left out, unless none does: then the first one's error is thrown. */
async function openReaders(
  config: RestoreStandaloneConfig,
  database: DatabaseName | undefined,
  opened: AsyncDisposableStack,
  signal: AbortSignal | undefined,
): Promise<OpenedReaders> {
  const many = config.replicas.length > 1;
  const found = await Promise.allSettled(
    config.replicas.map(async (entry) => {
      const set = opened.use(await openReplicaSet(entry, { hasDatabases: database !== undefined }));
      return (await withinReason(set.of(database ?? anyName), set.name, many)).reader;
    }),
  );
  signal?.throwIfAborted();
  const readers = found.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const failures = found.flatMap((one, at) =>
    one.status === "rejected" ? [{ entry: config.replicas[at], error: one.reason as unknown }] : [],
  );
  if (readers.length === 0) throw failures[0]?.error;
  const warnings = failures.map(
    ({ entry, error }) =>
      `${entry === undefined ? "a replica" : replicaLabel(entry)} is left out: ${error instanceof Error ? error.message : String(error)}`,
  );
  return { readers, warnings };
}

/** A replica that says nothing for so long is left out where there are others. */
const answerMs = 15_000;

async function withinReason<Value>(work: Promise<Value>, name: string, isBounded: boolean): Promise<Value> {
  if (!isBounded) return work;
  const over = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => over.reject(new PageferryError("unavailable", `${name}: no answer for ${answerMs} ms`)),
    answerMs,
  );
  work.catch(() => undefined);
  try {
    return await Promise.race([work, over.promise]);
  } finally {
    clearTimeout(timer);
  }
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
