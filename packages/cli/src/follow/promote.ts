// A standby that is now the database of an application: the generation that begins names the point that it was as its parent, as after any
// restore. See docs/operations.md#a-warm-standby.

import { readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { lockDatabase, noteRestored } from "@pageferry/agent";
import {
  type Config,
  type DatabaseConfig,
  formatTxId,
  isPageferryError,
  PageferryError,
  parseStandbyNote,
  type StandbyNote,
  type StandbyState,
} from "@pageferry/format";
import { fromFileSystem } from "@pageferry/format/node";
import type { Io } from "../io.ts";
import { formatTime } from "../table.ts";
import { proveState } from "./prove.ts";
import { followDirectory, noteFile, sweepStandby } from "./standby.ts";

interface Place {
  readonly config: Pick<Config, "databases">;
  readonly shadowDir: string;
  readonly io: Io;
}

const promoteHint =
  "Let pageferry write to the directory of the file for one start (`ReadWritePaths` of its unit), or remove its `.follow` directory.";

/** Notes what each configured database that was a standby was restored from, before its backup begins. Errors: `locked` while it is followed. */
export async function promoteStandbys({ config, shadowDir, io }: Place): Promise<void> {
  for (const database of config.databases) {
    const path = resolve(database.path);
    const note = await noteOf(path, io, database);
    if (note !== undefined) await promote(database, note, { path, shadowDir, io });
  }
}

async function promote(
  { name, shadowDirectory }: DatabaseConfig,
  note: StandbyNote,
  { path, shadowDir, io }: Pick<Place, "shadowDir" | "io"> & { readonly path: string },
): Promise<void> {
  const directory = followDirectory(path);
  const lock = await lockOf(path, { name, io });
  if (lock === undefined) return;
  const { state, isProven } = await stateOf(path, note, { name, io }).finally(() => lock.close());
  // The commits of a shadow directory go on from a state of their own.
  if (state !== undefined && shadowDirectory === undefined) {
    await noteRestored(join(shadowDir, name), state, isProven ? path : undefined);
    io.err(
      `note: ${name}: ${path} was a standby, at transaction ${formatTxId(state.txId)}, committed ${formatTime(state.stampMs)}: a new generation begins\n`,
    );
  }
  await clear({ path, directory, note, io, name });
}

/** Undefined: what belonged to following cannot be changed, as on a file system that is read-only. Errors: `locked` while it is followed. */
async function lockOf(path: string, { name, io }: Pick<Clearing, "name" | "io">) {
  try {
    return await lockDatabase({ databasePath: path, directory: followDirectory(path) });
  } catch (cause) {
    if (!isPageferryError(cause)) throw cause;
    if (cause.code === "locked") {
      throw new PageferryError("locked", `${path}: it is a standby that is being followed`, {
        cause,
        hint: "Stop `pageferry restore --follow` first: two cannot write one file.",
      });
    }
    io.err(
      `warning: ${name}: ${path} was a standby, and what begins will not say so: ${cause.message}\nhint: ${promoteHint}\n`,
    );
    return undefined;
  }
}

interface Standing {
  /** The point that a standby was. Undefined: it is gone, and whatever comes in its place did not come from there. */
  readonly state: StandbyState | undefined;
  /** The file is that state, page by page. */
  readonly isProven: boolean;
}

async function stateOf(
  path: string,
  { states }: StandbyNote,
  { name, io }: Pick<Clearing, "name" | "io">,
): Promise<Standing> {
  try {
    const proven = await proveState(path, states, io.signal);
    // An application that has begun to write left the history at the older one, or after it.
    return { state: proven ?? states.at(-1), isProven: proven !== undefined };
  } catch (error) {
    io.signal.throwIfAborted();
    if (!isPageferryError(error)) throw error;
    const isGone = error.code === "not-found";
    io.err(`warning: ${name}: ${isGone ? `${path} was a standby, and is gone` : error.message}\n`);
    return { state: isGone ? undefined : states.at(-1), isProven: false };
  }
}

interface Clearing {
  readonly path: string;
  readonly directory: string;
  readonly note: StandbyNote;
  readonly io: Io;
  readonly name: string;
}

/** Removes what belonged to following; what somebody wrote to a file while it was being replaced is nobody's to remove. */
async function clear({ path, directory, note, io, name }: Clearing): Promise<void> {
  try {
    await sweepStandby({ path, directory, note, signal: io.signal });
  } catch (error) {
    io.signal.throwIfAborted();
    if (!isPageferryError(error)) throw error;
    io.err(`warning: ${name}: ${error.message}\nhint: ${error.hint}\n`);
    // Without its note it is no standby any more.
    await rm(join(directory, noteFile));
    return;
  }
  await rm(directory, { recursive: true, force: true });
}

async function noteOf(path: string, io: Io, { name }: DatabaseConfig): Promise<StandbyNote | undefined> {
  const file = join(followDirectory(path), noteFile);
  try {
    return parseStandbyNote(await readFile(file), file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    // A backup begins all the same, and then names no parent.
    const failure = fromFileSystem(error, `reading ${file}`);
    if (!isPageferryError(failure)) throw failure;
    io.err(`warning: ${name}: ${failure.message}\n`);
    return undefined;
  }
}
