// Everything that an archive can restore, read through its readers: the points, their timeline, and what each reader lacks of them.

import { type ArchiveListing, indexArchive, type RangeObject, withoutObjects } from "./archive-listing.ts";
import {
  type Archive,
  listingOf,
  type ReadOptions,
  readPackIndexes,
  readPointFacts,
} from "./archive-reader.ts";
import type { Generation } from "./names.ts";
import { type Point, points } from "./points.ts";
import { withReceipts } from "./receipts.ts";
import { type GenerationTimeline, timelineOf } from "./timeline.ts";
import type { TxId } from "./txid.ts";

/** Ranges of lacking points that are named for one reader: the rest is counted. */
const lackingRangesMax = 20;

/** Points in a row that a reader alone cannot restore, while others can. */
export interface LackingRange {
  readonly generation: Generation;
  readonly from: TxId;
  readonly to: TxId;
  readonly points: number;
}

/** What one reader alone can restore. */
export interface ReaderPoints {
  readonly name: string;
  readonly points: number;
  /** Points that others can restore and it cannot. */
  readonly lacking: number;
  /** These, newest first, at most twenty ranges. */
  readonly ranges: readonly LackingRange[];
}

/** What an archive can restore. */
export interface ArchivePoints {
  /** Newest first. */
  readonly points: readonly Point[];
  /** For planning and timelines: without the objects that turned out to be broken. */
  readonly listing: ArchiveListing;
  /** Objects that are broken in every reader, as far as they were looked into. */
  readonly broken: readonly string[];
  /** Readers that were left out, and objects that are broken wherever they are. */
  readonly warnings: readonly string[];
}

/** The same in time. */
export interface ArchiveTimeline {
  readonly generations: readonly GenerationTimeline[];
  /** The newest points, with the time of receipt where something tells it. */
  readonly newest: readonly Point[];
  readonly points: number;
  readonly readers: readonly ReaderPoints[];
  readonly warnings: readonly string[];
}

/** How to read points. */
export interface PointsOptions extends ReadOptions {
  /** Which packs to look into; the others lead to their ends only. Absent: all, and Go-made segments tell their times. */
  readonly of?: ((pack: RangeObject) => boolean) | undefined;
}

/** Every point that can be restored. An object that is broken in every reader is left out, with a warning, and so is what needs it. */
export async function pointsIn(archive: Archive, options: PointsOptions = {}): Promise<ArchivePoints> {
  const { signal, of } = options;
  const suspects = new Set<string>();
  const onBroken = (name: string): void => void suspects.add(name);
  if (of === undefined) await readPointFacts(archive, { signal, onBroken });
  else await readPackIndexes(archive, { signal, onBroken, of });
  const broken = [...suspects].filter((name) => !archive.packs.has(name) && !archive.stamps.has(name));
  const listing = withoutObjects(listingOf(archive), new Set(broken));
  const warnings = broken.map((name) => `${name} is broken: what needs it cannot be restored from here`);
  return { points: points(listing), listing, broken, warnings: [...archive.warnings, ...warnings] };
}

/** The timeline of an archive, its newest points, and what each of its readers lacks. */
export async function readTimeline(
  archive: Archive,
  options: ReadOptions & { readonly newestMax: number },
): Promise<ArchiveTimeline> {
  const found = await pointsIn(archive, options);
  return {
    generations: timelineOf(found.listing),
    newest: await withReceipts(archive, found.points.slice(0, options.newestMax), options),
    points: found.points.length,
    readers:
      archive.readers.length < 2 ? [] : archive.readers.map(({ name }) => readerPoints(archive, name, found)),
    warnings: found.warnings,
  };
}

function readerPoints(archive: Archive, name: string, { points: all }: ArchivePoints): ReaderPoints {
  const own = archive.objects.filter((object) => archive.holders(object.name).includes(name));
  const { lacking, ranges } = lackingPoints(all, points(indexArchive(own, archive)));
  return { name, points: all.length - lacking, lacking, ranges };
}

/** Which of some points, newest first, are not among others: how many, and the newest of them, at most twenty ranges. */
export function lackingPoints(
  all: readonly Point[],
  held: readonly Point[],
): { readonly lacking: number; readonly ranges: readonly LackingRange[] } {
  const has = new Set(held.map(wordOf));
  const ranges: LackingRange[] = [];
  let lacking = 0;
  let goesOn = false;
  for (const point of all) {
    const isLacking = !has.has(wordOf(point));
    if (isLacking) {
      lacking += 1;
      const last = ranges.at(-1);
      const { generation, txId } = point;
      if (goesOn && last?.generation === generation)
        ranges[ranges.length - 1] = { ...last, from: txId, points: last.points + 1 };
      else ranges.push({ generation, from: txId, to: txId, points: 1 });
    }
    goesOn = isLacking;
  }
  return { lacking, ranges: ranges.slice(0, lackingRangesMax) };
}

function wordOf({ generation, txId }: Point): string {
  return `${generation}/${txId}`;
}
