// How a bucket or key is typed: DB/bucket/…/key, each name as text or in hex.

import { PageferryError } from "@pageferry/format";
import { dataOption, fromConfigOption, type OptionSpec } from "./command.ts";
import { pointOptions } from "./restore-options.ts";

/** Flags of `ls` and `get` that say where to look, and at which point. */
export const inspectOptions: readonly OptionSpec[] = [
  ...pointOptions,
  { flags: "--host <url>", description: "http://HOST:PORT (default: the host that runs on DIR)" },
  fromConfigOption,
  dataOption,
];

/** What surprises, under the examples of both. */
export const inspectNotes = `
Without FROM the host that runs here is asked (scope inspect, and \`inspect: true\` in its configuration), or with --config all
replicas of a configured database. FROM is a replica or a host as \`restore\` takes it, or the place above, which holds DB.

A name is text, or hex: and its bytes: hex:00ff. One that holds a slash or does not print is shown, and typed, in hex.`;

/** Splits the last argument: the database, and what lies in it. Throws `bad-request`. */
export function parseInspectPath(text: string): {
  readonly database: string;
  readonly names: readonly string[];
} {
  const [database = "", ...names] = text.split("/");
  // As shells complete it: a slash at the end says that it is a bucket.
  if (names.at(-1) === "") names.pop();
  if (database !== "") return { database, names };
  throw new PageferryError("bad-request", "the last argument is DB/bucket/…, the database's name first");
}
