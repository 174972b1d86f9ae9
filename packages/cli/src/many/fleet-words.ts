// What the fleet says when something cannot be: as errors for who asked, and as alarms for who looks after the agent.

import {
  type DatabaseConfig,
  type DirectoryConfig,
  errorTable,
  isPageferryError,
  PageferryError,
} from "@pageferry/format";
import type { ToldAlarm } from "../log.ts";
import type { DirectoryLooker } from "./directory-looker.ts";
import type { Collision } from "./fleet-plan.ts";

/** A directory and its pattern, as one word. */
export function entryWords({ dir, pattern }: DirectoryConfig): string {
  return dir.endsWith("/") ? `${dir}${pattern}` : `${dir}/${pattern}`;
}

/** What is wrong with a directory, if something is. */
export function problemAlarm({ entry, problem }: DirectoryLooker): ToldAlarm[] {
  const error = problem();
  if (error === undefined) return [];
  const { code, message, hint } = error;
  return [{ code, message: `${entryWords(entry)}: ${message}`, hint }];
}

/** A file whose name is taken. */
export function collisionError({ name, path, other: { origin, database } }: Collision): PageferryError {
  const words = `databases: ${path} was found, and its name ${name} is that of ${database.path} (${origin})`;
  return new PageferryError("bad-config", words, {
    hint: "Give the entry of the directory, or the other database, another `name`.",
  });
}

/** The same, where everything else goes on. */
export function collisionAlarm(collision: Collision): ToldAlarm {
  const { code, message, hint } = collisionError(collision);
  return { code, message: `${message}; it is not backed up`, hint, database: collision.name };
}

/** A database that was to be registered under a name, or from a file, that another one has. */
export function takenError(other: DatabaseConfig, { name, path }: DatabaseConfig): PageferryError {
  if (other.path === path) {
    return new PageferryError("exists", `${path} is backed up already, as ${other.name}`, {
      hint: `For another name \`pageferry unregister ${other.name}\` first. Its backups stay under the old one.`,
    });
  }
  return new PageferryError("exists", `the name ${name} is that of ${other.path}`, {
    hint: "Give it another: `pageferry register DB --name NAME`.",
  });
}

const namesShown = 20;

/** A name that no database of the agent has. */
export function unknownError(name: string, names: readonly string[]): PageferryError {
  const shown = `${names.slice(0, namesShown).join(", ")}${names.length > namesShown ? ", …" : ""}`;
  return new PageferryError("not-found", `${name.slice(0, 80)} is not backed up by this agent`, {
    hint: names.length === 0 ? "It has no database." : `It has ${shown}.`,
  });
}

/** Whatever was thrown, as ours. */
export function asPageferryError(error: unknown): PageferryError {
  if (isPageferryError(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new PageferryError("unavailable", message, { cause: error, hint: errorTable.unavailable.hint });
}
