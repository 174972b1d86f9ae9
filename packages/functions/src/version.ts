// The version of this package, read from its package.json, which lies one folder up in the sources and in the build alike.

import { readFileSync } from "node:fs";

/** Such as "0.1.0". */
export function packageVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
