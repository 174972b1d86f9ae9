// When what an object ends with was committed, as its name tells it.

import { parseObjectName } from "@pageferry/format";

/** The commit's time in an object's name; 0 where it has none; undefined: the object holds no state, nor where one begins. */
export function stampOf(name: string): number | undefined {
  const parsed = parseObjectName(name);
  if (parsed?.kind === "snapshot") return parsed.createdAtMs;
  if (parsed?.kind === "segment" || parsed?.kind === "pack") return parsed.stampMs ?? 0;
  return parsed?.kind === "generation" ? 0 : undefined;
}
