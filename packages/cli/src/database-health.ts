// Whether a database is there and sound, before its application starts. What a process holds, or what somebody is writing, is nobody's to
// judge: a page of one commit beside one of another looks like damage.

import { type BigIntStats, constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { PageferryError } from "@pageferry/format";
import { fileLocks, threadUrl } from "@pageferry/format/node";

/** What is at a database's path. */
export type DatabaseHealth =
  /** Nothing, or an empty file, of which bolt makes a new database. */
  | { readonly state: "missing" }
  | { readonly state: "sound" }
  /** A process has it open, or writes it. */
  | { readonly state: "in-use" }
  | { readonly state: "broken"; readonly problem: string };

/** A file that did not move for so long after it was found broken is not being written. */
const quietMs = 1000;

/** Looks at a database. Errors: `unreadable`, `not-bolt` for what is no file. */
export async function lookAtDatabase(path: string, signal: AbortSignal): Promise<DatabaseHealth> {
  const before = await statsOf(path);
  if (before === undefined || before.size === 0n) return { state: "missing" };
  if (!before.isFile()) throw new PageferryError("not-bolt", `${path}: it is there and not a file`);
  if ((await fileLocks(path)).length > 0) return { state: "in-use" };
  await access(path, constants.R_OK).catch((cause: unknown) => {
    throw new PageferryError("unreadable", `${path}: it cannot be read`, { cause });
  });
  const problem = await problemOf(path, signal);
  if (problem === null) return { state: "sound" };
  await sleep(quietMs, undefined, { signal });
  const isQuiet = isSame(before, await statsOf(path)) && (await fileLocks(path)).length === 0;
  return isQuiet ? { state: "broken", problem } : { state: "in-use" };
}

async function statsOf(path: string): Promise<BigIntStats | undefined> {
  try {
    return await stat(path, { bigint: true });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new PageferryError("unreadable", `${path}: it cannot be looked at (${code})`, { cause });
  }
}

function isSame(before: BigIntStats, after: BigIntStats | undefined): boolean {
  return (
    before.ino === after?.ino &&
    before.size === after.size &&
    before.mtimeNs === after.mtimeNs &&
    before.ctimeNs === after.ctimeNs
  );
}

async function problemOf(path: string, signal: AbortSignal): Promise<string | null> {
  const worker = new Worker(threadUrl("soundness-worker", import.meta.url), {
    name: "pageferry-soundness",
    workerData: { path },
  });
  const { promise, resolve, reject } = Promise.withResolvers<string | null>();
  worker.once("message", resolve);
  worker.once("error", (cause) =>
    reject(new PageferryError("unreadable", `${path}: it cannot be checked`, { cause })),
  );
  const giveUp = (): void => reject(signal.reason);
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    signal.throwIfAborted();
    return await promise;
  } finally {
    signal.removeEventListener("abort", giveUp);
    await worker.terminate();
  }
}
