// The pages of one point, out of the objects that would restore it and without restoring it: of every page the newest copy, from the newest
// step that holds it, else from the snapshot. Objects are opened when they are first needed. See docs/format.md#look-inside.

import type { ArchiveReader, ReadOptions } from "./archive-reader.ts";
import { type ByteCache, createByteCache, createSharedWork } from "./byte-cache.ts";
import { PageferryError } from "./errors.ts";
import { findRun, openRangePages, type RangePages } from "./point-range.ts";
import { openSnapshotPages, type SnapshotPages } from "./point-snapshot.ts";
import { type PointSource, restoreInstead } from "./point-source.ts";
import { createReaderRanking, type ReaderRanking } from "./reader-ranking.ts";
import { createChainWalk } from "./restore-chain.ts";
import type { PartFacts } from "./restore-part.ts";
import type { PlanStep, RestorePlan } from "./restore-plan.ts";

/** A page block, and the object that it came from. */
export interface PointPage {
  readonly bytes: Uint8Array;
  readonly object: string;
}

/** The pages of one point. */
export interface PointPages {
  readonly pageSize: number;
  /** The first page id that was never allocated. */
  readonly highWaterMark: number;
  /** The page of the root bucket. */
  readonly root: number;
  /**
   * One block; blocks of an overflow run are asked for one by one. It must not be changed. Errors: `corrupt` (also for what no object
   * holds), `too-large`, `not-found` where an object was removed meanwhile, what the readers throw.
   */
  page(pageId: number, options?: ReadOptions): Promise<PointPage>;
  /** What was read of the archive so far. */
  fetched(): { readonly reads: number; readonly bytes: number };
  /** About what it takes in memory, beside the cache. */
  heldBytes(): number;
}

/** How to open a point. */
export interface OpenPointOptions extends ReadOptions {
  /** What is known of the readers already. Absent: they are ranked anew. */
  readonly ranking?: ReaderRanking | undefined;
  /** Shared with other points; absent: one of 64 MiB for this point alone. */
  readonly cache?: ByteCache | undefined;
  /** Tells archives apart whose readers and objects have the same names, where they share a cache. */
  readonly cachePrefix?: string | undefined;
  /** What cannot be read by parts may decode to so much. Default 256 MiB. */
  readonly wholeBytesMax?: number | undefined;
}

/** A few dozen frames: what one walk touches again and again. */
const cacheBytesDefault = 64 * 1024 * 1024;

/** What the Go implementation wrote is one frame; this much of it fits beside everything else. */
const wholeBytesMaxDefault = 256 * 1024 * 1024;

/** Steps opened at a time: enough to hide a store's latency. */
const openAtOnce = 8;

/** Stored bytes of steps that are opened at a time; a larger one is opened alone. They decode to some times as much. */
const openBytesMax = 16 * 1024 * 1024;

/** Runs of all steps, which are held while the point is: 32 MiB. A day of a transaction a second has a fourth of it. */
const runsMax = 4 * 1024 * 1024;

/** A segment of an opened step. */
interface Layer {
  readonly step: RangePages;
  readonly part: number;
  readonly facts: PartFacts;
}

/**
 * Opens a point: as many of its objects, newest first, as it takes to know its root. What each object says of itself is verified, and that they
 * follow one another, as far as they are read; a whole state hash is not. Errors: as `page`.
 */
export async function openPointPages(
  plan: RestorePlan,
  readers: readonly ArchiveReader[],
  options: OpenPointOptions = {},
): Promise<PointPages> {
  const fetched = { reads: 0, bytes: 0 };
  let heldBytes = 0;
  const source: PointSource = {
    plan,
    ranking: options.ranking ?? createReaderRanking(readers),
    cache: options.cache ?? createByteCache(cacheBytesDefault),
    cachePrefix: options.cachePrefix ?? "",
    wholeBytesMax: options.wholeBytesMax ?? wholeBytesMaxDefault,
    onRead(bytes) {
      fetched.reads += 1;
      fetched.bytes += bytes;
    },
    onHold(bytes) {
      heldBytes += bytes;
    },
  };
  const objects = openObjects(source);
  const { pageSize, highWaterMark, root } = await objects.root(options.signal);
  return {
    pageSize,
    highWaterMark,
    root,
    fetched: () => ({ ...fetched }),
    heldBytes: () => heldBytes,
    async page(pageId, { signal } = {}) {
      if (!(pageId >= 2 && pageId < highWaterMark))
        throw new PageferryError("corrupt", `page ${pageId} is outside of [2, ${highWaterMark})`);
      return objects.page(pageId, signal);
    },
  };
}

