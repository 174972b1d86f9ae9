// Carries compaction out on one replica: fetches what a merge joins, folds it, stores the range beside it. What it was made of stays until prune
// lets it go. Safe to run twice, at once, and to die in: a range is written once, under a name that says what it holds.

import {
  encodeSegmentAsync,
  type FoldStep,
  foldRange,
  isPageferryError,
  listingOf,
  openArchive,
  PageferryError,
  parseObjectName,
  segmentName,
  withReceived,
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

/** A merge that turns out too large is halved, as long as there is something to halve. */
async function carryOut(replica: Replica, merge: Merge, carrying: Carrying): Promise<void> {
  try {
    carrying.merged.push(countedIn(merge, await storeMerged(replica, merge, carrying)));
  } catch (error) {
    carrying.signal?.throwIfAborted();
    if (!isPageferryError(error)) throw error;
    if (!isPageferryError(error, "too-large")) {
      carrying.failed.add(merge.name);
      carrying.left.push({ name: merge.name, why: whyOf(error) });
      return;
    }
    carrying.memory.tooLarge.add(merge.name);
    for (const half of halvesOf(merge)) await carryOut(replica, half, carrying);
  }
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

function halvesOf(merge: Merge): Merge[] {
  const { sources, generation } = merge;
  const middle = sources.length >> 1;
  return [sources.slice(0, middle), sources.slice(middle)].flatMap((half, at) => {
    const [first, last] = [half[0], half.at(-1)];
    if (first === undefined || last === undefined || half.length < 2) return [];
    const parentTxId = at === 0 ? merge.parentTxId : first.from;
    const stampMs = last.stampMs ?? merge.stampMs;
    const name = segmentName({ generation, parentTxId, txId: last.to, stampMs });
    return [{ ...merge, name, parentTxId, txId: last.to, stampMs, sources: half }];
  });
}

async function storeMerged(replica: Replica, merge: Merge, options: CompactOptions): Promise<number> {
  const { signal, mergedBytesMax = mergedBytesMaxDefault } = options;
  const { segment, receivedMs } = await foldRange({
    steps: merge.sources as readonly FoldStep[],
    reader: replica.reader,
    parentTxId: merge.parentTxId,
    rawBytesMax: mergedBytesMax,
    signal,
  });
  const encoded = await encodeSegmentAsync(segment);
  const body = receivedMs === null ? encoded : withReceived(encoded, receivedMs);
  const name = parseObjectName(merge.name) as StateObjectName;
  const [outcome] = await replica.putAll(merge.generation, [{ name, body }], { signal });
  if (outcome?.kind === "failed") throw outcome.error;
  if (outcome?.kind === "fork") throw new PageferryError("fork", outcome.why);
  return body.length;
}
