// What the observer needs of the database it observes: one committed state that can be read for as long as it takes.
import { type Meta, PageferryError, parseMeta } from "@pageferry/format";

/** A database in this process. Bolt's `db.View(tx)` is such a port. */
export interface ObservedDatabase {
  /** Its file. It names the database, and tells a restart whether it is the same one. */
  readonly path: string;
  readonly pageSize: number;
  /**
   * Gives `read` the newest committed state, at or after everything that was told. Until what `read` returns settles, no page that
   * is reachable in that state may be overwritten; writers need not wait.
   */
  view<Result>(read: (transaction: ObservedTransaction) => Promise<Result>): Promise<Result>;
}

/** One committed state of it. */
export interface ObservedTransaction {
  /** The meta page of this very transaction: its first 80 bytes or more, with its checksum. */
  readonly metaPage: Uint8Array;
  /** The `count` pages from `id` on, side by side. They are looked at before the next call. */
  readPages(id: number, count: number): Uint8Array | Promise<Uint8Array>;
}

/** The meta of a transaction. Throws `corrupt` when it does not hold. */
export function metaOf(database: ObservedDatabase, transaction: ObservedTransaction): Meta {
  const meta = parseMeta(transaction.metaPage);
  if (meta !== undefined && meta.pageSize === database.pageSize) return meta;
  const what = meta === undefined ? "does not hold" : `has a page size of ${meta.pageSize}`;
  throw new PageferryError("corrupt", `${database.path}: the meta page of its newest transaction ${what}`);
}

/** Reads pages, all of them. Throws `corrupt` when there are fewer. */
export async function readPages(
  database: ObservedDatabase,
  transaction: ObservedTransaction,
  id: number,
  count: number,
): Promise<Uint8Array> {
  const pages = await transaction.readPages(id, count);
  if (pages.length === count * database.pageSize) return pages;
  const message = `${database.path}: ${count} pages from ${id} on are ${pages.length} bytes long`;
  throw new PageferryError("corrupt", message);
}
