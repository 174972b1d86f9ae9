// One database as an agent would find it: may it be read, is it bolt, how is its freelist kept, how fast does it commit.

import { constants } from "node:fs";
import { access, copyFile, rm, stat, statfs, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Config,
  type DatabaseConfig,
  formatTxId,
  type Meta,
  newestMeta,
  PageferryError,
  profileOf,
} from "@pageferry/format";
import { type FilePageSource, fileLocks, openPageSource, temporaryPath } from "@pageferry/format/node";
import { metaOf } from "../file-meta.ts";
import { formatBytes } from "../table.ts";
import { topBuckets } from "../top-buckets.ts";
import { type Finding, failed, ok } from "./finding.ts";
import { judgePace } from "./pace.ts";
import { nearestDirectory } from "./places.ts";

/** How to look. */
export interface LookOptions {
  readonly config: Config;
  readonly shadowDir: string;
  /** How long commits are counted. */
  readonly sampleMs: number;
  readonly signal: AbortSignal;
}

/** What was found, and how large the database is. */
export interface LookedAt {
  readonly findings: readonly Finding[];
  readonly bytes: number;
}

const countEveryMs = 20;

/** File systems whose reads do not agree with the writes of another machine, by the number that statfs gives. */
const networkFileSystems: Readonly<Record<number, string>> = {
  26985: "NFS",
  4283649346: "CIFS",
  4266872130: "SMB",
  16914839: "9P",
};

/** Looks at one database. */
export async function lookAtSource(database: DatabaseConfig, options: LookOptions): Promise<LookedAt> {
  const { name, path } = database;
  try {
    await readable(path);
    using source = openPageSource(path);
    const first = metaOf(source);
    const bytes = first.highWaterMark * source.pageSize;
    const hasReflinks = await canClone(path, options.shadowDir);
    const commitsPerSecond = await countCommits(source, options);
    const findings = [
      ok("source", name, await words(path, source, first)),
      ...judgePace({
        ...{ database: name, bytes, hasReflinks, commitsPerSecond },
        hasFreelist: first.freelist !== null,
        maxReadRate: options.config.maxReadRate,
        baseDeadlineMs: options.config.baseDeadlineMs,
      }),
      ...(await placeFindings(database, options)),
      ...(await applicationFindings(database)),
    ];
    return { findings, bytes };
  } catch (error) {
    if (error instanceof PageferryError && error.code === "not-found" && options.config.restore.enabled) {
      const says = "it is missing; the next start restores it, if there is a backup";
      const todo = `Start \`pageferry\`, or look first: \`pageferry points\`. Wrong path? It is ${path}.`;
      return { findings: [{ level: "warn", area: "source", subject: name, says, todo }], bytes: 0 };
    }
    return { findings: [failed("source", name, error)], bytes: 0 };
  }
}

async function readable(path: string): Promise<void> {
  try {
    await access(path, constants.R_OK);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR")
      throw new PageferryError("not-found", `${path}: no such file`, {
        cause,
        hint: "Name the database file itself; an agent waits for one that comes later.",
      });
    throw new PageferryError("unreadable", `${path}: this user may not read it (${code})`, { cause });
  }
}

async function words(path: string, source: FilePageSource, meta: Meta): Promise<string> {
  const { pageSize } = source;
  const [lock] = await fileLocks(path);
  const holder =
    lock === undefined
      ? "no process is seen to hold it"
      : `held by ${lock.pid === 0 ? "a process" : `process ${lock.pid}`}`;
  const freelist = meta.freelist === null ? "no freelist in it (NoFreelistSync)" : "a freelist in it";
  return `bolt, ${formatBytes(meta.highWaterMark * pageSize)} in pages of ${pageSize}, transaction ${formatTxId(meta.txId)}, ${freelist}, ${holder}`;
}

async function countCommits(source: FilePageSource, { sampleMs, signal }: LookOptions): Promise<number> {
  const begunMs = performance.now();
  const first = metaOf(source).txId;
  let last = first;
  while (performance.now() - begunMs < sampleMs) {
    await sleep(countEveryMs, undefined, { signal });
    // Between the two writes of a commit both metas may look torn.
    last = newestMeta(source.read(0, 1), source.read(1, 1))?.txId ?? last;
  }
  const seconds = (performance.now() - begunMs) / 1000;
  return seconds === 0 || last < first ? 0 : Number(last - first) / seconds;
}

/** Whether a clone of the database in the shadow, where bases are made, costs nothing: one file system, and one that has reflinks. */
async function canClone(path: string, shadowDir: string): Promise<boolean> {
  const directory = await nearestDirectory(shadowDir);
  const [from, to] = [temporaryPath(directory), temporaryPath(directory)];
  try {
    if ((await stat(path)).dev !== (await stat(directory)).dev) return false;
    await writeFile(from, Buffer.alloc(4096), { mode: 0o600 });
    await copyFile(from, to, constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch {
    return false;
  } finally {
    await Promise.all([from, to].map((file) => rm(file, { force: true }).catch(() => undefined)));
  }
}

async function placeFindings({ name, path }: DatabaseConfig, { config }: LookOptions): Promise<Finding[]> {
  const found: Finding[] = [];
  const network = networkFileSystems[(await statfs(path)).type];
  if (network !== undefined) {
    found.push({
      ...{ level: "fail", area: "source", subject: name },
      says: `it lies on ${network}: what is read need not be what was written, so that it cannot be followed`,
      todo: "Run the agent on the machine whose disk it is, or use the in-process observer.",
    });
  }
  if (process.platform !== "linux") {
    found.push({
      ...{ level: "warn", area: "source", subject: name },
      says: "locks and restarts cannot be proved on this system: each start of the agent sends a whole snapshot",
      todo: "Run the agent on Linux where databases are large.",
    });
  }
  const { enabled, targetPath, tempDir } = config.restore;
  if (!enabled) return found;
  const directory = tempDir ?? dirname(resolve(targetPath ?? path));
  const mayWrite = await access(directory, constants.W_OK).then(
    () => true,
    () => false,
  );
  if (mayWrite) return [...found, ok("rights", name, `a restore on start may write to ${directory}`)];
  found.push({
    ...{ level: "fail", area: "rights", subject: name },
    says: `restore.enabled: this user may not write to ${directory}`,
    todo: "Run as the application's user, who owns that directory.",
  });
  return found;
}

async function applicationFindings({ name, path, profile: configured }: DatabaseConfig): Promise<Finding[]> {
  const buckets = await topBuckets(path);
  const profile = profileOf({ name, path, configured, buckets });
  if (profile.name === "own") return [];
  const { uid } = await stat(path);
  const says = `taken for a database of ${profile.title} (user ${uid}). ${profile.means}`;
  return [{ level: "note", area: "application", subject: name, says, todo: profile.steps.join(" ") }];
}
