// A standby's file: a new one each time, published by rename, so that whoever opens the path finds a whole one, and who has an older one
// open goes on with it. What it is stands in a note beside it, and is proved at the start. See docs/decisions/0017-follow.md.

import type { BigIntStats } from "node:fs";
import { link, readdir, readFile, rm, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import { lockDatabase } from "@pageferry/agent";
import {
  encodeStandbyNote,
  formatTxId,
  isPageferryError,
  leftMax,
  newestMeta,
  PageferryError,
  parseStandbyNote,
  type RestoreBase,
  type StandbyNote,
  type StandbyState,
} from "@pageferry/format";
import {
  fileLocks,
  fromFileSystem,
  isTemporaryPath,
  makeDirectoryDurable,
  openPageSource,
  type RestoreFileOptions,
  type RestoreFileResult,
  restoreFile,
  writeFileDurable,
} from "@pageferry/format/node";
import { proveState } from "./prove.ts";

/** How to restore its next state. */
export type NextState = Pick<
  RestoreFileOptions,
  "plan" | "readers" | "stallMs" | "parallelism" | "integrity" | "signal" | "onProgress" | "replan"
> & {
  /** Whether the plan's steps lead on from the state that it is. */
  readonly isDelta: boolean;
  /** Of the plan's generation. */
  readonly epoch: number | null;
  /** Called with the finished file before it is published. */
  readonly judge?: ((path: string) => Promise<void>) | undefined;
};

/** A standby, as long as this process keeps it. */
export interface Standby extends AsyncDisposable {
  readonly path: string;
  /** What it is. Undefined: it is not there. */
  state(): StandbyState | undefined;
  left(): StandbyNote["left"];
  /** Looks whether it is as it was left. Errors: `conflict` when somebody wrote to it, `locked` while somebody may. */
  look(): Promise<void>;
  /** Makes it its next state. Errors: those of `look` and of a restore; it is then what it was. */
  publish(next: NextState): Promise<RestoreFileResult>;
}

/** Where what belongs to a standby lies: its note, and the file that is being made. */
export function followDirectory(path: string): string {
  return `${path}.follow`;
}

/** The note in it. */
export const noteFile = "state.json";

/** The forerunner, until it is sure that nobody began to write to it. */
const forerunnerFile = "forerunner";

/** From here on threads check it: a signal should not wait for more. */
const threadsBytesMin = 64 * 1024 * 1024;

const conflictHint =
  "It was left as it is. Stop what writes to it; move it away to follow anew, or start over with --force.";

/**
 * Opens the standby at a path. Errors: `exists` for a file that no follower made, `conflict` for one that is not as it was left, both
 * unless `force`d; `locked` while another process follows or backs it up.
 */
export async function openStandby(
  output: string,
  { force = false, signal }: { readonly force?: boolean | undefined; readonly signal: AbortSignal },
): Promise<Standby> {
  const path = resolve(output);
  const directory = followDirectory(path);
  const note = await readNote(directory, force);
  const found = await statsOf(path);
  if (note === undefined && found !== undefined && found.size > 0n && !force) {
    throw new PageferryError(
      "exists",
      `${path}: it is there, ${found.size} bytes, and was not made by following`,
    );
  }
  await makeDirectoryDurable(directory);
  const lock = await lockDatabase({ databasePath: path, directory }).catch((cause: unknown) => {
    if (!isPageferryError(cause, "locked")) throw cause;
    throw new PageferryError("locked", `${path}: another process follows it, or backs it up`, { cause });
  });
  try {
    await sweepStandby({ path, directory, note, signal });
    const state = await stateNow(path, found, note, { force, signal });
    const at = { path, directory, state, left: note?.left ?? [], stats: found };
    return standbyOf(at, lock);
  } catch (error) {
    await lock.close();
    throw error;
  }
}

interface At {
  readonly path: string;
  readonly directory: string;
  state: StandbyState | undefined;
  left: StandbyNote["left"];
  /** The file as it was left. */
  stats: BigIntStats | undefined;
}

function standbyOf(at: At, lock: AsyncDisposable): Standby {
  return {
    path: at.path,
    state: () => at.state,
    left: () => at.left,
    look: () => look(at),
    publish: (next) => publish(at, next),
    [Symbol.asyncDispose]: () => lock[Symbol.asyncDispose](),
  };
}

async function readNote(directory: string, force: boolean): Promise<StandbyNote | undefined> {
  const path = join(directory, noteFile);
  try {
    return parseStandbyNote(await readFile(path), path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT" || (force && isPageferryError(error)))
      return undefined;
    throw fromFileSystem(error, `reading ${path}`);
  }
}

/** What a process that was killed may have left behind. */
export interface StandbyPlace {
  readonly path: string;
  /** Of `followDirectory`. */
  readonly directory: string;
  readonly note: StandbyNote | undefined;
  readonly signal: AbortSignal;
}

/** Removes that. Errors: `conflict` for a forerunner that was written to, which is nobody's to remove. */
export async function sweepStandby({ path, directory, note, signal }: StandbyPlace): Promise<void> {
  const names = await readdir(directory);
  await Promise.all(names.filter(isTemporaryPath).map((name) => rm(join(directory, name), { force: true })));
  const forerunner = join(directory, forerunnerFile);
  const [kept, present] = await Promise.all([statsOf(forerunner), statsOf(path)]);
  if (kept === undefined) return;
  const isSecondName = kept.ino === present?.ino;
  const isKnown = isSecondName || (await proveState(forerunner, note?.states ?? [], signal)) !== undefined;
  if (!isKnown || (!isSecondName && (await writerOf(forerunner)) !== undefined)) {
    throw new PageferryError("conflict", `${path}: somebody wrote to it while it was being replaced`, {
      hint: `What was written is in ${forerunner}: move it away to go on.`,
    });
  }
  await rm(forerunner, { force: true });
}

async function stateNow(
  path: string,
  found: BigIntStats | undefined,
  note: StandbyNote | undefined,
  { force, signal }: { readonly force: boolean; readonly signal: AbortSignal },
): Promise<StandbyState | undefined> {
  if (note === undefined || found === undefined || found.size === 0n) return undefined;
  const state = await proveState(path, note.states, signal);
  if (state !== undefined || force) return state;
  throw changed(path);
}

function changed(path: string): PageferryError {
  return new PageferryError("conflict", `${path}: it is not as it was left: somebody wrote to it`, {
    hint: conflictHint,
  });
}

async function look(at: At): Promise<void> {
  const { path, state } = at;
  const writer = await writerOf(path);
  if (writer !== undefined) {
    throw new PageferryError("locked", `${path}: ${writer} has it open for writing: it is not replaced`, {
      hint: "A standby is opened for reading only. To make it the live database, stop following first.",
    });
  }
  const now = await statsOf(path);
  if (now === undefined || now.size === 0n) {
    Object.assign(at, { state: undefined, stats: undefined });
    return;
  }
  if (isSame(at.stats, now)) return;
  if (state === undefined || (await proveState(path, [state])) === undefined) throw changed(path);
  at.stats = now;
}

async function publish(at: At, { isDelta, epoch, judge, ...options }: NextState): Promise<RestoreFileResult> {
  const { path, directory, state } = at;
  let next: StandbyState | undefined;
  let left = at.left;
  const base = isDelta && state !== undefined ? baseOf(path, state) : undefined;
  const bytes = Math.max(Number(at.stats?.size ?? 0n), options.plan.bytes);
  const made: { stats: BigIntStats | undefined } = { stats: undefined };
  const result = await restoreFile({
    ...options,
    ...{ output: path, tempDir: directory, force: true, hasReaders: true },
    ...(base === undefined ? {} : { base, copyOf: path }),
    ...(bytes < threadsBytesMin ? {} : { threads: Math.min(availableParallelism(), 4) }),
    async onChecked({ generation, txId, stampMs, stateHash, check }) {
      if (stateHash === undefined || check === undefined)
        throw new PageferryError("corrupt", `${formatTxId(txId)} of ${generation}: it cannot be proved`);
      next = { generation, epoch, txId, stampMs, stateHash };
      left = leftAfter(at, next);
    },
    async beforePublish(file) {
      await judge?.(file);
      made.stats = await statsOf(file);
      await look(at);
      await writeNote(directory, { states: [next, at.state].filter((one) => one !== undefined), left });
      await keepForerunner(path, directory);
    },
  });
  const before = at.stats;
  Object.assign(at, { state: next, left, stats: made.stats });
  await releaseForerunner(path, directory, before);
  if (next !== undefined) await writeNote(directory, { states: [next], left });
  return result;
}

function leftAfter({ state, left }: At, next: StandbyState): StandbyNote["left"] {
  if (state === undefined || state.generation === next.generation) return left;
  return [state.generation, ...left.filter((one) => one !== next.generation)].slice(0, leftMax);
}

/** The file's own meta: it is of the state that was proved, or the end will not be what it must. */
function baseOf(path: string, { txId, stateHash }: StandbyState): RestoreBase {
  using source = openPageSource(path);
  const meta = newestMeta(source.read(0, 1), source.read(1, 1));
  if (meta?.txId !== txId) throw changed(path);
  return { name: path, meta, stateHash };
}

function writeNote(directory: string, note: StandbyNote): Promise<void> {
  return writeFileDurable(join(directory, noteFile), encodeStandbyNote(note), { overwrite: true });
}

/** A second name for the file that is about to be replaced. Whoever opened it just then, to write, is found by it. */
async function keepForerunner(path: string, directory: string): Promise<void> {
  const forerunner = join(directory, forerunnerFile);
  await rm(forerunner, { force: true });
  await link(path, forerunner).catch((error: NodeJS.ErrnoException) => {
    // Nothing is there yet, or a file system without second names: then the look before must do.
    if (!["ENOENT", "EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(error.code ?? ""))
      throw fromFileSystem(error, `replacing ${path}`);
  });
}

async function releaseForerunner(
  path: string,
  directory: string,
  before: BigIntStats | undefined,
): Promise<void> {
  const forerunner = join(directory, forerunnerFile);
  const now = await statsOf(forerunner);
  if (now === undefined) return;
  const writer = await writerOf(forerunner);
  if (writer === undefined && (before === undefined || isSame(before, now))) {
    await rm(forerunner, { force: true });
    return;
  }
  throw new PageferryError(
    "conflict",
    `${path}: ${writer ?? "somebody"} opened it to write while it was being replaced`,
    { hint: `What it writes goes to ${forerunner}. Stop it, and see what is in there before you remove it.` },
  );
}

/** Who holds bolt's exclusive lock. */
async function writerOf(path: string): Promise<string | undefined> {
  const lock = (await fileLocks(path)).find(({ isExclusive }) => isExclusive);
  if (lock === undefined) return undefined;
  return lock.pid === 0 ? "a process" : `process ${lock.pid}`;
}

function isSame(before: BigIntStats | undefined, now: BigIntStats): boolean {
  return before?.ino === now.ino && before.size === now.size && before.mtimeNs === now.mtimeNs;
}

async function statsOf(path: string): Promise<BigIntStats | undefined> {
  try {
    return await stat(path, { bigint: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw fromFileSystem(error, `looking at ${join(dirname(path), "")}`);
  }
}
