// Which files a database's patterns stand for, right now. Directories are read only where a pattern leaves a name open.
import { opendir } from "node:fs/promises";
import { isAbsolute, join, resolve } from "node:path";
import { fitsPart, isGlob } from "@pageferry/format";

/** Names that are looked at in one directory: beyond it a pattern is a mistake, and looking would be work. */
const namesMax = 10_000;

/** Paths that are looked at for one database; of these the first 256 by name are taken. */
const pathsMax = 1024;

/** What patterns stand for. */
export interface FoundFiles {
  /** Absolute, ascending. They need not be there: a pattern without a star names its file, whatever is there. */
  readonly paths: readonly string[];
  /** Directories that could not be read: what is in them is unknown, which is not the same as gone. */
  readonly unreadable: readonly string[];
}

/** Finds the files of patterns; relative ones begin at the working directory. Never throws. */
export async function findFiles(patterns: readonly string[]): Promise<FoundFiles> {
  const paths = new Set<string>();
  const unreadable = new Set<string>();
  for (const pattern of patterns) {
    const parts = (isAbsolute(pattern) ? pattern : resolve(pattern)).split("/").slice(1);
    let directories: readonly string[] = ["/"];
    for (const part of parts) {
      const next: string[] = [];
      for (const directory of directories) {
        if (!isGlob(part)) next.push(join(directory, part));
        else next.push(...(await namesIn(directory, part, unreadable)).map((name) => join(directory, name)));
      }
      directories = next.slice(0, pathsMax);
    }
    for (const path of directories) paths.add(path);
  }
  return { paths: [...paths].sort().slice(0, pathsMax), unreadable: [...unreadable].sort() };
}

async function namesIn(directory: string, part: string, unreadable: Set<string>): Promise<string[]> {
  const names: string[] = [];
  let looked = 0;
  try {
    for await (const { name } of await opendir(directory)) {
      if (fitsPart(part, name)) names.push(name);
      looked += 1;
      if (looked >= namesMax) break;
    }
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code;
    if (errno !== "ENOENT" && errno !== "ENOTDIR") unreadable.add(directory);
  }
  return names.sort();
}
