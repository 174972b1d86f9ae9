// Whether a restore puts a file where its application opens it, and what that application makes of an old file there.

import { stat } from "node:fs/promises";
import { basename, extname, resolve, sep } from "node:path";
import { checkRestoreInPlace, profileOf } from "@pageferry/format";
import { loadConfig } from "./config-file.ts";
import type { Io } from "./io.ts";
import type { RestoreOptions } from "./restore-options.ts";

/** Throws `harmful` where the words that are needed were not typed; asked again when the buckets are known. */
export type InPlaceJudge = (buckets?: readonly string[]) => void;

/**
 * Makes the judge of a restore to `output`. In place is a file that is there already, the path of a configured database, and a path that
 * applications use. What is restored elsewhere is only told of. A standby that is there was made by following.
 */
export async function inPlaceJudge(
  froms: readonly string[],
  output: string,
  { config, acknowledge, isStandby = false }: Partial<RestoreOptions> & { readonly isStandby?: boolean },
  io: Io,
): Promise<InPlaceJudge> {
  const path = resolve(output);
  const loaded = config === undefined ? undefined : (await loadConfig(io, config)).config;
  const databases = loaded?.databases ?? [];
  // A file below a directory that is backed up is one that an application opens.
  const directory = loaded?.directories.find(({ dir }) => path.startsWith(`${resolve(dir)}${sep}`));
  const name = nameOf(froms[0] ?? "");
  const configured = databases.find((one) => one.name === name || resolve(one.path) === path);
  const hints = {
    name,
    path: configured?.path ?? path,
    configured: configured?.profile ?? directory?.profile,
  };
  const ofPath = profileOf({ name: basename(path, extname(path)), path }).name;
  const isInPlace =
    ofPath !== "own" ||
    directory !== undefined ||
    databases.some((one) => resolve(one.path) === path) ||
    (!isStandby && (await isThere(path)));
  let isTold = false;
  return (buckets) => {
    const profile = profileOf({ ...hints, buckets });
    if (isInPlace)
      checkRestoreInPlace(profile, { typed: acknowledge, option: "--acknowledge", isAutomatic: false });
    if (profile.name === "own" || isTold) return;
    isTold = true;
    io.err(`note: a database of ${profile.title}. ${profile.means}\n`);
    for (const step of profile.steps) io.err(`  - ${step}\n`);
  };
}

/** `http://HOST/v1/databases/app`, `/mnt/backup/app` and `app` are all of app. */
function nameOf(from: string): string {
  return basename((URL.parse(from)?.pathname ?? from).replace(/\/+$/, ""));
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    ({ size }) => size > 0,
    () => false,
  );
}
