// The databases of an agent: one of a name at a time, opened and let go while others are at work.
import { type DatabaseName, type Farewell, PageferryError } from "@pageferry/format";
import type { DatabaseAgent } from "./database.ts";
import type { DatabasePlace } from "./database-state.ts";

/** What to do about two databases of one name. */
export const nameHint = "Give one of them another name; it is what its backups are found under.";

/** Databases at work, by name. */
export interface Roster {
  /** Throws `bad-config` when the name is taken, and what opening throws. */
  open(place: DatabasePlace): Promise<void>;
  /**
   * False: the host was not told the farewell. Throws `not-found` when there is none of that name, or it is coming or going; what stopping
   * throws, and it is let go all the same.
   */
  close(name: DatabaseName, deadlineMs: number, farewell?: Farewell): Promise<boolean>;
  get(name: string): DatabaseAgent | undefined;
  size(): number;
  /** By name. */
  all(): readonly DatabaseAgent[];
  /** Stops all, those that are being opened too. They stay listed. Throws what stopping one of them threw, when all have ended. */
  stop(deadlineMs: number): Promise<void>;
}

/** Makes an empty roster. */
export function createRoster(openDatabase: (place: DatabasePlace) => Promise<DatabaseAgent>): Roster {
  const opened = new Map<DatabaseName, DatabaseAgent>();
  /** Openings and closings under way. */
  const busy = new Map<DatabaseName, Promise<unknown>>();

  async function during<Result>(name: DatabaseName, work: () => Promise<Result>): Promise<Result> {
    const done = work();
    busy.set(name, done);
    try {
      return await done;
    } finally {
      busy.delete(name);
    }
  }

  return {
    async open(place) {
      const { name, path } = place;
      if (opened.has(name) || busy.has(name)) {
        throw new PageferryError(
          "bad-config",
          `databases: ${path}: there is one of the name ${name} already`,
          {
            hint: nameHint,
          },
        );
      }
      await during(name, async () => {
        opened.set(name, await openDatabase(place));
      });
    },
    async close(name, deadlineMs, farewell) {
      const database = opened.get(name);
      if (database === undefined || busy.has(name))
        throw new PageferryError("not-found", `databases: ${name} is not captured here`);
      return await during(name, () => database.stop(deadlineMs, farewell).finally(() => opened.delete(name)));
    },
    get: (name) => opened.get(name as DatabaseName),
    size: () => opened.size,
    all: () => [...opened].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, database]) => database),
    async stop(deadlineMs) {
      await Promise.allSettled(busy.values());
      const stopped = [...opened.values()].map((database) => database.stop(deadlineMs));
      const failed = (await Promise.allSettled(stopped)).find(({ status }) => status === "rejected");
      if (failed?.status === "rejected") throw failed.reason;
    },
  };
}
