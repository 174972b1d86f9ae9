// The companion files of a database that is restored on start: those that are missing come back to their places, where the configuration asks for
// that; else it is said that they can be had.

import {
  type DatabaseConfig,
  isPageferryError,
  parseCompanionsName,
  type RestorePlan,
  readCompanions,
} from "@pageferry/format";
import type { BackupSource } from "./backup-source.ts";
import { placesInPlace } from "./companion-places.ts";
import { tell } from "./companion-restore.ts";
import { writeCompanions } from "./companion-write.ts";
import type { Io } from "./io.ts";
import { formatTime } from "./table.ts";

/** Whose files, and of which point. */
export interface CompanionsOnStart {
  readonly database: DatabaseConfig;
  readonly plan: RestorePlan;
  readonly source: BackupSource;
  /** The database comes back to its own path. */
  readonly isInPlace: boolean;
  /** `restore.files`. */
  readonly isWanted: boolean;
}

/**
 * Restores them; what is there is left as it is. Errors, where they are wanted: what reading and writing throw, and the database is not
 * restored then.
 */
export async function restoreCompanionsOnStart(
  { database, plan, source, isInPlace, isWanted }: CompanionsOnStart,
  io: Io,
): Promise<void> {
  const isAsked = isWanted && isInPlace && database.files !== undefined;
  const entry = await source.companions(plan, {}, io.signal).catch((error: unknown) => {
    io.signal.throwIfAborted();
    if (isAsked || !isPageferryError(error)) throw error;
    return undefined;
  });
  if (entry === undefined) return;
  if (!isAsked) {
    const time = formatTime(parseCompanionsName(entry.name)?.stampMs ?? null);
    io.err(
      `note: ${database.name}: there are companion files, of ${time}: \`pageferry restore --files DIR\` restores them, restore.files does at a start\n`,
    );
    return;
  }
  const version = await readCompanions(source.readers, entry, { signal: io.signal });
  const places = placesInPlace(version, database);
  const written = await writeCompanions(places.placed, { overwrite: false });
  tell({ version, places, written, plan }, io);
  const [failed] = written.failed;
  if (failed !== undefined) throw failed.error;
}
