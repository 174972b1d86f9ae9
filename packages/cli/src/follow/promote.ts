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
} from "@pageferry/format";
import type { Io } from "../io.ts";
import { formatTime } from "../table.ts";
import { proveState } from "./prove.ts";
import { followDirectory, noteFile, sweepStandby } from "./standby.ts";

interface Place {
  readonly config: Pick<Config, "databases">;
  readonly shadowDir: string;
  readonly io: Io;
}

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
  const lock = await lockDatabase({ databasePath: path, directory }).catch((cause: unknown) => {
    if (!isPageferryError(cause, "locked")) throw cause;
    throw new PageferryError("locked", `${path}: it is a standby that is being followed`, {
      cause,
      hint: "Stop `pageferry restore --follow` first: two cannot write one file.",
    });
  });
  // An application that has begun to write left the history at the older one, or after it.
  const proven = await proveState(path, note.states, io.signal);
  const state = proven ?? note.states.at(-1);
  await lock.close();
  // The commits of a shadow directory go on from a state of their own.
  if (state !== undefined && shadowDirectory === undefined) {
    await noteRestored(join(shadowDir, name), state, proven && path);
    io.err(
      `note: ${name}: ${path} was a standby, at transaction ${formatTxId(state.txId)}, committed ${formatTime(state.stampMs)}: a new generation begins\n`,
    );
  }
  await clear({ path, directory, note, io, name });
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
    if (!isPageferryError(error, "conflict")) throw error;
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
    // A backup begins all the same, and then names no parent.
    if (isPageferryError(error)) io.err(`warning: ${name}: ${error.message}\n`);
    return undefined;
  }
}
