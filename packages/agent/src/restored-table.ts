// The page table of a file that was just restored, made by whoever restored it: with it an agent that comes later, when the application may have
// committed already, still tells what is new. It becomes the first checkpoint of the generation that begins.
import { link, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as yieldToEvents } from "node:timers/promises";
import {
  createXxh3,
  isPageferryError,
  livePages,
  newestMeta,
  pageDigestBytes,
  type StateHash,
  type TxId,
} from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";
import { createPageTable, type PageTable } from "./page-table.ts";
import { writePageTable } from "./page-table-file.ts";

/** The table's file, in a database's own directory. */
export const restoredTableFile = "restored.table";

/** Where the table lies, for a database's own directory. */
export function restoredTablePath(directory: string): string {
  return join(directory, restoredTableFile);
}

/** Pages between two turns of others: some milliseconds. */
const pagesAtOnce = 2048;

/**
 * Writes the table of the file at `path`, durably. False: the file is not that state, and there is no table. Errors: those of reading the file and
 * of the disk.
 */
export async function writeRestoredTable(
  directory: string,
  path: string,
  state: { readonly txId: TxId; readonly stateHash: StateHash },
): Promise<boolean> {
  await forgetRestoredTable(directory);
  const table = await tableOf(path, state.txId);
  if (table?.stateHash() !== state.stateHash) return false;
  const { txId, stateHash } = state;
  await writePageTable(restoredTablePath(directory), { txId, stateHash, table });
  return true;
}

/** The table of all live pages; `undefined` where the file is at another transaction, or somebody writes it. */
async function tableOf(path: string, txId: TxId): Promise<PageTable | undefined> {
  using source = openPageSource(path);
  const { pageSize } = source;
  const meta = newestMeta(source.read(0, 1), source.read(1, 1));
  if (meta?.txId !== txId) return undefined;
  const table = createPageTable(pageSize);
  const xxh3 = createXxh3();
  let pages = 0;
  try {
    for (const { id, run } of livePages(source, meta)) {
      const blocks = run.length / pageSize;
      const digests = new Uint8Array(blocks * pageDigestBytes);
      for (let block = 0; block < blocks; block += 1) {
        const bytes = run.subarray(block * pageSize, (block + 1) * pageSize);
        xxh3.pageDigest(id + block, bytes, digests, block * pageDigestBytes);
      }
      table.addRun({ id, overflow: blocks - 1, digests });
      const isTurn = Math.floor((pages + blocks) / pagesAtOnce) > Math.floor(pages / pagesAtOnce);
      pages += blocks;
      if (isTurn) await yieldToEvents();
    }
  } catch (error) {
    if (!isPageferryError(error, "corrupt")) throw error;
    return undefined;
  }
  return table;
}

/**
 * Gives the table the name of a checkpoint, which a cursor then names; false: there is none. It keeps its own until it is forgotten: before the
 * cursor is durable it is still what a start goes on from.
 */
export async function adoptRestoredTable(directory: string, name: string): Promise<boolean> {
  const [from, to] = [restoredTablePath(directory), join(directory, name)];
  return link(from, to)
    .catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") throw error;
      // A file system without hard links.
      return rename(from, to);
    })
    .then(
      () => true,
      () => false,
    );
}

/** Removes the table. */
export async function forgetRestoredTable(directory: string): Promise<void> {
  await rm(restoredTablePath(directory), { force: true });
}
