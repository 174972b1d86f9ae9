// Where `up` and `serve` keep what they need, below one directory. The layout is part of what scripts rely on: docs/operations.md.

import { join } from "node:path";

/** In the working directory, unless --data or the configuration's dataDir says otherwise. */
export const defaultDataDir = "./pageferry-data";

/** The file replicas of `up`: `<dataDir>/replica/<database>`. */
export function replicaDir(dataDir: string): string {
  return join(dataDir, "replica");
}

/** The agent's durable local log. */
export function shadowDir(dataDir: string): string {
  return join(dataDir, "shadow");
}

/** The URL of the host that runs on this data, while it runs: for `pageferry status` without an argument. */
export function urlFile(dataDir: string): string {
  return join(dataDir, "url");
}
