// What an archive holds, from the names of its objects alone: per generation the snapshots and the ranges between states.
// Pure. The few facts that names do not tell (parents, epochs, what is inside a pack) are handed in. See docs/format.md#names.

import { type Generation, parseObjectName } from "./names.ts";
import type { StateHash } from "./state-hash.ts";
import { type TxId, txId } from "./txid.ts";

/** An object as a listing gives it. */
export interface ListedObject {
  /** Relative to the replica root. */
  readonly name: string;
  readonly size: number;
}

/** A point inside a pack: one of the segments that lie side by side in it. */
export interface PackPoint {
  readonly parentTxId: TxId;
  readonly txId: TxId;
  readonly stampMs: number | null;
  /** When the host took it, milliseconds; absent or null: its writer did not know. */
  readonly receivedMs?: number | null;
}

/** A segment or pack: it brings a database from any state in [parentTxId, txId) to `txId`. */
export interface RangeObject extends ListedObject {
  readonly kind: "segment" | "pack";
  readonly generation: Generation;
  readonly parentTxId: TxId;
  readonly txId: TxId;
  /** The commit stamp of `txId`; null where the name has none (made by the Go implementation) and nobody read it. */
  readonly stampMs: number | null;
  /** What the index of a pack says, ascending; absent while it was not read. */
  readonly points?: readonly PackPoint[];
  /** When the queue took `txId`; null: it does not say. Absent while it was not read. */
  readonly receivedMs?: number | null;
}

/** A whole database at one transaction. */
export interface SnapshotObject extends ListedObject {
  readonly kind: "snapshot";
  readonly generation: Generation;
  readonly txId: TxId;
  readonly stampMs: number;
  /** When the queue took `txId`; null: it does not say. Absent while it was not read. */
  readonly receivedMs?: number | null;
}

/** Where a generation comes from, as its generation.json says. */
export interface GenerationLink {
  readonly parent: { readonly generation: Generation; readonly txId: TxId } | null;
  /** Higher is newer. */
  readonly epoch: number;
  /** When the first of it came, by the clock of the host that took it; absent where nobody knows. */
  readonly receivedAtMs?: number;
  /** The state of the parent's point, where the generation begins at exactly that state; absent: it is not said to. */
  readonly parentStateHash?: StateHash | undefined;
}

/** One generation of an archive. */
export interface GenerationIndex {
  readonly generation: Generation;
  /** Null: there is no generation.json, as where the Go implementation wrote the generation. */
  readonly link: GenerationLink | null;
  /** Why its generation.json, which is there, could not be read; null: it could, or there is none. */
  readonly linkProblem: string | null;
  /** Ascending by txid, then by time. */
  readonly snapshots: readonly SnapshotObject[];
  /** Ascending by txid, then by parent. */
  readonly ranges: readonly RangeObject[];
}

/** An archive as its names tell it. */
export interface ArchiveListing {
  readonly generations: ReadonlyMap<Generation, GenerationIndex>;
}

/** What was read beyond the names. */
export interface ArchiveFacts {
  readonly links?: ReadonlyMap<Generation, GenerationLink>;
  /** What is wrong with a generation.json that was no use. */
  readonly linkProblems?: ReadonlyMap<Generation, string>;
  /** By the pack's name. */
  readonly packs?: ReadonlyMap<string, readonly PackPoint[]>;
  /** Commit stamps by a range's name, where the name itself has none. */
  readonly stamps?: ReadonlyMap<string, number>;
  /** By the name of a segment or snapshot: when the queue took what it leads to; null where it does not say. */
  readonly receipts?: ReadonlyMap<string, number | null>;
}

interface Growing {
  readonly generation: Generation;
  readonly snapshots: SnapshotObject[];
  readonly ranges: RangeObject[];
}

/** Orders what a listing shows. Names that are not ours are ignored; a name listed twice (by two replicas) counts once. */
export function indexArchive(objects: Iterable<ListedObject>, facts: ArchiveFacts = {}): ArchiveListing {
  const generations = new Map<Generation, GenerationIndex>();
  for (const [generation, found] of sorted(objects, facts))
    generations.set(generation, indexOf(found, facts));
  return { generations };
}

/** The same archive with objects that were listed since; what they do not touch stays the very same. */
export function growListing(
  listing: ArchiveListing,
  added: Iterable<ListedObject>,
  facts: ArchiveFacts,
): ArchiveListing {
  const generations = new Map(listing.generations);
  for (const [generation, { snapshots, ranges }] of sorted(added, facts)) {
    const index = generations.get(generation);
    const all = {
      generation,
      snapshots: [...(index?.snapshots ?? []), ...snapshots],
      ranges: [...(index?.ranges ?? []), ...ranges],
    };
    generations.set(generation, indexOf(all, facts));
  }
  return { generations };
}

