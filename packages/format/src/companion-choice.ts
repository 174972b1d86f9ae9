// Which version of the companion files belongs to a point: the newest that was read while the point, or one before it, was the newest. By
// transaction, not by clock; a time that was asked for bounds it further. Pure.

import type { GenerationLink, ListedObject } from "./archive-listing.ts";
import { type CompanionsName, parseCompanionsName } from "./companions-name.ts";
import type { Generation } from "./names.ts";
import type { TxId } from "./txid.ts";

/** A version in a listing. */
export interface CompanionsEntry extends CompanionsName {
  readonly size: number;
}

/** The versions of an archive by generation, each list ascending. */
export type CompanionsIndex = ReadonlyMap<Generation, readonly CompanionsEntry[]>;

/** Finds the versions in a listing. */
export function indexCompanions(objects: Iterable<ListedObject>): CompanionsIndex {
  const index = new Map<Generation, CompanionsEntry[]>();
  for (const { name, size } of objects) {
    const parsed = name.startsWith("files/") ? parseCompanionsName(name) : undefined;
    if (parsed === undefined) continue;
    const entries = index.get(parsed.generation) ?? [];
    index.set(parsed.generation, entries);
    entries.push({ ...parsed, size });
  }
  for (const entries of index.values()) entries.sort(compareCompanions);
  return index;
}

/** By transaction, then by time. */
function compareCompanions(a: CompanionsEntry, b: CompanionsEntry): number {
  if (a.txId !== b.txId) return a.txId < b.txId ? -1 : 1;
  return a.stampMs - b.stampMs || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}

/** A point, and the time that was asked for. */
export interface CompanionsWanted {
  readonly generation: Generation;
  readonly txId: TxId;
  /** Nothing that was read later, milliseconds; absent: however long the point was the newest. */
  readonly notAfterMs?: number | undefined;
}

/**
 * The version of a point: of its own generation, else of the generations it came from, each up to where the next began. `undefined`: there
 * was none by then.
 */
export function companionsAt(
  index: CompanionsIndex,
  links: ReadonlyMap<Generation, Pick<GenerationLink, "parent">>,
  wanted: CompanionsWanted,
): CompanionsEntry | undefined {
  const { notAfterMs = Number.POSITIVE_INFINITY } = wanted;
  const seen = new Set<Generation>();
  let at: Pick<CompanionsWanted, "generation" | "txId"> | null = wanted;
  while (at !== null && !seen.has(at.generation)) {
    const { generation, txId }: Pick<CompanionsWanted, "generation" | "txId"> = at;
    seen.add(generation);
    const found = index
      .get(generation)
      ?.findLast((entry) => entry.txId <= txId && entry.stampMs <= notAfterMs);
    if (found !== undefined) return found;
    at = links.get(generation)?.parent ?? null;
  }
  return;
}
