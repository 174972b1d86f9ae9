// What is asked of an agent: from what the replicas hold, and what was accepted and is not there. Pure, but for a memory of
// when a hole was first seen: what is still on its way is no hole.

import { formatTxId, type Generation, type GenerationNeeds, type Needs, type TxId } from "@pageferry/format";
import { type Coverage, missingFromAll, type Stretch } from "./coverage.ts";
import { type Holdings, newestRestorable, oldestBase } from "./holdings.ts";
import type { Source } from "./sources.ts";

/** Longer than a message may be invisible: by then what is missing is lost, or in a lane that says so. */
export const settleMsDefault = 90_000;

/** Newest generations that are told of; an agent asks for its own. */
const generationsMax = 32;

/** Holes that are named of one generation: more are asked for when these are healed. */
const missingMax = 1000;

export interface NeedsOptions {
  /** The replicas that could be listed. */
  readonly replicas: readonly Holdings[];
  readonly source: Source | undefined;
  /** Whether messages of this database still wait somewhere. */
  readonly isPending: boolean;
  readonly nowMs: number;
  readonly settleMs: number;
  /** How old the newest snapshot may become, where snapshots are built here; absent: agents send them. */
  readonly snapshotIntervalMs?: number | undefined;
  /** When each hole was first seen; kept by the caller, of one database. */
  readonly firstSeen: Map<string, number>;
}

/** Computes the answer to `GET …/needs`. */
export function computeNeeds(options: NeedsOptions): Needs {
  const generations = new Map<Generation, number>();
  for (const { generations: held } of options.replicas) {
    for (const [generation, { begin }] of held) {
      generations.set(generation, Math.max(generations.get(generation) ?? 0, begin?.epoch ?? 0));
    }
  }
  for (const [generation, { epoch }] of options.source?.generations ?? []) generations.set(generation, epoch);
  const newestFirst = [...generations].sort(([, a], [, b]) => b - a);
  const seen = new Set<string>();
  const told = newestFirst.slice(0, generationsMax).map(([generation]) => {
    return [generation, generationNeeds(generation, options, seen)] as const;
  });
  for (const hole of options.firstSeen.keys()) if (!seen.has(hole)) options.firstSeen.delete(hole);
  const newestEpoch = newestFirst[0]?.[1] ?? 0;
  const builds = options.snapshotIntervalMs === undefined ? {} : { buildsSnapshots: true };
  return { version: 1, newestEpoch, generations: Object.fromEntries(told), ...builds };
}

/** The same of one generation alone, with a memory of its own. */
export function computeGenerationNeeds(generation: Generation, options: NeedsOptions): GenerationNeeds {
  const seen = new Set<string>();
  const needs = generationNeeds(generation, options, seen);
  for (const hole of options.firstSeen.keys()) if (!seen.has(hole)) options.firstSeen.delete(hole);
  return needs;
}

function generationNeeds(generation: Generation, options: NeedsOptions, seen: Set<string>): GenerationNeeds {
  const { replicas, source } = options;
  const stored = replicas
    .map((holdings) => newestRestorable(holdings, generation))
    .filter((txId) => txId !== null);
  const storedTxId = stored.length === 0 ? null : max(stored);
  const isOld = (hole: string): boolean => {
    seen.add(hole);
    const sinceMs = options.firstSeen.get(hole) ?? options.nowMs;
    options.firstSeen.set(hole, sinceMs);
    return options.nowMs - sinceMs >= options.settleMs;
  };
  const accepted = source?.generations.get(generation)?.acceptedTxId ?? null;
  const missing = holes(generation, storedTxId, accepted, options)
    .filter(({ from, to }) => isOld(`${generation} ${formatTxId(from)} ${formatTxId(to)}`))
    .slice(0, missingMax)
    .map(({ from, to }) => [from, to] as const);
  // Remembered also while something waits: with a busy agent there always is.
  const isLost = storedTxId === null && isOld(`${generation} snapshot`) && !options.isPending;
  return { storedTxId, missing, snapshot: isLost || isStale(generation, options) };
}

/** One that was to be built and was not, nowhere, for as long again, is asked for. */
const staleIntervals = 2;

function isStale(generation: Generation, { replicas, snapshotIntervalMs }: NeedsOptions): boolean {
  if (snapshotIntervalMs === undefined) return false;
  const ages = replicas.flatMap((holdings) => {
    const held = holdings.generations.get(generation);
    const [newestMs, snapshotMs] = [held?.newestStampMs ?? null, held?.newestSnapshotMs ?? null];
    return newestMs === null || snapshotMs === null ? [] : [newestMs - snapshotMs];
  });
  return ages.length > 0 && ages.every((ageMs) => ageMs >= staleIntervals * snapshotIntervalMs);
}

/** Ranges that no replica holds, above the oldest base; at the end, what was accepted and came nowhere. */
function holes(
  generation: Generation,
  storedTxId: TxId | null,
  accepted: TxId | null,
  { replicas, isPending }: NeedsOptions,
): Stretch[] {
  const bases = replicas.map((holdings) => oldestBase(holdings, generation)).filter((txId) => txId !== null);
  if (storedTxId === null || bases.length === 0) return [];
  const coverages: Coverage[] = [];
  const snapshots: TxId[] = [];
  for (const holdings of replicas) {
    const held = holdings.generations.get(generation);
    if (held === undefined) continue;
    coverages.push(held.coverage);
    snapshots.push(...held.snapshots);
  }
  const missing = missingFromAll(coverages, min(bases));
  const reached = max([
    storedTxId,
    ...coverages.flatMap((coverage) => coverage.stretches().at(-1)?.to ?? []),
  ]);
  if (accepted !== null && accepted > reached && !isPending) missing.push({ from: reached, to: accepted });
  // A snapshot above a hole heals it: the transactions between are simply no points.
  const healed = max(snapshots.length === 0 ? [min(bases)] : snapshots);
  return missing.filter((hole) => hole.to > healed);
}

function max(ids: readonly TxId[]): TxId {
  return ids.toSorted((a, b) => (a < b ? 1 : -1))[0] as TxId;
}

function min(ids: readonly TxId[]): TxId {
  return ids.toSorted((a, b) => (a < b ? -1 : 1))[0] as TxId;
}
