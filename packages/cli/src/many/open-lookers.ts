// The lookers of a configuration: one for each directory, none of which looks into what is pageferry's own.

import { resolve } from "node:path";
import type { Config } from "@pageferry/format";
import { replicaDir, shadowDir } from "../data-dir.ts";
import type { Io } from "../io.ts";
import { createLog, type Log } from "../log.ts";
import { createDirectoryLooker, type DirectoryLooker } from "./directory-looker.ts";
import { allDatabases } from "./reconcile.ts";

/** Makes the lookers. What one before knows of the same entry is known to the new one. */
export function openLookers(
  config: Config,
  {
    dataDir,
    log,
    before = [],
  }: { readonly dataDir: string; readonly log: Log; readonly before?: readonly DirectoryLooker[] },
): DirectoryLooker[] {
  const excluded = ownDirectories(config, dataDir);
  return config.directories.map((entry) => {
    const same = before.find((one) => JSON.stringify(one.entry) === JSON.stringify(entry));
    return createDirectoryLooker(entry, {
      ...{ excluded, known: same?.files() ?? [] },
      onSkipped: (path, why) => log.debug({ path }, `passed over: ${why}`),
    });
  });
}

/** Archives and shadows hold copies of pages, and scratch holds whole databases; none of them is one to back up. */
function ownDirectories({ replicas, shadowDir: shadow }: Config, dataDir: string): string[] {
  const own = ["stage", "scratch"].map((name) => resolve(dataDir, name));
  const files = replicas.flatMap((replica) => (replica.type === "file" ? resolve(replica.path) : []));
  return [...own, resolve(shadow ?? shadowDir(dataDir)), resolve(replicaDir(dataDir)), ...files];
}

/** A configuration whose databases are also those that lie in its directories now. */
export async function withFound(config: Config, dataDir: string, io: Io): Promise<Config> {
  if (config.directories.length === 0) return config;
  const lookers = openLookers(config, { dataDir, log: createLog(io) });
  for (const looker of lookers) await looker.look({ signal: io.signal });
  return { ...config, databases: await allDatabases(config, lookers) };
}
