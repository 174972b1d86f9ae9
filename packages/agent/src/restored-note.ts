// What a database was restored from, noted beside its shadow before the file is there: the generation that then begins names
// it as its parent, also where everything ended in between. The archive is the same for all machines, this note is this one's.
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  formatTxId,
  type GenerationParent,
  PageferryError,
  parseGeneration,
  parseTxId,
} from "@pageferry/format";
import { fromFileSystem, makeDirectoryDurable, writeFileDurable } from "@pageferry/format/node";
import { z } from "zod";

const fileName = "restored.json";

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
});

/**
 * Notes that the file of a database will be this point of the archive. `directory` is the database's own, `<shadowDir>/<name>`. To
 * be called before the file has its name, by whoever restores; the next agent begins a generation of which the point is the parent.
 */
export async function noteRestored(directory: string, { generation, txId }: GenerationParent): Promise<void> {
  await makeDirectoryDurable(directory);
  const json = { version: 1, generation, txid: formatTxId(txId) };
  await writeFileDurable(join(directory, fileName), Buffer.from(`${JSON.stringify(json)}\n`), {
    overwrite: true,
  });
}

/** Reads the note; `null`: there is none. Errors: `corrupt`. */
export async function readRestored(directory: string): Promise<GenerationParent | null> {
  const path = join(directory, fileName);
  try {
    const { generation, txid } = noteSchema.parse(JSON.parse(await readFile(path, "utf8")));
    return { generation, txId: txid };
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
}
