// What is remembered of a replica from one compaction to the next, so that a run every half minute reads nothing twice: names are never given to
// other bytes.

import { type Archive, type PackPoint, readPackIndexes } from "@pageferry/format";

export interface CompactMemory {
  /** By the pack's name. */
  readonly packs: Map<string, readonly PackPoint[]>;
  /** Names of ranges that would be too large. */
  readonly tooLarge: Set<string>;
}

export function createCompactMemory(): CompactMemory {
  return { packs: new Map(), tooLarge: new Set() };
}

/** Reads the points inside packs, as far as they are not known; what is no longer listed is forgotten. */
export async function readKnownIndexes(
  archive: Archive,
  memory: CompactMemory,
  signal: AbortSignal | undefined,
): Promise<void> {
  const listed = new Set<string>();
  for (const { name } of archive.objects) {
    const points = memory.packs.get(name);
    if (points === undefined) continue;
    listed.add(name);
    archive.packs.set(name, points);
  }
  for (const name of memory.packs.keys()) if (!listed.has(name)) memory.packs.delete(name);
  // One that is broken ends at its end only; to find it is verify's task.
  await readPackIndexes(archive, { signal, onBroken: () => undefined });
  for (const [name, points] of archive.packs) memory.packs.set(name, points);
}
