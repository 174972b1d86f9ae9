// What all groups of routes ask of a request: the database in its path, and the replicas that are meant.

import { type DatabaseName, PageferryError, parseDatabaseName } from "@pageferry/format";
import type { Context } from "hono";
import { grantOfCall } from "./access.ts";
import type { ArchivePlace } from "./archive-api.ts";
import type { HostReader } from "./host-reader.ts";
import { covers } from "./scopes.ts";

/** Whose archive, and through which readers. */
export interface Place extends ArchivePlace {
  readonly database: DatabaseName;
}

export interface Parsed {
  /** The database in the path; throws `not-found` for one that is not backed up here. */
  readonly known: (context: Context) => Promise<DatabaseName>;
  /** The same with its replicas, or those that `replica` names; throws `not-found` likewise. */
  readonly placeOf: (context: Context, replica: string | undefined) => Promise<Place>;
}

interface ParsedOptions {
  readonly databases: () => Promise<readonly DatabaseName[]>;
  readonly readers: (database: DatabaseName) => Promise<readonly HostReader[]>;
}

export function createParsed(options: ParsedOptions): Parsed {
  const known = async (context: Context): Promise<DatabaseName> => {
    const database = parseDatabaseName(context.req.param("database") ?? "");
    const databases = await options.databases();
    if (databases.includes(database)) return database;
    const grant = grantOfCall(context);
    const names = databases
      .filter((name) => covers(grant, name))
      .slice(0, 20)
      .join(", ");
    throw new PageferryError("not-found", `database ${database} is not backed up here`, {
      hint: names === "" ? "No database is backed up here yet." : `There are ${names}.`,
    });
  };
  return {
    known,
    async placeOf(context, replica) {
      const database = await known(context);
      const readers = await options.readers(database);
      if (replica === undefined) return { database, readers };
      const found = readers.filter(({ name }) => name === replica || name.startsWith(`${replica}/`));
      if (found.length > 0) return { database, readers: found };
      throw new PageferryError("not-found", `replica ${replica.slice(0, 200)} is not configured`, {
        hint: `There are ${readers.map(({ name }) => name).join(", ")}.`,
      });
    },
  };
}
