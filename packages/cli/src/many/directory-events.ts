// What the file system tells of directories, as far as it may be a database that comes, goes or becomes one. Events may be lost, and some
// file systems have none: they are only a reason to look sooner.

import { type FSWatcher, statSync, watch } from "node:fs";
import { join, matchesGlob } from "node:path";
import type { DirectoryConfig } from "@pageferry/format";

/** Listens to directories. Disposing of it ends that. */
export interface DirectoryEvents extends Disposable {
  /** Listens to these, and to no others. `unfinished`: files that are no databases yet; what is written to them matters, too. */
  listen(directories: readonly string[], unfinished: ReadonlySet<string>): void;
}

/** One watch for each directory, of which a system has some thousands; what lies in the others is seen by the look each minute. */
const watchesMax = 1000;

interface Watched {
  readonly watcher: FSWatcher;
  readonly id: string;
}

/** Which directory it is: inodes are used again at once. */
function idOf(directory: string): string | undefined {
  try {
    const { dev, ino, birthtimeNs } = statSync(directory, { bigint: true });
    return `${dev}:${ino}:${birthtimeNs}`;
  } catch {
    return undefined;
  }
}

/** Makes the listener of an entry. */
export function createDirectoryEvents(
  { pattern, recursive }: DirectoryConfig,
  onEvent: () => void,
): DirectoryEvents {
  const watches = new Map<string, Watched>();
  let unfinished: ReadonlySet<string> = new Set();

  function take(directory: string, kind: string, name: string | null): void {
    // Each commit is a change of its file, and tells nothing.
    const isTelling =
      kind === "change"
        ? name !== null && unfinished.has(join(directory, name))
        : name === null || recursive || matchesGlob(name, pattern);
    if (isTelling) onEvent();
  }

  function end(directory: string): void {
    watches.get(directory)?.watcher.close();
    watches.delete(directory);
  }

  function begin(directory: string): void {
    const id = idOf(directory);
    if (id === undefined) return;
    try {
      const watcher = watch(directory, { persistent: false }, (kind, name) => take(directory, kind, name));
      watches.set(directory, { watcher, id });
      watcher.on("error", () => end(directory));
    } catch {
      // The system's watches are used up, or it has none.
    }
  }

  function listen(directories: readonly string[], files: ReadonlySet<string>): void {
    unfinished = files;
    const wanted = new Set(directories.slice(0, watchesMax));
    // One that went and came again under its name is another one, of which the watch hears nothing.
    for (const [directory, { id }] of [...watches])
      if (!wanted.has(directory) || id !== idOf(directory)) end(directory);
    for (const directory of wanted) if (!watches.has(directory)) begin(directory);
  }

  return { listen, [Symbol.dispose]: () => listen([], new Set()) };
}
