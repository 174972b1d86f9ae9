// Generations of which two histories were found: what comes of them is refused, so that their agents stop and say so. Kept in
// the queue's notes until somebody has decided, or a newer generation has taken their place.

import { type DatabaseName, type Generation, PageferryError } from "@pageferry/format";
import { z } from "zod";
import type { Alarms } from "./alarms.ts";
import type { ForkFound } from "./deliver.ts";
import type { Notes } from "./notes.ts";

export interface Forks {
  /** Notes a fork. One that is only a stored object that cannot be read is no other history, and is not noted. */
  found(fork: ForkFound): void;
  /** Throws `fork` for a generation whose fork was found. */
  check(database: DatabaseName, begin: { readonly generation: Generation; readonly epoch: number }): void;
  /** Takes what comes of them again, of one database or of all; what contradicts is found again. Returns how many there were. */
  forgive(database?: DatabaseName): number;
  /** Takes what others have noted since. */
  reload(): void;
}

export interface ForksOptions {
  readonly alarms: Alarms;
  readonly notes: Notes;
}

interface Fork {
  readonly epoch: number;
  readonly replica: string;
  readonly why: string;
  /** All that told of it, as far as this process has heard: each has its alarm. */
  readonly replicas: Set<string>;
}

const notePrefix = "fork/";

const forkSchema = z.object({ epoch: z.number(), replica: z.string(), why: z.string() });

export function createForks({ alarms, notes }: ForksOptions): Forks {
  const known = new Map<string, Map<string, Fork>>();
  const reload = (): void => {
    known.clear();
    for (const [name, value] of notes.notes(notePrefix)) {
      const [database = "", generation = ""] = name.slice(notePrefix.length).split("/");
      const fork = parseFork(value);
      if (fork === undefined) continue;
      remember(known, database, generation, fork);
      raise(alarms, database, fork);
    }
  };
  reload();
  const forget = (database: string, generation: string): void => {
    const forks = known.get(database);
    const told = forks?.get(generation)?.replicas ?? [];
    forks?.delete(generation);
    notes.dropNote(`${notePrefix}${database}/${generation}`);
    const left = new Set([...(forks?.values() ?? [])].flatMap(({ replicas }) => [...replicas]));
    for (const replica of told) if (!left.has(replica)) alarms.clear({ code: "fork", database, replica });
  };
  return {
    reload,
    found({ database, generation, epoch, replica, why, isUnreadable }) {
      if (isUnreadable) return;
      const before = known.get(database)?.get(generation);
      before?.replicas.add(replica);
      if (before !== undefined) return;
      const fork = { epoch, replica, why };
      remember(known, database, generation, { ...fork, replicas: new Set([replica]) });
      notes.setNote(`${notePrefix}${database}/${generation}`, JSON.stringify(fork));
    },
    check(database, { generation, epoch }) {
      const forks = known.get(database);
      if (forks === undefined) return;
      const fork = forks.get(generation);
      if (fork !== undefined) {
        const message = `generation ${generation} of ${database} has two histories: ${fork.replica}: ${fork.why}`;
        throw new PageferryError("fork", message, {
          hint: "Stop one of the two agents and start the other again: it begins a new generation. Both histories are kept.",
        });
      }
      for (const [other, { epoch: older }] of forks) if (older < epoch) forget(database, other);
    },
    forgive(database) {
      const databases = database === undefined ? [...known.keys()] : [database];
      const all = databases.flatMap((name) => [...(known.get(name)?.keys() ?? [])].map((one) => [name, one]));
      for (const [name = "", generation = ""] of all) forget(name, generation);
      return all.length;
    },
  };
}

function remember(
  known: Map<string, Map<string, Fork>>,
  database: string,
  generation: string,
  fork: Fork,
): void {
  const forks = known.get(database) ?? new Map<string, Fork>();
  known.set(database, forks.set(generation, fork));
}

function raise(alarms: Alarms, database: string, { replica, why }: Fork): void {
  alarms.raise({
    code: "fork",
    database,
    replica,
    message: `${replica}: ${why}; a copy is in its quarantine`,
    hint: "Stop one of the two agents; both histories are kept.",
  });
}

function parseFork(value: string): Fork | undefined {
  try {
    const fork = forkSchema.parse(JSON.parse(value));
    return { ...fork, replicas: new Set([fork.replica]) };
  } catch {
    return undefined;
  }
}