interface PointObjects {
  root(signal: AbortSignal | undefined): Promise<Pick<PointPages, "pageSize" | "highWaterMark" | "root">>;
  page(pageId: number, signal: AbortSignal | undefined): Promise<PointPage>;
}

function openObjects(source: PointSource): PointObjects {
  const { plan } = source;
  const chain = createChainWalk(plan.txId);
  const layers: Layer[] = [];
  const waiting = plan.steps.toReversed();
  const shared = createSharedWork();
  let base: SnapshotPages | undefined;
  let runs = 0;

  const openMore = (signal: AbortSignal | undefined): Promise<void> =>
    shared("steps", async () => {
      const batch = nextBatch(waiting, layers.length === 0 ? 1 : openAtOnce);
      const opened = await Promise.all(batch.map((step) => openRangePages(source, step, signal)));
      for (const step of opened) {
        for (let part = step.parts.length - 1; part >= 0; part -= 1) {
          const facts = step.parts[part] as PartFacts;
          // A call that is given up in the middle of this would leave half of a step in the chain.
          await chain.part(step.name, facts, () => step.deriveMeta(part, undefined));
          layers.push({ step, part, facts });
          runs += facts.runs.length / 2;
        }
        waiting.shift();
      }
      if (runs > runsMax)
        throw new PageferryError("too-large", `${runs} runs of pages lie above the snapshot`, restoreInstead);
    });

  const openBase = (signal: AbortSignal | undefined): Promise<SnapshotPages> =>
    shared("snapshot", async () => {
      if (base !== undefined) return base;
      const opened = await openSnapshotPages(source, signal);
      const { header, pages } = opened;
      const { name } = plan.snapshot;
      if (chain.root() === undefined) chain.snapshot(name, await opened.meta(signal), header.stateHash);
      else chain.base(name, { ...header, highWaterMark: pages }, header.stateHash);
      base = opened;
      return opened;
    });

  return {
    async root(signal) {
      while (chain.root() === undefined && waiting.length > 0) await openMore(signal);
      if (chain.root() === undefined) await openBase(signal);
      const end = chain.end();
      const root = chain.root();
      if (end === undefined || root === undefined)
        throw new PageferryError("corrupt", "nothing that was read tells where the root is");
      return { pageSize: end.pageSize, highWaterMark: end.highWaterMark, root };
    },
    async page(pageId, signal) {
      for (let at = 0; at < layers.length || waiting.length > 0; ) {
        const layer = layers[at];
        if (layer === undefined) {
          await openMore(signal);
          continue;
        }
        if (findRun(layer.facts.runs, pageId) !== undefined)
          return {
            bytes: await layer.step.page(layer.part, pageId, signal),
            object: layer.step.name,
          };
        at += 1;
      }
      const { pages, page } = await openBase(signal);
      if (pageId < pages) return { bytes: await page(pageId, signal), object: plan.snapshot.name };
      throw new PageferryError("corrupt", `page ${pageId}: no object of this point holds it`);
    },
  };
}

/** The next steps to open together: without their sizes, eight packs would be half a gigabyte. */
function nextBatch(waiting: readonly PlanStep[], countMax: number): PlanStep[] {
  const batch: PlanStep[] = [];
  let bytes = 0;
  for (const step of waiting) {
    if (batch.length > 0 && (batch.length >= countMax || bytes + step.size > openBytesMax)) break;
    batch.push(step);
    bytes += step.size;
  }
  return batch;
}
