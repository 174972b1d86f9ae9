// Where companion files lie, and what they are called in a backup: relative to the database's directory, so that they can come back beside it on
// another machine; what lies elsewhere goes below `_root/`. Pure. See docs/operations.md#companion-files.

import { join, relative, resolve, sep } from "node:path";
import { PageferryError } from "./errors.ts";
import { checkObjectName } from "./names.ts";

const rootPart = "_root";

/** Stars of one part of a pattern: each may be tried at each place of a file's name. */
const starsMax = 8;

/** Why a pattern is none; `undefined`: it is one. A `*` or `?` stands for what lies in one directory. */
export function whyNoPattern(pattern: string): string | undefined {
  const parts = pattern.split("/");
  if (pattern === "" || pattern.endsWith("/")) return "the path of a file is expected";
  if (pattern.includes("\0") || pattern.includes("\\")) return "a path without backslashes is expected";
  if (parts.some((part) => part.includes("**"))) return "** is not known: name each directory";
  if (parts.some((part) => part.split("*").length - 1 > starsMax)) return `at most ${starsMax} * are taken`;
  return;
}

/** Whether a part of a pattern stands for several names. */
export function isGlob(part: string): boolean {
  return /[*?]/.test(part);
}

/** Whether a file's name fits a part of a pattern. Names that begin with a dot are fitted only by patterns that do. */
export function fitsPart(part: string, name: string): boolean {
  if (!isGlob(part)) return part === name;
  if (name.startsWith(".") && !part.startsWith(".")) return false;
  const source = part.replace(/[^*?]+|\*+|\?/g, (text) => {
    if (text === "?") return "[^/]";
    return text.startsWith("*") ? "[^/]*" : text.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  });
  return new RegExp(`^${source}$`, "su").test(name);
}

/** Whether an absolute path is one that a pattern (absolute, too) stands for. */
export function fitsPattern(pattern: string, path: string): boolean {
  const [parts, names] = [pattern.split("/"), path.split("/")];
  return parts.length === names.length && parts.every((part, at) => fitsPart(part, names[at] as string));
}

/** What a file (absolute path) is called in backups of a database in `directory`. */
export function companionName(path: string, directory: string): string {
  const beside = relative(directory, path);
  const isBeside = beside !== "" && !beside.startsWith(`..${sep}`) && !beside.startsWith(`${rootPart}${sep}`);
  return checkObjectName(isBeside ? beside : join(rootPart, relative("/", path)));
}

/** Where a file of that name lies, with the database in `directory`. Errors: `bad-name`. */
export function companionPath(name: string, directory: string): string {
  checkCompanionNames([name]);
  const isRoot = name.startsWith(`${rootPart}/`);
  return isRoot ? resolve("/", name.slice(rootPart.length + 1)) : resolve(directory, name);
}

/**
 * Throws `bad-name` unless these names can lie in one directory: plain relative paths, each once, none of them a directory of another.
 */
export function checkCompanionNames(names: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of names) {
    checkObjectName(name);
    if (seen.has(name)) throw new PageferryError("bad-name", `companion file ${words(name)} comes twice`);
    seen.add(name);
  }
  for (const name of names) {
    for (let at = name.indexOf("/"); at !== -1; at = name.indexOf("/", at + 1)) {
      if (seen.has(name.slice(0, at)))
        throw new PageferryError("bad-name", `companion file ${words(name)} lies below another file`);
    }
  }
}

function words(name: string): string {
  return JSON.stringify(name.slice(0, 80));
}
