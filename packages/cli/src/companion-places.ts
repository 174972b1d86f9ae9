// Where restored companion files go: into a directory of their own, or, where a configuration names them, to their places. Decided before anything
// is written, and on this machine's word alone: what a backup says is no reason to write somewhere.

import { dirname, resolve, sep } from "node:path";
import {
  type Companion,
  type CompanionsVersion,
  companionPath,
  fitsPattern,
  PageferryError,
} from "@pageferry/format";

/** A file and where it is to lie. */
export interface PlacedCompanion {
  readonly file: Companion;
  readonly path: string;
}

/** Where files go, and the names of those that go nowhere. */
export interface CompanionPlaces {
  readonly placed: readonly PlacedCompanion[];
  /** What the configuration here does not name. */
  readonly strange: readonly string[];
}

/** Below a directory, each under its name. Errors: `bad-name` for a name that leads out of it. */
export function placesBelow({ files }: CompanionsVersion, directory: string): CompanionPlaces {
  const root = resolve(directory);
  const placed = files.map((file) => {
    const path = resolve(root, file.name);
    // The names were checked when the version was decoded; a path that is written is looked at once more.
    if (!path.startsWith(root.endsWith(sep) ? root : `${root}${sep}`))
      throw new PageferryError(
        "bad-name",
        `companion file ${JSON.stringify(file.name)} leads out of ${root}`,
      );
    return { file, path };
  });
  return { placed, strange: [] };
}

/** At their places, as far as patterns of the configuration stand for them. */
export function placesInPlace(
  { files }: CompanionsVersion,
  {
    path: databasePath,
    files: patterns = [],
  }: { readonly path: string; readonly files?: readonly string[] | undefined },
): CompanionPlaces {
  const directory = dirname(resolve(databasePath));
  const placed: PlacedCompanion[] = [];
  const strange: string[] = [];
  for (const file of files) {
    const path = companionPath(file.name, directory);
    const isNamed = patterns.some((pattern) => fitsPattern(resolve(pattern), path));
    if (isNamed && path !== resolve(databasePath)) placed.push({ file, path });
    else strange.push(file.name);
  }
  return { placed, strange };
}