/** The same archive with what was read of it since. */
export function withFacts(listing: ArchiveListing, facts: ArchiveFacts): ArchiveListing {
  const generations = new Map<Generation, GenerationIndex>();
  for (const [generation, index] of listing.generations) {
    const ranges = index.ranges.map((range) => rangeWith(range, facts));
    const snapshots = index.snapshots.map((snapshot) => received(snapshot, facts));
    const isSame =
      ranges.every((range, at) => range === index.ranges[at]) &&
      snapshots.every((snapshot, at) => snapshot === index.snapshots[at]);
    generations.set(generation, isSame ? index : { ...index, ranges, snapshots });
  }
  return { generations };
}

/** What is told of a range, as far as it did not know it. */
function rangeWith(range: RangeObject, facts: ArchiveFacts): RangeObject {
  const points =
    range.kind === "pack" && range.points === undefined ? facts.packs?.get(range.name) : undefined;
  const stampMs = range.stampMs ?? facts.stamps?.get(range.name) ?? null;
  const isSame = points === undefined && stampMs === range.stampMs;
  return received(isSame ? range : { ...range, stampMs, ...(points && { points }) }, facts);
}

function received<One extends RangeObject | SnapshotObject>(object: One, { receipts }: ArchiveFacts): One {
  const receivedMs = object.receivedMs === undefined ? receipts?.get(object.name) : undefined;
  return receivedMs === undefined ? object : { ...object, receivedMs };
}

function sorted(objects: Iterable<ListedObject>, facts: ArchiveFacts): Map<Generation, Growing> {
  const growing = new Map<Generation, Growing>();
  let index: Growing | undefined;
  for (const { name, size } of objects) {
    const parsed = parseObjectName(name);
    if (parsed === undefined || !("generation" in parsed)) continue;
    // One text for a generation, whichever of a million names it was read from.
    if (index?.generation !== parsed.generation) index = growingOf(growing, parsed.generation);
    const { generation } = index;
    if (parsed.kind === "generation") continue;
    if (parsed.kind === "snapshot") {
      const { txId: id, createdAtMs: stampMs } = parsed;
      index.snapshots.push(received({ kind: "snapshot", name, size, generation, txId: id, stampMs }, facts));
    } else if (parsed.firstTxId > 0n) {
      const parentTxId = txId(parsed.firstTxId - 1n);
      const { kind, lastTxId, stampMs } = parsed;
      index.ranges.push(
        rangeWith({ kind, name, size, generation, parentTxId, txId: lastTxId, stampMs }, facts),
      );
    }
  }
  return growing;
}

function indexOf({ generation, snapshots, ranges }: Growing, facts: ArchiveFacts): GenerationIndex {
  return {
    generation,
    link: facts.links?.get(generation) ?? null,
    linkProblem: facts.linkProblems?.get(generation) ?? null,
    snapshots: ordered(
      snapshots,
      (a, b) =>
        byBigInt(a.txId, b.txId) || a.stampMs - b.stampMs || byText(a.name, b.name) || b.size - a.size,
    ),
    ranges: ordered(
      ranges,
      (a, b) =>
        byBigInt(a.txId, b.txId) ||
        byBigInt(a.parentTxId, b.parentTxId) ||
        byText(a.name, b.name) ||
        b.size - a.size,
    ),
  };
}

function growingOf(growing: Map<Generation, Growing>, generation: Generation): Growing {
  const known = growing.get(generation);
  if (known !== undefined) return known;
  const index = { generation, snapshots: [], ranges: [] };
  growing.set(generation, index);
  return index;
}

/** Sorts, unless it is in order already, and leaves out what is listed twice: of one name the largest stays. */
function ordered<One extends RangeObject | SnapshotObject>(
  objects: One[],
  compare: (a: One, b: One) => number,
): One[] {
  if (objects.every(({ txId: id }, at) => at === 0 || (objects[at - 1] as One).txId < id)) return objects;
  return objects.sort(compare).filter(({ name }, at) => at === 0 || objects[at - 1]?.name !== name);
}

/** What is left without a set of names, for as long as both are used: a plan asks several times, and so does the next plan. */
const remainders = new WeakMap<ArchiveListing, WeakMap<ReadonlySet<string>, ArchiveListing>>();

/**
 * The same archive without some of its objects: what is left when they turned out to be missing or broken. The set must not be changed
 * afterwards.
 */
export function withoutObjects(listing: ArchiveListing, names: ReadonlySet<string>): ArchiveListing {
  if (names.size === 0) return listing;
  const known = remainders.get(listing) ?? new WeakMap<ReadonlySet<string>, ArchiveListing>();
  remainders.set(listing, known);
  const remainder = known.get(names) ?? leftOf(listing, names);
  known.set(names, remainder);
  return remainder;
}

function leftOf(listing: ArchiveListing, names: ReadonlySet<string>): ArchiveListing {
  const touched = new Set(Array.from(names, (name) => name.slice(0, name.indexOf("/"))));
  const generations = new Map<Generation, GenerationIndex>();
  for (const [generation, index] of listing.generations) {
    if (!touched.has(generation)) generations.set(generation, index);
    else {
      generations.set(generation, {
        ...index,
        snapshots: index.snapshots.filter((snapshot) => !names.has(snapshot.name)),
        ranges: index.ranges.filter((range) => !names.has(range.name)),
      });
    }
  }
  return { generations };
}

/** Compares two bigints for a sort. */
export function byBigInt(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
