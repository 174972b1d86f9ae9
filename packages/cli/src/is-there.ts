// Whether a path names something, for all one can tell.

import { lstat } from "node:fs/promises";

/** False only where nothing is there for certain: what may not be looked at may be there. */
export async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    ({ code }: NodeJS.ErrnoException) => code !== "ENOENT" && code !== "ENOTDIR",
  );
}
