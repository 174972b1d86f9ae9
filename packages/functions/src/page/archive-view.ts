// What an archive can restore, as the pages show it: listed at most every few seconds, however many people look.

import {
  type ArchiveReader,
  type DatabaseName,
  formatTxId,
  type GenerationTimeline,
  openArchive,
  type Point,
  pointsIn,
  timelineOf,
} from "@pageferry/format";
import type { CallOptions } from "../store.ts";

export interface ArchiveView {
  /** Newest first. */
  readonly points: readonly Point[];
  /** Newest first. */
  readonly generations: readonly GenerationTimeline[];
  readonly objects: number;
  readonly warnings: readonly string[];
  /** The time of a point, where it is one and has one. */
  stampOf(generation: string, txid: string): number | undefined;
}

/** Who zooms looks at the same points; who commits and looks sees it. */
const ageMsMax = 3000;

/** Some 20 MB each for a hundred thousand points; they go when they are old, asked for or not. */
const keptMax = 4;

export interface ArchiveViews {
  of(database: DatabaseName, call: CallOptions): Promise<ArchiveView>;
}

export function createArchiveViews(
  readers: (database: DatabaseName) => Promise<readonly ArchiveReader[]>,
): ArchiveViews {
  const kept = new Map<DatabaseName, ArchiveView>();
  return {
    async of(database, call) {
      const known = kept.get(database);
      if (known !== undefined) return known;
      const view = await read(await readers(database), call);
      if (kept.size >= keptMax) return view;
      kept.set(database, view);
      setTimeout(() => kept.delete(database), ageMsMax).unref();
      return view;
    },
  };
}

async function read(readers: readonly ArchiveReader[], { signal }: CallOptions): Promise<ArchiveView> {
  const archive = await openArchive(readers, { signal });
  const { points, listing, warnings } = await pointsIn(archive, { signal });
  let stamps: ReadonlyMap<string, number | null> | undefined;
  return {
    ...{ points, warnings, objects: archive.objects.length, generations: timelineOf(listing) },
    stampOf(generation, txid) {
      stamps ??= new Map(
        points.map((point) => [`${point.generation} ${formatTxId(point.txId)}`, point.stampMs]),
      );
      return stamps.get(`${generation} ${txid}`) ?? undefined;
    },
  };
}
