// Reading an archive through a port: listings with the few facts that names do not tell, and whole objects. A reader is a directory, a
// store, or a host's API; this module does not know which.

import {
  type ArchiveListing,
  type GenerationLink,
  indexArchive,
  type ListedObject,
  type PackPoint,
  type RangeObject,
  withoutObjects,
} from "./archive-listing.ts";
import { isPageferryError, PageferryError } from "./errors.ts";
import { packBytesMax } from "./limits.ts";
import type { Generation } from "./names.ts";
import { decodePackIndex } from "./pack.ts";
import { type Point, points } from "./points.ts";
import type { RandomReader } from "./ports.ts";
import type { ReaderRanking } from "./reader-ranking.ts";
import { missingFacts } from "./restore-facts.ts";
import { planRestore, type RestorePlan, type RestoreTarget } from "./restore-plan.ts";
import { segmentState } from "./segment-header.ts";
import { readSegmentHeader } from "./segment-range.ts";

/** How to call a reader. */
export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
}

/** A part of an object; absent: from the beginning, to the end. */
export interface ReadRange extends ReadOptions {
  readonly offset?: number | undefined;
  readonly length?: number | undefined;
}

/** Where an archive is read from. Names are relative to the replica root. */
export interface ArchiveReader {
  /** A stable word for messages. Never holds a secret. */
  readonly name: string;
  list(options?: ReadOptions): AsyncIterable<ListedObject>;
  /** The object's bytes. Fails with `not-found` before the first byte. */
  get(name: string, options?: ReadRange): Promise<AsyncIterable<Uint8Array>>;
  /** The path of the file that holds an object, where objects are local files: threads read it themselves. */
  pathOf?(name: string): string;
  /** Whether it is asked only when the others could not give an object. Default false. */
  readonly isLastResort?: boolean;
}

/** Reads that are under way at a time: enough to hide a store's latency, few enough for its limits. */
const readsAtOnce = 8;

/** The first read of a pack: the index of a hundred segments. Longer ones are asked for again. Of other objects: their header. */
const packIndexBytes = 16 * 1024;

/** Reads an object, or a part of one, into memory that is the caller's alone; more than `bytesMax` bytes are `too-large`. */
export async function readObject(
  reader: ArchiveReader,
  name: string,
  options: ReadRange & { readonly bytesMax: number },
): Promise<Uint8Array> {
  const { bytesMax, ...range } = options;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of await reader.get(name, range)) {
    options.signal?.throwIfAborted();
    chunks.push(chunk);
    size += chunk.length;
    if (size > bytesMax) {
      throw new PageferryError("too-large", `${name} in ${reader.name}: more than ${bytesMax} bytes`);
    }
  }
  return Buffer.concat(chunks, size);
}

/** An archive whose listing grows as facts are read. */
export interface Archive {
  /** Those that could be listed. */
  readonly readers: readonly ArchiveReader[];
  readonly ranking: ReaderRanking;
  /** What a person should hear: readers that were left out, and why. */
  readonly warnings: readonly string[];
  /** The names of the readers that listed an object. */
  holders(name: string): readonly string[];
  /** How large an object is in a reader, by the reader's own listing; of one that did not list it, as the largest copy. */
  sizeIn(reader: Pick<ArchiveReader, "name">, object: ListedObject): number;
  /** Each once, with the size of its largest copy: a truncated one hides no whole one. */
  readonly objects: readonly ListedObject[];
  readonly links: ReadonlyMap<Generation, GenerationLink>;
  readonly linkProblems: ReadonlyMap<Generation, string>;
  readonly packs: Map<string, readonly PackPoint[]>;
  readonly stamps: Map<string, number>;
  readonly receipts: Map<string, number | null>;
  /** What is known by now, where it is kept from call to call. Absent: it is put in order anew each time. */
  listing?(): ArchiveListing;
}

/** What is known of the archive by now, for planning. */
export function listingOf(archive: Archive): ArchiveListing {
  return archive.listing?.() ?? indexArchive(archive.objects, archive);
}

/**
 * Plans a restore, reading the pack indexes and the times of Go-made segments that the target asks for. What was removed since it was listed is
 * planned around, with a warning, as if it had been listed a moment later.
 */
export async function planFromArchive(
  archive: Archive,
  target: RestoreTarget,
  options: ReadOptions & { readonly without?: ReadonlySet<string> } = {},
): Promise<RestorePlan> {
  let without: ReadonlySet<string> = options.without ?? new Set();
  const gone: string[] = [];
  const onGone = (name: string): void => {
    gone.push(`${name} was removed since it was listed`);
    without = new Set([...without, name]);
  };
  for (;;) {
    const listing = withoutObjects(listingOf(archive), without);
    const { packs, stamps } = missingFacts(listing, target);
    if (packs.length + stamps.length === 0) return withSources(archive, planRestore(listing, target), gone);
    await readFacts(archive, packs, stamps, { ...options, onGone });
  }
}

/** The same plan with what the listings told beyond it. */
function withSources(archive: Archive, plan: RestorePlan, gone: readonly string[]): RestorePlan {
  const objects = [plan.snapshot, ...plan.steps];
  return {
    ...plan,
    warnings: [...archive.warnings, ...gone, ...plan.warnings],
    holders: new Map(objects.map(({ name }) => [name, archive.holders(name)])),
    sizes: new Map(
      objects.map((object) => {
        const holders = archive.holders(object.name);
        return [object.name, new Map(holders.map((name) => [name, archive.sizeIn({ name }, object)]))];
      }),
    ),
  };
}

