// Carries compaction out on one replica: fetches what a merge joins, folds it, stores the range beside it. What it was made of stays until prune
// lets it go. Safe to run twice, at once, and to die in: a range is written once, under a name that says what it holds.

import {
  encodeSegmentAsync,
  type FoldedRange,
  type FoldStep,
  foldRange,
  isPageferryError,
  listingOf,
  openArchive,
  PageferryError,
  parseObjectName,
  segmentName,
} from "@pageferry/format";
import { type CompactMemory, createCompactMemory, readKnownIndexes } from "./compact-memory.ts";
import { type Merge, planMerges } from "./compact-plan.ts";
import type { StateObjectName } from "./describe.ts";
import { whyOf } from "./repair-copy.ts";
import type { Replica } from "./replica.ts";
import type { CallOptions } from "./store.ts";

/**
 * Bytes of pages in one range: a restore holds some of them in memory at a time. What would be larger stays finer, until a snapshot makes it
 * needless.
 */
const mergedBytesMaxDefault = 16 * 1024 * 1024;

/** Merges of one run: a backlog is worked off in several, between which others have their turn. */
const mergesMaxDefault = 500;

export interface CompactOptions extends CallOptions {
  /** Windows, finest first; none: nothing is merged. */
  readonly levelsMs: readonly number[];
  readonly now: () => number;
  readonly memory?: CompactMemory;
  readonly mergesMax?: number;
  readonly mergedBytesMax?: number;
  /** Only says what would be merged. */
  readonly dryRun?: boolean;
}

/** One merge that was carried out. */
export interface Merged {
  readonly name: string;
  readonly level: number;
  readonly sources: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface CompactReport {
  readonly replica: string;
  readonly dryRun: boolean;
  readonly merged: readonly Merged[];
  /** What was due and could not be merged. */
  readonly left: readonly { readonly name: string; readonly why: string }[];
  /** More is due: the next run goes on. */
  readonly isPartial: boolean;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** Merges what is due, finest level first. What fails is in the report; throws what listing throws, and the signal's reason. */
export async function compactReplica(replica: Replica, options: CompactOptions): Promise<CompactReport> {
  const { levelsMs, now, signal, dryRun = false, mergesMax = mergesMaxDefault } = options;
  const memory = options.memory ?? createCompactMemory();
  const merged: Merged[] = [];
  const left: { name: string; why: string }[] = [];
  const failed = new Set<string>();
  let count = 0;
  for (const level of levelsMs.keys()) {
    const archive = await openArchive([replica.remembered], { signal });
    await readKnownIndexes(archive, memory, signal);
    const due = planMerges(listingOf(archive), level, { levelsMs, nowMs: now() });
    for (const merge of due) {
      if (memory.tooLarge.has(merge.name) || failed.has(merge.name)) continue;
      if (count >= mergesMax) break;
      count += 1;
      signal?.throwIfAborted();
      if (dryRun) merged.push(countedIn(merge, 0));
      else await carryOut(replica, merge, { ...options, memory, merged, left, failed });
    }
  }
  // Others removed what is remembered here.
  if (left.some(({ why }) => why.startsWith("not-found"))) await replica.refresh({ signal });
  const sum = (key: "bytesIn" | "bytesOut") => merged.reduce((total, one) => total + one[key], 0);
  const isPartial = count >= mergesMax;
  return {
    ...{ replica: replica.name, dryRun, merged, left, isPartial },
    ...{ bytesIn: sum("bytesIn"), bytesOut: sum("bytesOut") },
  };
}

interface Carrying extends CompactOptions {
  readonly memory: CompactMemory;
  readonly merged: Merged[];
  readonly left: { name: string; why: string }[];
  readonly failed: Set<string>;
}

/** A merge that turns out too large becomes several, cut from its newest end on. */
async function carryOut(replica: Replica, merge: Merge, carrying: Carrying): Promise<void> {
  let current = merge;
  try {
    for (;;) {
      const rest = await carryOutNewest(replica, current, carrying);
      if (rest === undefined) return;
      carrying.memory.tooLarge.add(merge.name);
      current = rest;
    }
  } catch (error) {
    carrying.signal?.throwIfAborted();
    if (!isPageferryError(error)) throw error;
    carrying.failed.add(merge.name);
    carrying.left.push({ name: current.name, why: whyOf(error) });
  }
}

/** Stores what fits into one range, of two objects at least; returns the rest. */
async function carryOutNewest(
  replica: Replica,
  merge: Merge,
  carrying: Carrying,
): Promise<Merge | undefined> {
  const { signal, mergedBytesMax = mergedBytesMaxDefault } = carrying;
  const { sources, parentTxId } = merge;
  let folded: FoldedRange;
  try {
    folded = await foldRange({
      steps: sources as readonly FoldStep[],
      ...{ reader: replica.reader, parentTxId, rawBytesMax: mergedBytesMax, signal },
    });
  } catch (error) {
    if (!isPageferryError(error, "too-large")) throw error;
    carrying.memory.tooLarge.add(merge.name);
    return olderOf(merge, 1);
  }
  const { steps } = folded;
  const part = newerOf(merge, steps);
  if (steps > 1 || sources.length === 1) {
    carrying.merged.push(countedIn(part, await storeMerged(replica, part, folded, signal)));
  }
  folded.release();
  return olderOf(merge, steps);
}

/** The newest `count` sources of a merge. */
function newerOf(merge: Merge, count: number): Merge {
  const sources = merge.sources.slice(-count);
  const [first] = sources;
  if (count >= merge.sources.length || first === undefined) return merge;
  return named({ ...merge, parentTxId: first.from, sources });
}

/** A merge without its newest `count` sources; `undefined` where there is nothing left to join. */
function olderOf(merge: Merge, count: number): Merge | undefined {
  const sources = merge.sources.slice(0, -count);
  const last = sources.at(-1);
  if (last === undefined || sources.length < 2) return undefined;
  return named({ ...merge, txId: last.to, stampMs: last.stampMs ?? merge.stampMs, sources });
}

function named(merge: Merge): Merge {
  return { ...merge, name: segmentName(merge) };
}

function countedIn(merge: Merge, bytesOut: number): Merged {
  const { name, level, sources } = merge;
  return {
    name,
    level,
    sources: sources.length,
    bytesIn: sources.reduce((total, { size }) => total + size, 0),
    bytesOut,
  };
}

async function storeMerged(
  replica: Replica,
  merge: Merge,
  folded: FoldedRange,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { segment, receivedMs } = folded;
  const encoding = encodeSegmentAsync(segment, receivedMs === null ? {} : { receivedMs });
  // The pages are copied by now.
  folded.release();
  const body = await encoding;
  const name = parseObjectName(merge.name) as StateObjectName;
  const [outcome] = await replica.putAll(merge.generation, [{ name, body }], { signal });
  if (outcome?.kind === "failed") throw outcome.error;
  if (outcome?.kind === "fork") throw new PageferryError("fork", outcome.why);
  return body.length;
}
