// Where companion files lie, and what they are called in a backup: relative to the database's directory, so that they can come back beside it on
// another machine; what lies elsewhere goes below `_root/`. Pure. See docs/operations.md#companion-files.

import { relative, resolve, sep } from "node:path";
import { PageferryError } from "./errors.ts";
import { checkObjectName } from "./names.ts";

const rootPart = "_root";

/** Why a pattern is none; `undefined`: it is one. A `*` or `?` stands for what lies in one directory. */
export function whyNoPattern(pattern: string): string | undefined {
  if (pattern === "" || pattern.endsWith("/")) return "the path of a file is expected";
  if (pattern.includes("\0") || pattern.includes("\\")) return "a path without backslashes is expected";
  if (pattern.includes("**")) return "** is not known: name each directory";
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
  const [wanted, given] = [[...part], [...name]];
  let at = 0;
  let star = -1;
  let tried = 0;
  // Of several stars only the last is ever tried again: what fits before it is as good as anything else that does.
  for (let index = 0; index < given.length; ) {
    if (wanted[at] === "*") {
      star = at;
      tried = index;
      at += 1;
    } else if (wanted[at] === "?" || wanted[at] === given[index]) {
      at += 1;
      index += 1;
    } else if (star >= 0) {
      tried += 1;
      index = tried;
      at = star + 1;
    } else return false;
  }
  while (wanted[at] === "*") at += 1;
  return at === wanted.length;
}

/** Whether an absolute path is one that a pattern (absolute, too) stands for. */
export function fitsPattern(pattern: string, path: string): boolean {
  const [parts, names] = [pattern.split("/"), path.split("/")];
  return parts.length === names.length && parts.every((part, at) => fitsPart(part, names[at] as string));
}

/** What a file (absolute path) is called in backups of a database in `directory`. */
export function companionName(path: string, directory: string): string {
  const beside = relative(directory, path);
  const [first] = beside.split(sep);
  const isBeside = first !== "" && first !== ".." && first !== rootPart;
  return checkObjectName(isBeside ? beside : `${rootPart}/${relative("/", path)}`);
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
