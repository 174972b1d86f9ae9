// Which generation of an archive is the newest, and what came before it. Pure. Highest epoch first; what the Go implementation wrote has
// no generation.json and is ordered by the time of its newest snapshot. See docs/format.md#generations.

import { type ArchiveListing, byBigInt, type GenerationIndex } from "./archive-listing.ts";
import { PageferryError } from "./errors.ts";
import type { Generation } from "./names.ts";
import { formatTxId, type TxId } from "./txid.ts";

/** A generation to look into, newest first; a parent carries the transaction after which its child left it. */
export interface Ancestor {
  readonly index: GenerationIndex;
  /** The point at which the next newer generation begins; null for the newest one. */
  readonly leftAt: TxId | null;
}

/** Throws `not-found` naming what there is, unless the archive holds the generation. */
export function generationIn(listing: ArchiveListing, generation: Generation): GenerationIndex {
  const index = listing.generations.get(generation);
  if (index !== undefined) return index;
  const known = [...listing.generations.keys()];
  throw new PageferryError(
    "not-found",
    `generation ${generation}: not in this archive, which holds ${summary(known)}`,
  );
}

/** The newest generation, or the named one, and then its parents as far as the archive holds them. */
export function lineage(listing: ArchiveListing, generation?: Generation): Ancestor[] {
  const start = generation === undefined ? newestGeneration(listing) : generationIn(listing, generation);
  const ancestors: Ancestor[] = [{ index: start, leftAt: null }];
  const seen = new Set([start.generation]);
  for (let parent = start.link?.parent ?? null; parent !== null; ) {
    const index = listing.generations.get(parent.generation);
    if (index === undefined || seen.has(index.generation)) break;
    seen.add(index.generation);
    ancestors.push({ index, leftAt: parent.txId });
    parent = index.link?.parent ?? null;
  }
  return ancestors;
}

/**
 * The generation that continues the database's history: the highest epoch; of equals the one that descends from the others; of
 * Go-made ones that with the newest snapshot. Throws `bad-request` naming both when it cannot tell, `not-found` for an empty
 * archive, `gap` when a generation that nothing dates holds later transactions, `corrupt` when a generation.json is no use.
 */
export function newestGeneration(listing: ArchiveListing): GenerationIndex {
  const all = [...listing.generations.values()].filter(hasContent);
  if (all.length === 0)
    throw new PageferryError("not-found", "this archive holds no snapshot and no segment");
  const broken = all.find((index) => index.linkProblem !== null);
  if (broken !== undefined) {
    throw new PageferryError("corrupt", `no telling which generation is the newest: ${broken.linkProblem}`, {
      hint: "Choose one with --generation, or use another replica.",
    });
  }
  const epoch = Math.max(...all.map(epochOf));
  const top = all.filter((index) => epochOf(index) === epoch);
  const undated = top.filter((index) => index.link === null && index.snapshots.length === 0);
  const dated = top.filter((index) => !undated.includes(index));
  const heads = dated.filter((index) => !dated.some((other) => descendsFrom(listing, other, index)));
  // Two that name each other as parent have no head: then neither may win.
  const candidates = heads.length > 0 ? heads : dated;
  const newest = candidates.every((index) => index.link === null) ? latest(candidates) : candidates;
  const [only, second] = newest;
  if (only !== undefined && second !== undefined) {
    throw new PageferryError(
      "bad-request",
      `generations ${only.generation} and ${second.generation} could both be the newest (epoch ${epoch})`,
      { hint: "Choose one with --generation." },
    );
  }
  refuseUndated(undated, only);
  return only as GenerationIndex;
}

/** All generations, newest first as far as that can be told, for people to read. */
export function generationsNewestFirst(listing: ArchiveListing): GenerationIndex[] {
  return [...listing.generations.values()]
    .filter(hasContent)
    .sort(
      (a, b) =>
        epochOf(b) - epochOf(a) ||
        newestSnapshotMs(b) - newestSnapshotMs(a) ||
        (a.generation < b.generation ? -1 : 1),
    );
}

/** The highest transaction that any object of a generation leads to. */
export function highestTxId(index: GenerationIndex): TxId | null {
  const range = index.ranges.at(-1)?.txId;
  const snapshot = index.snapshots.at(-1)?.txId;
  return (
    [range, snapshot]
      .filter((id) => id !== undefined)
      .sort(byBigInt)
      .at(-1) ?? null
  );
}

function hasContent(index: GenerationIndex): boolean {
  return (
    index.link !== null || index.linkProblem !== null || index.snapshots.length > 0 || index.ranges.length > 0
  );
}

function epochOf(index: GenerationIndex): number {
  return index.link?.epoch ?? 0;
}

function newestSnapshotMs(index: GenerationIndex): number {
  return Math.max(-1, ...index.snapshots.map((snapshot) => snapshot.stampMs));
}

function latest(candidates: readonly GenerationIndex[]): GenerationIndex[] {
  const newestMs = Math.max(...candidates.map(newestSnapshotMs));
  return candidates.filter((index) => newestSnapshotMs(index) === newestMs);
}

function descendsFrom(listing: ArchiveListing, index: GenerationIndex, ancestor: GenerationIndex): boolean {
  if (index === ancestor) return false;
  return lineage(listing, index.generation).some((step) => step.index === ancestor);
}

/**
 * A generation without generation.json and without a snapshot cannot be dated, and cannot be restored. When it holds transactions above
 * the newest that can, "the newest" would be a guess: an observer that was registered twice leaves such an archive.
 */
function refuseUndated(undated: readonly GenerationIndex[], newest: GenerationIndex | undefined): void {
  const reach = newest === undefined ? null : highestTxId(newest);
  const later = undated.filter((index) => reach === null || (highestTxId(index) as TxId) > reach);
  if (later.length === 0) return;
  const highest = later
    .map((index) => highestTxId(index) as TxId)
    .sort(byBigInt)
    .at(-1) as TxId;
  const lost = `${summary(later.map((index) => index.generation))} without a snapshot, up to transaction ${formatTxId(highest)}`;
  if (newest === undefined || reach === null) {
    throw new PageferryError("gap", `nothing can be restored: the archive holds ${lost}`);
  }
  throw new PageferryError(
    "gap",
    `generation ${newest.generation} can be restored up to ${formatTxId(reach)}, but there is ${lost}, which cannot`,
    {
      hint: `Take what there is with --generation ${newest.generation}, or look for the snapshot in another replica.`,
    },
  );
}

function summary(generations: readonly Generation[]): string {
  const [first, second] = generations;
  if (first === undefined) return "none";
  if (second === undefined) return `generation ${first}`;
  if (generations.length === 2) return `generations ${first} and ${second}`;
  return `${generations.length} generations (${first}, ${second}, …)`;
}
