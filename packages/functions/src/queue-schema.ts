// The queue's one file: its tables, how it is opened, and what its errors mean. docs/decisions/0003 says why it is ours.

import { closeSync, openSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { PageferryError } from "@pageferry/format";
import { fromFileSystem } from "@pageferry/format/node";

/** Raised when the tables change; an older program refuses a newer file instead of misreading it. */
const schemaVersion = 2;

/**
 * A body is stored once. A delivery is one lane's turn with it; when the last delivery is gone, so is the body.
 * `dead_at` set: a dead letter, kept for a human. `staged`: large bodies on disk that a message points at; in a delivery, how
 * many bytes they are. `elsewhere`: another replica has stored all of the message. `since`: when it came, or died, by the
 * queue's observed time.
 */
const tables = `
  CREATE TABLE IF NOT EXISTS body (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    database TEXT NOT NULL,
    bytes BLOB NOT NULL,
    received_at INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS delivery (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    body INTEGER NOT NULL REFERENCES body (id),
    database TEXT NOT NULL,
    size INTEGER NOT NULL,
    lane TEXT NOT NULL,
    visible_at INTEGER NOT NULL,
    receives INTEGER NOT NULL DEFAULT 0,
    dead_at INTEGER,
    error TEXT,
    elsewhere INTEGER NOT NULL DEFAULT 0,
    staged INTEGER NOT NULL DEFAULT 0,
    since INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX IF NOT EXISTS delivery_turn ON delivery (lane, dead_at, id);
  CREATE INDEX IF NOT EXISTS delivery_body ON delivery (body);
  CREATE TABLE IF NOT EXISTS staged (
    body INTEGER NOT NULL REFERENCES body (id),
    digest TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS staged_body ON staged (body);
  CREATE INDEX IF NOT EXISTS staged_digest ON staged (digest);
  CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
`;

/** Looked up by what a lane may let go, and by the oldest of a database. */
const indexes = `
  CREATE INDEX IF NOT EXISTS delivery_spare ON delivery (lane, id) WHERE elsewhere = 1 AND dead_at IS NULL;
  CREATE INDEX IF NOT EXISTS delivery_database ON delivery (lane, database, dead_at, id);
`;

/** What version 1 did not know: nothing is known to be stored elsewhere, and everything came just now. */
const fromVersion1 = `
  ALTER TABLE delivery ADD COLUMN elsewhere INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE delivery ADD COLUMN staged INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE delivery ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
`;

/** Opens the file for this process alone; a second process is told `locked`. Makes it, mode 0600, if it is not there. */
export function openQueueFile(path: string): DatabaseSync {
  try {
    // SQLite gives its log the mode of the database file, so making that first keeps both private.
    if (path !== ":memory:") closeSync(openSync(path, "a", 0o600));
    const db = new DatabaseSync(path, { timeout: 1000 });
    try {
      prepare(db, path);
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  } catch (error) {
    throw fromSqlite(error, `queue ${path}`);
  }
}

function prepare(db: DatabaseSync, path: string): void {
  db.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;");
  // The log is copied back at 32 MB: seldom, because that does hold up the process, and small enough for the disk.
  db.exec(
    "PRAGMA wal_autocheckpoint = 8000; PRAGMA journal_size_limit = 67108864; PRAGMA foreign_keys = ON;",
  );
  const { user_version: version } = db.prepare("PRAGMA user_version").get() as { user_version: number };
  if (version > schemaVersion) {
    throw new PageferryError(
      "unsupported-version",
      `queue ${path}: written by a newer pageferry (schema ${version})`,
    );
  }
  const changes = version === 1 ? fromVersion1 : "";
  db.exec(`BEGIN IMMEDIATE; ${tables} ${changes} ${indexes} PRAGMA user_version = ${schemaVersion}; COMMIT;`);
}

const sqliteBusy = 5;
const sqliteReadonly = 8;
const sqliteIoErr = 10;
const sqliteCorrupt = 11;
const sqliteFull = 13;
const sqliteCantOpen = 14;
const sqliteNotADb = 26;

/** Puts all of the log into the database file, durably; the log then begins anew. */
export function copyBack(db: DatabaseSync): void {
  db.exec("PRAGMA synchronous = FULL");
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
}

/** On a full disk the log cannot grow; copied back, it begins anew, and what is to be removed can be. */
export function makeRoom(db: DatabaseSync): void {
  try {
    copyBack(db);
  } catch {
    // As full as before: the error that led here is told.
  }
}

/** Tells whether SQLite found no room to write. */
export function isFull(error: unknown): boolean {
  const { errcode } = error as { readonly errcode?: number };
  return errcode !== undefined && (errcode & 0xff) === sqliteFull;
}

/** Turns what SQLite or the file system threw into a coded error; `doing` names the file. */
export function fromSqlite(error: unknown, doing: string): unknown {
  if (error instanceof PageferryError || !(error instanceof Error)) return error;
  const { errcode, code } = error as Error & { readonly errcode?: number; readonly code?: string };
  const options = { cause: error };
  if (code === "ENOENT")
    return new PageferryError("not-found", `${doing}: its directory is not there`, options);
  // Node's own errors, such as of a file that is closed, are mistakes of ours.
  if (errcode === undefined) return code?.startsWith("ERR_") ? error : fromFileSystem(error, doing);
  switch (errcode & 0xff) {
    case sqliteBusy:
      return new PageferryError("locked", `${doing}: another process serves from it`, options);
    case sqliteFull:
      return new PageferryError("disk-full", `${doing}: ${error.message}`, options);
    case sqliteCorrupt:
    case sqliteNotADb:
      return new PageferryError("corrupt", `${doing}: ${error.message}`, options);
    case sqliteReadonly:
    case sqliteCantOpen:
      return new PageferryError("unauthorized", `${doing}: ${error.message}`, {
        ...options,
        hint: "Look at the owner and mode of the named file and its directory, and whether anything may be written there.",
      });
    case sqliteIoErr:
      return new PageferryError("unavailable", `${doing}: ${error.message}`, options);
    default:
      return error;
  }
}
