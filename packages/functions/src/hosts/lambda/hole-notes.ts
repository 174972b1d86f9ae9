// Since when holes in histories are known, kept from one process to the next: what is missing is asked for only when it was missing for a
// while, and no process may live that long.

import type { DatabaseName } from "@pageferry/format";
import { z } from "zod";
import type { Notes } from "../../notes.ts";

/** What their notes begin with. */
export const holeNotes = "holes/";

const holesSchema = z.record(z.string(), z.number());

export interface HoleNotes {
  /** A database's, to be read and changed. */
  of(database: DatabaseName): Map<string, number>;
  /** Notes what changed since `of`. */
  keep(database: DatabaseName): void;
}

export function createHoleNotes(notes: Notes): HoleNotes {
  const opened = new Map<DatabaseName, Map<string, number>>();
  const nameOf = (database: DatabaseName) => holeNotes + database;
  return {
    of(database) {
      const holes = parseHoles(notes.notes(nameOf(database)).get(nameOf(database)));
      opened.set(database, holes);
      return holes;
    },
    keep(database) {
      const holes = opened.get(database);
      if (holes === undefined) return;
      const text = JSON.stringify(Object.fromEntries([...holes].sort(([a], [b]) => (a < b ? -1 : 1))));
      const before = notes.notes(nameOf(database)).get(nameOf(database));
      if (holes.size === 0) notes.dropNote(nameOf(database));
      else if (text !== before) notes.setNote(nameOf(database), text);
    },
  };
}

/** What cannot be read is seen anew, and waited for once more. */
function parseHoles(text: string | undefined): Map<string, number> {
  try {
    return new Map(Object.entries(holesSchema.parse(JSON.parse(text ?? "{}"))));
  } catch {
    return new Map();
  }
}
