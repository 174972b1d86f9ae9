// What `up` and `replicate` say of their databases when they are ready.

import type { Config, DatabaseConfig } from "@pageferry/format";
import type { MemberView } from "./fleet.ts";
import { entryWords } from "./fleet-words.ts";

/** For people: those that are configured by name, those of directories by their number. */
export function databaseWords({ databases, directories }: Config, members: readonly MemberView[]): string {
  const named = databases.map(({ name, path }) => `${name} (${path})`);
  if (directories.length === 0) return named.join(", ");
  const count = members.filter(({ origin }) => origin === "found").length;
  const found = `${count} ${count === 1 ? "database" : "databases"} in ${directories.map(entryWords).join(", ")}`;
  return [...named, found].join(", ");
}

/** For scripts: all of them. */
export function allOf(
  { databases }: Config,
  members: readonly MemberView[],
): readonly (DatabaseConfig | MemberView)[] {
  return [...databases, ...members.filter(({ origin }) => origin === "found")];
}
