// What a database was restored from, noted beside its shadow before the file is there: the generation that then begins names
// it as its parent, also where everything ended in between. The archive is the same for all machines, this note is this one's.
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  formatStateHash,
  formatTxId,
  type GenerationParent,
  PageferryError,
  parseGeneration,
  parseStateHash,
  parseTxId,
  type StateHash,
} from "@pageferry/format";
import {
  fromFileSystem,
  fsyncDirectory,
  makeDirectoryDurable,
  writeFileDurable,
} from "@pageferry/format/node";
import { z } from "zod";
import { forgetRestoredTable, writeRestoredTable } from "./restored-table.ts";

const fileName = "restored.json";

/** A point of the archive that a file was restored to. */
export interface RestoredPoint extends GenerationParent {
  /** The state that the file had then; null: whoever restored it did not say. */
  readonly stateHash: StateHash | null;
  /** Its commit stamp, ms; null likewise. */
  readonly stampMs: number | null;
}

/** What whoever restores knows of it. */
export interface RestoredFacts extends GenerationParent {
  readonly stateHash?: StateHash | null | undefined;
  readonly stampMs?: number | null | undefined;
}

const noteSchema = z.object({
  version: z.literal(1),
  generation: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .transform(parseGeneration),
  txid: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .transform(parseTxId),
  // Older notes have none.
  stateHash: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .transform(parseStateHash)
    .nullable()
    .default(null),
  stampMs: z.number().nullable().default(null),
});

/**
 * Notes that the file of a database will be this point of the archive. `directory` is the database's own, `<shadowDir>/<name>`. To be called
 * before the file has its name, by whoever restores; the next agent begins a generation of which the point is the parent. `file` is the restored
 * file as long as nobody writes it: its page table is kept, so that the agent need not send the whole database again.
 */
export async function noteRestored(directory: string, point: RestoredFacts, file?: string): Promise<void> {
  const { generation, txId, stateHash = null, stampMs = null } = point;
  await makeDirectoryDurable(directory);
  // An older one is of another restore.
  await forgetRestored(directory);
  if (file !== undefined && stateHash !== null) {
    // Without it the database is sent once more, which is no reason not to restore it.
    await writeRestoredTable(directory, file, { txId, stateHash }).catch(() =>
      forgetRestoredTable(directory),
    );
  }
  const state = stateHash === null ? null : formatStateHash(stateHash);
  const json = { version: 1, generation, txid: formatTxId(txId), stateHash: state, stampMs };
  await writeFileDurable(join(directory, fileName), Buffer.from(`${JSON.stringify(json)}\n`), {
    overwrite: true,
  });
}

/** Reads the note; `null`: there is none. Errors: `corrupt`. */
export async function readRestored(directory: string): Promise<RestoredPoint | null> {
  const path = join(directory, fileName);
  try {
    const { txid, version: _, ...point } = noteSchema.parse(JSON.parse(await readFile(path, "utf8")));
    return { ...point, txId: txid };
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return null;
    const isRead = cause instanceof SyntaxError || cause instanceof z.ZodError;
    if (!isRead) throw fromFileSystem(cause, `reading ${path}`);
    throw new PageferryError("corrupt", `${path}: it is no note of a restore`, {
      cause,
      hint: "Remove it: the next generation then names no parent.",
    });
  }
}

/** Removes the note: the generation has begun, or nothing was restored after all. */
export async function forgetRestored(directory: string): Promise<void> {
  await rm(join(directory, fileName), { force: true });
  await forgetRestoredTable(directory);
  // One that a power loss brought back would begin a generation at its point once more, and leave out the one in between.
  await fsyncDirectory(directory);
}
