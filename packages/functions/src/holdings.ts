// What one replica holds of one database, in little memory: per generation the covered transactions, the snapshots, and
// the newest states with their hashes. Filled from a listing when cold, then kept up to date by what is stored.

import type { CompanionsName, Generation, GenerationJson, ObjectName, TxId } from "@pageferry/format";
import { type Coverage, createCoverage } from "./coverage.ts";
import type { StateLink, StateObjectName } from "./describe.ts";

/** Newest states of a generation that are kept with their hashes. Older ones are looked up when something touches them. */
const recentStatesMax = 4096;

/** A state that is stored, and where. */
export interface KnownState extends StateLink {
  readonly name: StateObjectName;
  readonly size: number;
  /** Whether the object was looked into; before that only its name is known, and no hash. */
  readonly isRead: boolean;
}

export interface GenerationHoldings {
  readonly generation: Generation;
  /** What generation.json says; `null`: there is none. */
  begin: GenerationJson | null;
  readonly coverage: Coverage;
  /** Ascending. */
  readonly snapshots: readonly TxId[];
  /** The newest transaction of any object. */
  readonly newestTxId: TxId | null;
  /** The commit stamp of that transaction. */
  readonly newestStampMs: number | null;
  /** The commit stamp of the newest snapshot. */
  readonly newestSnapshotMs: number | null;
  readonly newestSnapshot: HeldSnapshot | null;
  /** Ranges above the newest snapshot, also those that were merged since: about what a restore reads besides. Null: too many. */
  readonly aboveSnapshot: Tally | null;
  statesAt(txId: TxId): readonly KnownState[];
  /** Whether some object ends in exactly this state; states too old to be remembered are taken to be there. */
  mayHold(txId: TxId): boolean;
  /** Notes an object and the states in it; the same object again replaces what was known of it. */
  add(name: StateObjectName, size: number, links?: readonly StateLink[]): void;
}

/** Some objects, and their bytes. */
export interface Tally {
  readonly objects: number;
  readonly bytes: number;
}

/** A snapshot that is stored. */
export interface HeldSnapshot {
  readonly txId: TxId;
  /** The commit's time. */
  readonly stampMs: number;
  readonly bytes: number;
}

export interface Holdings {
  readonly generations: ReadonlyMap<Generation, GenerationHoldings>;
  /** When the newest version of companion files was read; null: there is none. */
  newestFilesMs: number | null;
  /** Objects in `quarantine/`: histories that nobody has decided about. */
  quarantined: number;
  /** Every object by its name, with its size; undefined where there are more than is kept in memory. */
  objects: Map<string, number> | undefined;
  /** How many there are of each kind, and how large they are together. */
  readonly tallies: Map<ObjectName["kind"], Tally>;
  of(generation: Generation): GenerationHoldings;
}

/** Names that are kept: some 50 MB. A replica that is compacted and pruned has a tenth of that. */
const objectsMax = 200_000;

/** Notes an object's name and size, as long as there is room, and counts it. */
export function noteObject(holdings: Holdings, { kind, name }: Named, size: number): void {
  const before = holdings.objects?.get(name);
  const tally = holdings.tallies.get(kind) ?? { objects: 0, bytes: 0 };
  // With more names than are kept, what is stored twice is counted twice, until the next listing.
  holdings.tallies.set(kind, {
    objects: tally.objects + (before === undefined ? 1 : 0),
    bytes: tally.bytes + size - (before ?? 0),
  });
  holdings.objects?.set(name, size);
  if ((holdings.objects?.size ?? 0) > objectsMax) holdings.objects = undefined;
}

/** Notes a version of companion files. */
export function noteCompanions(holdings: Holdings, name: Pick<CompanionsName, "stampMs"> | undefined): void {
  if (name !== undefined) holdings.newestFilesMs = Math.max(holdings.newestFilesMs ?? 0, name.stampMs);
}

type Named = Pick<ObjectName, "kind" | "name">;

export function createHoldings(): Holdings {
  const generations = new Map<Generation, GenerationHoldings>();
  return {
    generations,
    quarantined: 0,
    newestFilesMs: null,
    objects: new Map(),
    tallies: new Map(),
    of(generation) {
      const known = generations.get(generation) ?? createGeneration(generation);
      generations.set(generation, known);
      return known;
    },
  };
}

