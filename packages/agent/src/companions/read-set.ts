// All companion files of a database at one look: read one after the other, so that the set is not one instant, each file by itself whole.
import { dirname } from "node:path";
import {
  type Companion,
  type CompanionSet,
  companionName,
  companionSetBytesMax,
  companionsMax,
  isPageferryError,
  type SkippedCompanion,
  type SkipReason,
} from "@pageferry/format";
import { findFiles } from "./find-files.ts";
import { type Print, printOf, readWhole } from "./read-file.ts";

/** What is to be looked at. */
export interface SetPlace {
  readonly patterns: readonly string[];
  /** The database's file: names are relative to its directory. */
  readonly databasePath: string;
}

/** A look at all files that reads none. */
export interface SetLook {
  readonly files: readonly { readonly path: string; readonly name: string; readonly print: Print }[];
  /** Directories, by name, in which something cannot be read, or has a name that no version holds. */
  readonly unreadable: readonly string[];
  /** Directories, by name, in which a pattern stands for more than is looked at. */
  readonly crowded: readonly string[];
  /** Equal as long as nothing changed. */
  readonly text: string;
  /** When anything was last changed, ms; 0: there is nothing. */
  readonly changedMs: number;
}

/** Looks at all files. Never throws. */
export async function lookAtSet({ patterns, databasePath }: SetPlace): Promise<SetLook> {
  const found = await findFiles(patterns);
  const directory = dirname(databasePath);
  const files: SetLook["files"][number][] = [];
  const unreadable = new Set(namesOf(found.unreadable, directory));
  const crowded = namesOf(found.crowded, directory);
  for (const path of found.paths) {
    // The database itself has its own way.
    if (path === databasePath) continue;
    const name = nameOf(path, directory);
    const print = await printOf(path);
    const isNamed = name !== undefined && !isMisread(path, print);
    if (isNamed) files.push({ path, name, print });
    else for (const where of namesOf([dirname(path)], directory)) unreadable.add(where);
  }
  files.sort((a, b) => (a.name < b.name ? -1 : 1));
  const prints = files.map(({ print }) => print);
  return {
    files,
    crowded,
    unreadable: [...unreadable].sort(),
    text: JSON.stringify([
      files.map(({ name, print }) => [name, print.kind, textOf(print)]),
      [...unreadable],
      crowded,
    ]),
    changedMs: Math.max(0, ...prints.map((print) => (print.kind === "file" ? print.changedMs : 0))),
  };
}

/** A name that no archive takes, such as one with a backslash, is none. */
function nameOf(path: string, directory: string): string | undefined {
  try {
    return companionName(path, directory);
  } catch (error) {
    if (!isPageferryError(error)) throw error;
    return;
  }
}

function namesOf(paths: readonly string[], directory: string): string[] {
  return paths.flatMap((path) => nameOf(path, directory) ?? []);
}

/** What was found by a name that is not UTF-8 is not found by what that was read as. */
function isMisread(path: string, { kind }: Print): boolean {
  return kind === "gone" && path.includes("\uFFFD");
}

function textOf(print: Print): string {
  return print.kind === "file" ? print.text : "";
}

/** What a look brought. */
export interface SetReading extends CompanionSet {
  /** Files that were left out beyond those that are named. */
  readonly more: number;
}

/** Reads what was looked at. */
export async function readSet(look: SetLook): Promise<SetReading> {
  const files: Companion[] = [];
  const skipped: SkippedCompanion[] = [
    ...look.unreadable.map((name) => ({ name, why: "unreadable" }) as const),
    ...look.crowded.map((name) => ({ name, why: "too-many" }) as const),
  ];
  let total = 0;
  const skip = (name: string, why: SkipReason): void => void skipped.push({ name, why });
  for (const { path, name, print } of look.files) {
    if (print.kind === "unreadable") skip(name, "unreadable");
    if (print.kind !== "file") continue;
    if (files.length >= companionsMax) skip(name, "too-many");
    else if (total + print.size > companionSetBytesMax) skip(name, "too-large");
    else {
      const reading = await readWhole(path);
      const isOver = reading.kind === "file" && total + reading.bytes.length > companionSetBytesMax;
      if (isOver) skip(name, "too-large");
      else if (reading.kind === "file") {
        const { mode, mtimeMs, bytes } = reading;
        total += bytes.length;
        files.push({ name, mode, mtimeMs, bytes });
      } else if (reading.kind !== "gone" && reading.kind !== "other") skip(name, reading.kind);
    }
  }
  const named = uniqueNames(skipped).slice(0, companionsMax);
  return { files, skipped: named, more: skipped.length - named.length };
}

function uniqueNames(skipped: readonly SkippedCompanion[]): SkippedCompanion[] {
  const seen = new Set<string>();
  return skipped.filter(({ name }) => !seen.has(name) && seen.add(name).size > 0);
}
