// What `up` and `replicate` say of their databases when they are ready.

import { type Config, counted, type DatabaseConfig } from "@pageferry/format";
import type { MemberView } from "./fleet.ts";
import { entryWords } from "./fleet-words.ts";

/** More would fill the screen. */
const namedMax = 5;

/** For people: those that are configured by name, the first of them where they are many, those of directories by their number. */
export function databaseWords({ databases, directories }: Config, members: readonly MemberView[]): string {
  const words = databases.map(({ name, path }) => `${name} (${path})`);
  const more = words.length - namedMax;
  const named = more > 1 ? [...words.slice(0, namedMax), `${more} more`] : words;
  if (directories.length === 0) return named.join(", ");
  const count = members.filter(({ origin }) => origin === "found").length;
  const found = `${counted(count, "database")} in ${directories.map(entryWords).join(", ")}`;
  return [...named, found].join(", ");
}

/** For scripts: all of them. */
export function allOf(
  { databases }: Config,
  members: readonly MemberView[],
): readonly (DatabaseConfig | MemberView)[] {
  return [...databases, ...members.filter(({ origin }) => origin === "found")];
}
