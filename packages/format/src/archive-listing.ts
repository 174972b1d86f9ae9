// What an archive holds, from the names of its objects alone: per generation the snapshots and the ranges between states.
// Pure. The few facts that names do not tell (parents, epochs, what is inside a pack) are handed in. See docs/format.md#names.

import { type Generation, parseObjectName } from "./names.ts";
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
  const growing = new Map<Generation, Growing>();
  let index: Growing | undefined;
  for (const { name, size } of objects) {
    const parsed = parseObjectName(name);
    if (parsed === undefined || !("generation" in parsed)) continue;
    // One text for a generation, whichever of a million names it was read from.
    if (index?.generation !== parsed.generation) index = growingOf(growing, parsed.generation);
    const { generation } = index;
    if (parsed.kind === "generation") continue;
    const receivedMs = facts.receipts?.get(name);
    if (parsed.kind === "snapshot") {
      const { txId: id, createdAtMs } = parsed;
      const snapshot = { kind: "snapshot", name, size, generation, txId: id, stampMs: createdAtMs } as const;
      index.snapshots.push(receivedMs === undefined ? snapshot : { ...snapshot, receivedMs });
    } else if (parsed.firstTxId > 0n) {
      const points = parsed.kind === "pack" ? facts.packs?.get(name) : undefined;
      const range = {
        kind: parsed.kind,
        name,
        size,
        generation,
        parentTxId: txId(parsed.firstTxId - 1n),
        txId: parsed.lastTxId,
        stampMs: parsed.stampMs ?? facts.stamps?.get(name) ?? null,
      };
      index.ranges.push(
        points === undefined && receivedMs === undefined
          ? range
          : { ...range, ...(points && { points }), ...(receivedMs !== undefined && { receivedMs }) },
      );
    }
  }
  const generations = new Map<Generation, GenerationIndex>();
  for (const [generation, { snapshots, ranges }] of growing) {
    generations.set(generation, {
      generation,
      link: facts.links?.get(generation) ?? null,
      linkProblem: facts.linkProblems?.get(generation) ?? null,
      snapshots: ordered(
        snapshots,
        (a, b) => byBigInt(a.txId, b.txId) || a.stampMs - b.stampMs || byText(a.name, b.name),
      ),
      ranges: ordered(
        ranges,
        (a, b) => byBigInt(a.txId, b.txId) || byBigInt(a.parentTxId, b.parentTxId) || byText(a.name, b.name),
      ),
    });
  }
  return { generations };
}

function growingOf(growing: Map<Generation, Growing>, generation: Generation): Growing {
  const known = growing.get(generation);
  if (known !== undefined) return known;
  const index = { generation, snapshots: [], ranges: [] };
  growing.set(generation, index);
  return index;
}

/** Sorts, unless it is in order already, and leaves out what is listed twice: of one name the first. */
function ordered<One extends RangeObject | SnapshotObject>(
  objects: One[],
  compare: (a: One, b: One) => number,
): One[] {
  if (objects.every(({ txId: id }, at) => at === 0 || (objects[at - 1] as One).txId < id)) return objects;
  return objects.sort(compare).filter(({ name }, at) => at === 0 || objects[at - 1]?.name !== name);
}

/** The same archive without some of its objects: what is left when they turned out to be missing or broken. */
export function withoutObjects(listing: ArchiveListing, names: ReadonlySet<string>): ArchiveListing {
  if (names.size === 0) return listing;
  const generations = new Map<Generation, GenerationIndex>();
  for (const [generation, index] of listing.generations) {
    generations.set(generation, {
      ...index,
      snapshots: index.snapshots.filter((snapshot) => !names.has(snapshot.name)),
      ranges: index.ranges.filter((range) => !names.has(range.name)),
    });
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
