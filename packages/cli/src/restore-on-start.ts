// `restore.enabled`: a database that is missing at start is brought back before anything looks at it. One that is there is left alone,
// whatever its state: overwriting is for people, with --force.

import { stat } from "node:fs/promises";
import { type Config, formatTxId, isPageferryError } from "@pageferry/format";
import { restoreStandalone } from "@pageferry/functions";
import { replicaDir } from "./data-dir.ts";
import type { Io } from "./io.ts";

/** Restores what is missing; gives the names of the databases that begin a new generation by it. */
export async function restoreMissing(config: Config, dataDir: string, io: Io): Promise<ReadonlySet<string>> {
  const restored = new Set<string>();
  if (!config.restore.enabled) return restored;
  const replicas =
    config.replicas.length > 0 ? config.replicas : [{ type: "file", path: replicaDir(dataDir) } as const];
  for (const { name, path } of config.databases) {
    const output = config.restore.targetPath ?? path;
    if (!(await isMissing(output))) continue;
    try {
      const { txId, warnings } = await restoreStandalone(
        { ...config, replicas },
        { database: name, signal: io.signal },
      );
      for (const warning of warnings) io.err(`warning: ${name}: ${warning}\n`);
      io.err(`note: ${name}: ${output} was missing and is restored, at transaction ${formatTxId(txId)}\n`);
      if (output === path) restored.add(name);
    } catch (error) {
      // The first start of all: there is nothing to bring back, and the application makes its file itself.
      if (!isPageferryError(error, "not-found")) throw error;
      io.err(`note: ${name}: ${output} is missing, and there is no backup of it yet\n`);
    }
  }
  return restored;
}

async function isMissing(path: string): Promise<boolean> {
  try {
    return (await stat(path)).size === 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return true;
    throw error;
  }
}
