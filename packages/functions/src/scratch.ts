// A directory for files that are needed while something is done and never after: a restored database that is checked, a snapshot that is being
// built. What a process that died left behind is removed by the next one.

import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { fromFileSystem } from "@pageferry/format/node";

const prefix = "work-";

/** Nobody works on one thing for longer. */
const abandonedMs = 24 * 60 * 60_000;

export interface ScratchPlace extends AsyncDisposable {
  /** A private directory, which is gone when the place is disposed of. */
  readonly directory: string;
  /** Bytes that are free on its disk. */
  freeBytes(): Promise<number>;
}

/** Opens a place below `root`, which is made if it is not there. */
export async function openScratch(root: string): Promise<ScratchPlace> {
  const directory = join(root, `${prefix}${process.pid}-${randomBytes(6).toString("hex")}`);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw fromFileSystem(error, `making ${directory}`);
  }
  return {
    directory,
    async freeBytes() {
      const { bavail, bsize } = await statfs(directory);
      return bavail * bsize;
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

/** Removes what was left behind: all of it where no other process shares the root, else what is older than a day. */
export async function sweepScratch(root: string, isShared: boolean, nowMs: number): Promise<void> {
  const names = await readdir(root).catch(() => []);
  for (const name of names.filter((one) => one.startsWith(prefix))) {
    const path = join(root, name);
    const mtimeMs = await stat(path).then(
      (stats) => stats.mtimeMs,
      () => 0,
    );
    if (!isShared || nowMs - mtimeMs > abandonedMs) await rm(path, { recursive: true, force: true });
  }
}