/** How to read what names do not tell. */
export interface FactOptions extends ReadOptions {
  /**
   * Told of each copy that was read and does not hold, and in which reader it is. With it an object that nobody can give stays without
   * its facts; absent, that is an error.
   */
  readonly onBroken?: ((name: string, reader: string) => void) | undefined;
}

/** Reads what names do not tell of packs: the points inside. `ranges` default to all whose index was not read. */
export async function readPackIndexes(
  archive: Archive,
  options: FactOptions & { readonly of?: (pack: RangeObject) => boolean } = {},
): Promise<void> {
  const ranges = [...listingOf(archive).generations.values()].flatMap((index) => index.ranges);
  const packs = ranges.filter((range) => range.kind === "pack" && range.points === undefined);
  await readFacts(archive, options.of === undefined ? packs : packs.filter(options.of), [], options);
}

/** Every point of the archive that can be restored, inside packs too, with times wherever an object holds one. */
export async function readPoints(archive: Archive, options: FactOptions = {}): Promise<Point[]> {
  await readPointFacts(archive, options);
  return points(listingOf(archive));
}

/** Reads what `readPoints` has to know. */
export async function readPointFacts(archive: Archive, options: FactOptions = {}): Promise<void> {
  const ranges = [...listingOf(archive).generations.values()].flatMap((index) => index.ranges);
  const packs = ranges.filter((range) => range.kind === "pack" && range.points === undefined);
  const stamps = ranges.filter((range) => range.kind === "segment" && range.stampMs === null);
  await readFacts(archive, packs, stamps, options);
}

async function readFacts(
  archive: Archive,
  packs: readonly RangeObject[],
  stamps: readonly RangeObject[],
  { onGone, ...options }: FactOptions & { readonly onGone?: (name: string) => void },
): Promise<void> {
  const unlessGone = (read: (object: RangeObject) => Promise<void>) => (object: RangeObject) =>
    read(object).catch((error: unknown) => {
      if (onGone === undefined || !isPageferryError(error, "not-found")) throw error;
      onGone(object.name);
    });
  const readPack = async (pack: RangeObject): Promise<void> =>
    void archive.packs.set(pack.name, await readPackPoints(archive, pack, options));
  const readTime = async (segment: RangeObject): Promise<void> =>
    void archive.stamps.set(segment.name, await readStamp(archive, segment, options));
  await eachFact(packs, options, unlessGone(readPack));
  await eachFact(stamps, options, unlessGone(readTime));
}

/** Reads a fact of each object, some at a time; what `onBroken` is told of stays without. */
export async function eachFact<Item>(
  objects: readonly Item[],
  options: FactOptions,
  read: (object: Item) => Promise<void>,
): Promise<void> {
  await eachAtOnce(objects, async (object) => {
    try {
      await read(object);
    } catch (error) {
      const isObjects = isPageferryError(error) && error.remedy !== "retry" && error.code !== "unauthorized";
      if (options.onBroken === undefined || !isObjects) throw error;
    }
  });
}

async function readPackPoints(
  archive: Archive,
  pack: RangeObject,
  options: FactOptions,
): Promise<readonly PackPoint[]> {
  return fromBest(archive, pack.name, packIndexBytes, options, async (reader) => {
    for (let length = packIndexBytes; ; length *= 8) {
      const isWhole = length >= archive.sizeIn(reader, pack);
      const range = isWhole ? {} : { offset: 0, length };
      const head = await readObject(reader, pack.name, { ...options, ...range, bytesMax: packBytesMax });
      try {
        return decodePackIndex(head).map(({ parentTxId, txId, stampMs, receivedMs }) => ({
          parentTxId,
          txId,
          stampMs: stampMs ?? null,
          receivedMs: receivedMs ?? null,
        }));
      } catch (error) {
        // The index may be longer than what was read of it.
        if (isWhole || !isPageferryError(error, "corrupt")) throw error;
      }
    }
  });
}

async function readStamp(archive: Archive, segment: RangeObject, options: FactOptions): Promise<number> {
  return fromBest(archive, segment.name, packIndexBytes, options, async (reader) => {
    const header = await readSegmentHeader(partsOf(archive, reader, segment, options));
    return segmentState(header).stampMs ?? Math.floor(header.createdAt ?? 0) * 1000;
  });
}

/** An object in a reader, to read parts of. */
export function partsOf(
  archive: Archive,
  reader: ArchiveReader,
  object: ListedObject,
  options: ReadOptions,
): RandomReader {
  return {
    size: archive.sizeIn(reader, object),
    read: (offset, length) =>
      readObject(reader, object.name, { ...options, offset, length, bytesMax: length }),
  };
}

/** Reads from the best reader that can; `bytes` is about how much. */
export async function fromBest<Value>(
  archive: Archive,
  name: string,
  bytes: number,
  options: FactOptions,
  read: (reader: ArchiveReader) => Promise<Value>,
): Promise<Value> {
  let failure: unknown;
  for (const reader of archive.ranking.order(bytes, archive.holders(name))) {
    try {
      return await read(reader);
    } catch (error) {
      options.signal?.throwIfAborted();
      archive.ranking.failed(reader, error);
      if (isPageferryError(error, "corrupt") || isPageferryError(error, "too-large"))
        options.onBroken?.(name, reader.name);
      failure = isPageferryError(error, "not-found") ? (failure ?? error) : error;
    }
  }
  throw failure;
}

/** Carries a task out for each item, some at a time. */
export async function eachAtOnce<Item>(
  items: readonly Item[],
  task: (item: Item) => Promise<void>,
): Promise<void> {
  const rest = items.values();
  const worker = async (): Promise<void> => {
    for (const item of rest) await task(item);
  };
  await Promise.all(Array.from({ length: readsAtOnce }, worker));
}
