// The page tables in a database's directory, `pages-<n>.table`, and the reserve: with a table and a cursor more a full disk can be freed. Written
// by one at a time: the database's upkeep.
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { encodePageTable, type SavedTable } from "./page-table-file.ts";
import { referenceFile } from "./reference.ts";
import { becomeReserve, keepReserve, writeWithReserve } from "./reserve.ts";

const tablePattern = /^pages-(\d+)\.table$/;
const tableReserve = "reserve";

/** A table grows with its database: what the next has more has room by this, and so has one of a database that was small. */
const growth = 1.25;
const tableGrowthBytes = 16_384;

/** The file of the table of this number, from 1. */
export function tableFile(number: number): string {
  return `pages-${number}.table`;
}

/** The number in the name of a page table's file; 0 for another name. */
export function tableNumberOf(file: string | undefined): number {
  return Number(tablePattern.exec(file ?? "")?.[1] ?? 0);
}

/** Writes a table durably, on a full disk in the room of the reserve. */
export async function writeTable(
  directory: string,
  file: string,
  { table, ...saved }: SavedTable,
): Promise<void> {
  const bytes = encodePageTable({ ...saved, pageSize: table.pageSize, dump: table.dump() });
  await writeWithReserve(join(directory, file), bytes, join(directory, tableReserve));
}

/** Removes the page tables that are older than `kept`, and the one that the start was made from. A reserve that is missing is made of one. */
export async function retireTables(directory: string, kept: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (name === referenceFile) await rm(join(directory, name), { force: true });
    if (tablePattern.test(name) && tableNumberOf(name) < tableNumberOf(kept))
      await becomeReserve(join(directory, name), join(directory, tableReserve));
  }
}

/** Keeps room for the next page table, as far as there is some. */
export async function keepTableRoom(directory: string, file: string): Promise<void> {
  const size = await stat(join(directory, file)).then(
    (stats) => stats.size,
    () => 0,
  );
  await keepReserve(join(directory, tableReserve), Math.ceil(size * growth) + tableGrowthBytes);
}