function createGeneration(generation: Generation): GenerationHoldings {
  const coverage = createCoverage();
  const recent = new Map<TxId, KnownState[]>();
  const snapshots: TxId[] = [];
  let newest: { readonly txId: TxId; readonly stampMs: number | null } | undefined;
  let newestSnapshot: HeldSnapshot | null = null;
  const above = createAbove();
  return {
    generation,
    begin: null,
    coverage,
    snapshots,
    get newestTxId() {
      return newest?.txId ?? null;
    },
    get newestStampMs() {
      return newest?.stampMs ?? null;
    },
    get newestSnapshotMs() {
      return newestSnapshot?.stampMs ?? null;
    },
    get newestSnapshot() {
      return newestSnapshot;
    },
    get aboveSnapshot() {
      return above.tally();
    },
    statesAt: (txId) => recent.get(txId) ?? [],
    mayHold: (txId) =>
      recent.has(txId) ||
      snapshots.includes(txId) ||
      (recent.size >= recentStatesMax && isBelowAll(recent, txId)),
    add(name, size, links) {
      const isSnapshot = name.kind === "snapshot";
      const last = isSnapshot ? name.txId : name.lastTxId;
      const stampMs = isSnapshot ? name.createdAtMs : name.stampMs;
      if (!isSnapshot) coverage.add(parentOf(name), last);
      else if (!snapshots.includes(last)) insertAscending(snapshots, last);
      if (!isSnapshot) above.add(last, size);
      else if (last === snapshots.at(-1)) {
        newestSnapshot = { txId: last, stampMs: name.createdAtMs, bytes: size };
        above.from(last);
      }
      if (newest === undefined || last >= newest.txId)
        newest = { txId: last, stampMs: stampMs ?? newest?.stampMs ?? null };
      const states = links ?? [{ parentTxId: isSnapshot ? null : parentOf(name), txId: last }];
      for (const link of states) remember(recent, { ...link, name, size, isRead: links !== undefined });
    },
  };
}

/** Ranges that are counted one by one: a replica whose snapshots are built has a thousandth of that above the newest. */
const aboveMax = 200_000;

/** Counts ranges above a transaction, which rises. The same object twice counts twice, until the next listing. */
function createAbove() {
  let base: TxId | null = null;
  let ranges: { readonly last: TxId; readonly size: number }[] | undefined = [];
  let bytes = 0;
  return {
    tally: (): Tally | null => (ranges === undefined ? null : { objects: ranges.length, bytes }),
    add(last: TxId, size: number): void {
      if (ranges === undefined || (base !== null && last <= base)) return;
      ranges.push({ last, size });
      bytes += size;
      if (ranges.length > aboveMax) ranges = undefined;
    },
    from(txId: TxId): void {
      base = txId;
      ranges = ranges?.filter(({ last }) => last > txId);
      bytes = ranges?.reduce((sum, { size }) => sum + size, 0) ?? 0;
    },
  };
}

function parentOf(name: Exclude<StateObjectName, { readonly kind: "snapshot" }>): TxId {
  return (name.firstTxId === 0n ? 0n : name.firstTxId - 1n) as TxId;
}

function insertAscending(ids: TxId[], id: TxId): void {
  const at = ids.findIndex((other) => other > id);
  ids.splice(at === -1 ? ids.length : at, 0, id);
}

function remember(recent: Map<TxId, KnownState[]>, state: KnownState): void {
  const others = (recent.get(state.txId) ?? []).filter((other) => other.name.name !== state.name.name);
  recent.delete(state.txId);
  recent.set(state.txId, [...others, state]);
  for (const [oldest] of recent) {
    if (recent.size <= recentStatesMax) break;
    recent.delete(oldest);
  }
}

function isBelowAll(recent: ReadonlyMap<TxId, unknown>, txId: TxId): boolean {
  for (const known of recent.keys()) if (known < txId) return false;
  return true;
}

/**
 * The newest transaction of a generation that can be restored from these holdings: from a snapshot, or over the bridge
 * from its parent; `null` if none can.
 */
export function newestRestorable(holdings: Holdings, generation: Generation): TxId | null {
  const index = holdings.generations.get(generation);
  if (index === undefined) return null;
  let newest: TxId | null = null;
  for (const base of index.snapshots) newest = later(newest, index.coverage.reachFrom(base));
  const bridge = bridgeOf(holdings, index, new Set());
  return bridge === null ? newest : later(newest, index.coverage.reachFrom(bridge));
}

/** The oldest transaction ranges must lead on from without a hole: the newest base's own stretch is what counts. */
export function oldestBase(holdings: Holdings, generation: Generation): TxId | null {
  const index = holdings.generations.get(generation);
  if (index === undefined) return null;
  return index.snapshots[0] ?? bridgeOf(holdings, index, new Set());
}

/**
 * The parent's transaction that the generation begins at, if its ranges begin there, or it is said to begin there, and the parent can be
 * restored to exactly it: inside a merged range there is no point to stand on.
 */
function bridgeOf(holdings: Holdings, index: GenerationHoldings, seen: Set<Generation>): TxId | null {
  const parent = index.begin?.parent ?? null;
  if (parent === null || seen.has(index.generation)) return null;
  seen.add(index.generation);
  const from = holdings.generations.get(parent.generation);
  const beginsThere =
    index.begin?.parentStateHash !== undefined || index.coverage.reachFrom(parent.txId) !== parent.txId;
  if (from === undefined || !beginsThere) return null;
  if (!from.mayHold(parent.txId)) return null;
  const isReached = (base: TxId) => base <= parent.txId && from.coverage.reachFrom(base) >= parent.txId;
  if (from.snapshots.some(isReached)) return parent.txId;
  const further = bridgeOf(holdings, from, seen);
  return further !== null && isReached(further) ? parent.txId : null;
}

function later(a: TxId | null, b: TxId): TxId {
  return a === null || b > a ? b : a;
}
