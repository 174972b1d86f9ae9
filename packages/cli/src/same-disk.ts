// Is any replica off this machine's disk? A backup beside the database survives the application, not the disk.

import { stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Config } from "@pageferry/format";
import { replicaDir } from "./data-dir.ts";

/** Whether every copy lies on the file system of a database: all replicas are directories, and none is on another device. */
export async function isOnSameDisk(config: Config, dataDir: string): Promise<boolean> {
  const copies = config.replicas.map((replica) => (replica.type === "file" ? replica.path : undefined));
  const directories = copies.length === 0 ? [replicaDir(dataDir)] : copies;
  const devices = await Promise.all(
    directories.map((path) => (path === undefined ? undefined : deviceOf(path))),
  );
  const paths = [...config.databases.map(({ path }) => path), ...config.directories.map(({ dir }) => dir)];
  const sources = await Promise.all(paths.map(deviceOf));
  return devices.every((device) => device !== undefined && sources.includes(device));
}

/** The device of a path, or of the nearest directory above that is there. */
async function deviceOf(path: string): Promise<number | undefined> {
  for (let at = resolve(path); ; at = dirname(at)) {
    try {
      return (await stat(at)).dev;
    } catch {
      if (dirname(at) === at) return undefined;
    }
  }
}
