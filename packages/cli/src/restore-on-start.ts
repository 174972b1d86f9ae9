// `restore.enabled`: a database that is missing or not sound is brought back before anything opens it. One that is sound, or that a process
// holds, is left alone; one that is not sound is moved aside, never removed. Of those that were found in directories the same is done with files
// that are there and do not open; one that is missing was perhaps meant to go. docs/operations.md#restore-on-start.

import { link, lstat, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { forgetRestored, noteRestored, type Queue } from "@pageferry/agent";
import {
  type Config,
  checkRestoreInPlace,
  type DatabaseConfig,
  formatTxId,
  isPageferryError,
  PageferryError,
  profileOf,
  type RestorePlan,
  type RestoreResult,
} from "@pageferry/format";
import { fromFileSystem, fsyncDirectory, type RestoreFileResult, restoreFile } from "@pageferry/format/node";
import type { BackupSource } from "./backup-source.ts";
import { restoreCompanionsOnStart } from "./companions-on-start.ts";
import { type DatabaseHealth, lookAtDatabase } from "./database-health.ts";
import { brokenAmong } from "./found-on-start.ts";
import type { Io } from "./io.ts";
import { createProgress } from "./progress.ts";
import { formatTime } from "./table.ts";
import { topBuckets } from "./top-buckets.ts";
import { sendUnsent } from "./unsent.ts";

/** What a restore on start works with. */
export interface RestoreOnStartOptions {
  readonly config: Config;
  /** Databases that lie in its directories, and are not among its own. */
  readonly found: readonly DatabaseConfig[];
  readonly shadowDir: string;
  readonly io: Io;
  /** Where the agent sends to: what it has not sent yet goes first. */
  readonly queue: Queue;
  /** Where the backups of a database are read from. */
  open(database: DatabaseConfig): Promise<BackupSource>;
  /** An application starts behind it: then it must not begin anew where only a person may restore. */
  readonly isBeforeApplication: boolean;
}

/** A database that is to be brought back. */
interface Lost {
  readonly database: DatabaseConfig;
  readonly output: string;
  readonly health: Extract<DatabaseHealth, { state: "missing" | "broken" }>;
}

/**
 * Restores what is missing or not sound, each to its newest point. One that has no backup is left as it is. Errors: `harmful`,
 * `unavailable` where no one can say what there is, those of planning and of restoring.
 */
export async function restoreOnStart(options: RestoreOnStartOptions): Promise<void> {
  const { config, found, io } = options;
  if (!config.restore.enabled) return;
  for (const database of config.databases) {
    const output = resolve(config.restore.targetPath ?? database.path);
    const health = await lookAtDatabase(output, io.signal);
    if (health.state !== "missing" && health.state !== "broken") continue;
    const lost: Lost = { database, output, health };
    if (database.shadowDirectory === undefined) await restoreLost(lost, options);
    else refuse(lost, options, ofShadowDirectory(lost, database.shadowDirectory));
  }
  for (const database of await brokenAmong(found, io)) await restoreFound(database, options);
}

/**
 * One that cannot be restored stays as it is and hinders no other, for it is one of many; but where nobody can be asked, the next start can. Errors:
 * `unavailable`, and `harmful` before an application.
 */
async function restoreFound(database: DatabaseConfig, options: RestoreOnStartOptions): Promise<void> {
  const { io } = options;
  const { name } = database;
  const output = resolve(database.path);
  try {
    const health = await lookAtDatabase(output, io.signal);
    if (health.state !== "broken") return;
    if (await hasOtherNames(output)) {
      io.err(
        `warning: ${name}: ${output} is ${stateOf(health)} and is not restored, for the file has other names\n`,
      );
      return;
    }
    await restoreLost({ database, output, health }, options);
  } catch (error) {
    const mayGoOn = isPageferryError(error) && error.code !== "unavailable" && error.code !== "harmful";
    if (!mayGoOn) throw error;
    io.err(`warning: ${name}: ${output} is not restored: ${error.message}\nhint: ${error.hint}\n`);
  }
}

/** A restored file would take one of them, and what opens the others would go on with the broken one. */
async function hasOtherNames(path: string): Promise<boolean> {
  const there = await lstat(path);
  return there.isSymbolicLink() || there.nlink > 1;
}

async function restoreLost(lost: Lost, options: RestoreOnStartOptions): Promise<void> {
  const { database, output, health } = lost;
  const { io } = options;
  const { name } = database;
  const state = stateOf(health);
  const { hasSent } = await sendUnsent(database, options);
  await using source = await options.open(database);
  const plan = await newestPoint(source, io.signal);
  if (plan === undefined) {
    if (hasSent) throw noneThough(database, source);
    // The first start of all: there is nothing to bring back, and the application makes its file itself.
    io.err(`note: ${name}: ${output} is ${state}, and there is no backup of it yet\n`);
    return;
  }
  for (const warning of plan.warnings) io.err(`warning: ${name}: ${warning}\n`);
  try {
    const { result, aside } = await carryOut(lost, plan, source, options);
    const kept = aside === undefined ? "" : `; the broken file is kept as ${aside}`;
    const what = `transaction ${formatTxId(result.txId)}, committed ${formatTime(result.stampMs)}`;
    io.err(`note: ${name}: ${output} was ${state} and is restored, at ${what}${kept}\n`);
  } catch (error) {
    if (!isPageferryError(error, "harmful")) throw error;
    refuse(lost, options, error);
  }
}

/** An application must not begin anew where only a person may restore; beside an agent alone the other databases go on. */
function refuse(
  { database: { name }, output, health }: Lost,
  { io, isBeforeApplication }: RestoreOnStartOptions,
  error: PageferryError,
): void {
  if (isBeforeApplication) throw error;
  io.err(
    `warning: ${name}: ${output} is ${stateOf(health)} and is not restored: ${error.message}\nhint: ${error.hint}\n`,
  );
}

function ofShadowDirectory({ database: { name } }: Lost, shadowDirectory: string): PageferryError {
  return new PageferryError(
    "harmful",
    `${name}: its commits come from ${shadowDirectory}, which would go on from another state than a restored one`,
    {
      hint: "Stop the application, restore with `pageferry restore`, and empty that directory before the application starts.",
    },
  );
}

function stateOf(health: Lost["health"]): string {
  return health.state === "missing" ? "missing" : `not sound (${health.problem})`;
}

async function newestPoint(source: BackupSource, signal: AbortSignal): Promise<RestorePlan | undefined> {
  try {
    return await source.plan({}, signal);
  } catch (error) {
    if (isPageferryError(error, "not-found")) return undefined;
    throw error;
  }
}

function noneThough({ name }: DatabaseConfig, source: BackupSource): PageferryError {
  return new PageferryError(
    "not-found",
    `${source.name}: no backup of ${name}, though this machine has sent some`,
    {
      hint: "Are these the replicas that it was sent to, and are they mounted? To begin anew all the same, remove its directory in the shadow.",
    },
  );
}

interface CarriedOut {
  readonly result: RestoreFileResult;
  /** Where the broken file is. */
  readonly aside: string | undefined;
}

async function carryOut(
  { database, output, health }: Lost,
  plan: RestorePlan,
  source: BackupSource,
  { config, shadowDir, io }: RestoreOnStartOptions,
): Promise<CarriedOut> {
  const { name, path, profile } = database;
  const { tempDir, acknowledge, files } = config.restore;
  const directory = join(shadowDir, name);
  const isInPlace = output === resolve(path);
  const judge = (buckets?: readonly string[]): void =>
    checkRestoreInPlace(profileOf({ name, path, configured: profile, buckets }), {
      ...{ typed: acknowledge, option: "restore.acknowledge:", isAutomatic: true },
    });
  judge();
  let aside: string | undefined;
  let checked: RestoreResult | undefined;
  using progress = createProgress(io, `restore of ${name}`, { json: false });
  try {
    const result = await restoreFile({
      ...{ plan, output, tempDir, signal: io.signal },
      readers: source.readers,
      stallMs: source.stallMs,
      force: health.state === "broken",
      onProgress: ({ bytes, total }) => progress.update(bytes, total),
      replan: (without, { generation, txId }) => source.plan({ generation, txId }, io.signal, without),
      async onChecked(result) {
        checked = result;
      },
      async beforePublish(restored) {
        judge(await topBuckets(restored));
        // Before the database: whoever finds it sound at the next start restores nothing.
        await restoreCompanionsOnStart({ database, plan, source, isInPlace, isWanted: files === true }, io);
        if (isInPlace) await noteRestored(directory, checked ?? plan, restored);
        if (health.state === "broken") aside = await keepAside(output, io.now());
      },
    });
    return { result, aside };
  } catch (error) {
    // The file that is there is not the restored one.
    if (isInPlace) await forgetRestored(directory);
    if (aside !== undefined) await dropSecondName(aside, output);
    throw error;
  }
}

/** Names tried for a file that is moved aside: a second broken one in the same second has its own. */
const asideNamesMax = 100;

/** Gives a file a second name, which is its only one when the restored file takes the first. Its path is never without a file. */
async function keepAside(path: string, nowMs: number): Promise<string> {
  const stamp = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, "");
  for (let count = 1; count <= asideNamesMax; count += 1) {
    const aside = `${path}.invalid-${stamp}${count === 1 ? "" : `-${count}`}`;
    try {
      await link(path, aside);
      await fsyncDirectory(dirname(path));
      return aside;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EEXIST") continue;
      // A file system without second names, such as FAT.
      if (code !== "EPERM" && code !== "ENOTSUP" && code !== "EOPNOTSUPP" && code !== "ENOSYS")
        throw fromFileSystem(error, `moving ${path} aside`);
      await rename(path, aside);
      return aside;
    }
  }
  throw new PageferryError("exists", `moving ${path} aside: there are ${asideNamesMax} of the same second`);
}

/** Takes the second name away again where nothing took the first. */
async function dropSecondName(aside: string, path: string): Promise<void> {
  const [there, kept] = await Promise.all([path, aside].map((one) => stat(one).catch(() => undefined)));
  if (there !== undefined && there.ino === kept?.ino && there.dev === kept.dev) await rm(aside);
  else if (there === undefined && kept !== undefined) await rename(aside, path);
}
