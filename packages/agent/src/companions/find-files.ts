// Which files a database's patterns stand for, right now. Directories are read only where a pattern leaves a name open.
import { opendir } from "node:fs/promises";
import { dirname, isAbsolute, join, resolve } from "node:path";
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
  /** Directories of which more would be looked at than is: what else a pattern stands for there is unknown. */
  readonly crowded: readonly string[];
}

/** Directories about which not everything is known. */
interface Unknown {
  readonly unreadable: Set<string>;
  readonly crowded: Set<string>;
}

/** Finds the files of patterns; relative ones begin at the working directory. Never throws. */
export async function findFiles(patterns: readonly string[]): Promise<FoundFiles> {
  const paths = new Set<string>();
  const unknown: Unknown = { unreadable: new Set(), crowded: new Set() };
  for (const pattern of patterns) {
    const parts = (isAbsolute(pattern) ? pattern : resolve(pattern)).split("/").slice(1);
    let directories: readonly string[] = ["/"];
    for (const part of parts) {
      const next: string[] = [];
      for (const directory of directories) {
        if (!isGlob(part)) next.push(join(directory, part));
        else next.push(...(await namesIn(directory, part, unknown)).map((name) => join(directory, name)));
      }
      directories = bounded(next, unknown);
    }
    for (const path of directories) paths.add(path);
  }
  return {
    paths: bounded([...paths].sort(), unknown),
    unreadable: [...unknown.unreadable].sort(),
    crowded: [...unknown.crowded].sort(),
  };
}

function bounded(paths: readonly string[], { crowded }: Unknown): readonly string[] {
  const beyond = paths[pathsMax];
  if (beyond !== undefined) crowded.add(dirname(beyond));
  return paths.slice(0, pathsMax);
}

async function namesIn(directory: string, part: string, { unreadable, crowded }: Unknown): Promise<string[]> {
  const names: string[] = [];
  let looked = 0;
  try {
    for await (const { name } of await opendir(directory)) {
      if (looked >= namesMax) {
        crowded.add(directory);
        break;
      }
      if (fitsPart(part, name)) names.push(name);
      looked += 1;
    }
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code;
    if (errno !== "ENOENT" && errno !== "ENOTDIR") unreadable.add(directory);
  }
  return names.sort();
}
