// Where replicas differ, by their names: a repair looks only there.

import type { ListedObject } from "@pageferry/format";

/** Generations of which not all replicas have the same, and those that they come from. */
export function differingGenerations(
  holdings: readonly (readonly ListedObject[])[],
  links: ReadonlyMap<string, { readonly parent: { readonly generation: string } | null }>,
): Set<string> {
  const counts = new Map<string, number>();
  for (const { name } of holdings.flat()) counts.set(name, (counts.get(name) ?? 0) + 1);
  const differing = new Set<string>();
  for (const [name, times] of counts) {
    if (times === holdings.length) continue;
    for (let generation = name.split("/")[0]; generation !== undefined && !differing.has(generation); ) {
      differing.add(generation);
      generation = links.get(generation)?.parent?.generation;
    }
  }
  return differing;
}
