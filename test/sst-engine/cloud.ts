// What the provider would have made, altered and deleted: a file with a line for each, which the script reads.

import { appendFileSync, existsSync, readFileSync } from "node:fs";

export interface Act {
  readonly what: "create" | "update" | "delete";
  readonly type: string;
  /** In the program. */
  readonly name: string;
  readonly id: string;
}

/** The variable that names the file. */
export const cloudVariable = "PAGEFERRY_STUB_CLOUD";

export function note(act: Act): void {
  const file = process.env[cloudVariable];
  if (file === undefined) throw new Error(`${cloudVariable} is not set`);
  appendFileSync(file, `${JSON.stringify(act)}\n`);
}

/** All acts so far. */
export function actsIn(file: string): readonly Act[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line): Act => JSON.parse(line));
}
