// Reading an archive through a port: listings with the few facts that names do not tell, and whole objects. A reader is a directory, a
// store, or a host's API; this module does not know which.

import {
  type ArchiveListing,
  type GenerationLink,
  indexArchive,
  type ListedObject,
  type PackPoint,
  type RangeObject,
} from "./archive-listing.ts";
import { isPageferryError, PageferryError } from "./errors.ts";
import { parseGenerationJson } from "./generation-json.ts";
import { packBytesMax } from "./limits.ts";
import { type Generation, generationJsonName, parseObjectName } from "./names.ts";
import { decodePackIndex } from "./pack.ts";
import { type Point, points } from "./points.ts";
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
}

/** Reads that are under way at a time: enough to hide a store's latency, few enough for its limits. */
const readsAtOnce = 8;

/** The first read of a pack: the index of a hundred segments. Longer ones are asked for again. */
const packIndexBytes = 16 * 1024;

/** generation.json is a few hundred bytes. */
const generationJsonBytesMax = 64 * 1024;

/** Reads an object, or a part of one, into memory; more than `bytesMax` bytes are `too-large`. */
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
  const [only] = chunks;
  return chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks, size);
}

/** An archive whose listing grows as facts are read. */
export interface Archive {
  readonly readers: readonly ArchiveReader[];
  readonly objects: readonly ListedObject[];
  readonly links: ReadonlyMap<Generation, GenerationLink>;
  readonly linkProblems: ReadonlyMap<Generation, string>;
  readonly packs: Map<string, readonly PackPoint[]>;
  readonly stamps: Map<string, number>;
}

/**
 * Lists an archive through all its readers, of which each may hold what another lacks, and reads every generation.json. A reader that
 * cannot be listed is left out unless it is the last: then its error is thrown.
 */
export async function openArchive(
  readers: readonly ArchiveReader[],
  options: ReadOptions = {},
): Promise<Archive> {
  const objects = new Map<string, ListedObject>();
  const usable: ArchiveReader[] = [];
  let failure: unknown;
  for (const reader of readers) {
    try {
      for await (const { name, size } of reader.list(options))
        if (!objects.has(name)) objects.set(name, { name, size });
      usable.push(reader);
    } catch (error) {
      options.signal?.throwIfAborted();
      failure = error;
    }
  }
  if (usable.length === 0) throw failure ?? new PageferryError("bad-request", "an archive needs a reader");
  const links = new Map<Generation, GenerationLink>();
  const linkProblems = new Map<Generation, string>();
  const generations = new Set<Generation>();
  for (const name of objects.keys()) {
    const parsed = parseObjectName(name);
    if (parsed?.kind === "generation") generations.add(parsed.generation);
  }
  await eachAtOnce([...generations], async (generation) => {
    const name = generationJsonName(generation);
    try {
      const bytes = await readFrom(usable, name, { ...options, bytesMax: generationJsonBytesMax });
      links.set(generation, parseGenerationJson(bytes));
    } catch (error) {
      // Another generation must stay within reach; which is the newest is asked for, and refused, in planning.
      if (!isPageferryError(error) || error.remedy === "retry") throw error;
      if (error.code !== "not-found") linkProblems.set(generation, `${name}: ${error.message}`);
    }
  });
  return {
    readers: usable,
    objects: [...objects.values()],
    links,
    linkProblems,
    packs: new Map(),
    stamps: new Map(),
  };
}

/** What is known of the archive by now, for planning. */
export function listingOf(archive: Archive): ArchiveListing {
  return indexArchive(archive.objects, archive);
}

/** Plans a restore, reading the pack indexes and the times of Go-made segments that the target asks for. */
export async function planFromArchive(
  archive: Archive,
  target: RestoreTarget,
  options: ReadOptions & { readonly without?: ReadonlySet<string> } = {},
): Promise<RestorePlan> {
  for (;;) {
    const listing = listingOf(archive);
    const { packs, stamps } = missingFacts(listing, target);
    if (packs.length + stamps.length === 0) return planRestore(listing, target, options);
    await readFacts(archive, packs, stamps, options);
  }
}

/** Every point of the archive that can be restored, inside packs too, with times wherever an object holds one. */
export async function readPoints(archive: Archive, options: ReadOptions = {}): Promise<Point[]> {
  const ranges = [...listingOf(archive).generations.values()].flatMap((index) => index.ranges);
  const packs = ranges.filter((range) => range.kind === "pack" && range.points === undefined);
  const stamps = ranges.filter((range) => range.kind === "segment" && range.stampMs === null);
  await readFacts(archive, packs, stamps, options);
  return points(listingOf(archive));
}

async function readFacts(
  archive: Archive,
  packs: readonly RangeObject[],
  stamps: readonly RangeObject[],
  options: ReadOptions,
): Promise<void> {
  await eachAtOnce(packs, async (pack) => {
    archive.packs.set(pack.name, await readPackPoints(archive.readers, pack, options));
  });
  await eachAtOnce(stamps, async (segment) => {
    archive.stamps.set(segment.name, await readStamp(archive.readers, segment, options));
  });
}

async function readPackPoints(
  readers: readonly ArchiveReader[],
  pack: RangeObject,
  options: ReadOptions,
): Promise<readonly PackPoint[]> {
  for (let length = packIndexBytes; ; length *= 8) {
    const isWhole = length >= pack.size;
    const range = isWhole ? {} : { offset: 0, length };
    const head = await readFrom(readers, pack.name, { ...options, ...range, bytesMax: packBytesMax });
    try {
      return decodePackIndex(head).map(({ parentTxId, txId, stampMs }) => ({
        parentTxId,
        txId,
        stampMs: stampMs ?? null,
      }));
    } catch (error) {
      // The index may be longer than what was read of it.
      if (isWhole || !isPageferryError(error, "corrupt")) throw error;
    }
  }
}

async function readStamp(
  readers: readonly ArchiveReader[],
  segment: RangeObject,
  options: ReadOptions,
): Promise<number> {
  const header = await readSegmentHeader({
    size: segment.size,
    read: (offset, length) =>
      readFrom(readers, segment.name, { ...options, offset, length, bytesMax: length }),
  });
  return segmentState(header).stampMs ?? Math.floor(header.createdAt ?? 0) * 1000;
}

/** Reads from the first reader that can. */
async function readFrom(
  readers: readonly ArchiveReader[],
  name: string,
  options: ReadRange & { readonly bytesMax: number },
): Promise<Uint8Array> {
  let failure: unknown;
  for (const reader of readers) {
    try {
      return await readObject(reader, name, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      failure = isPageferryError(error, "not-found") ? (failure ?? error) : error;
    }
  }
  throw failure;
}

async function eachAtOnce<Item>(items: readonly Item[], task: (item: Item) => Promise<void>): Promise<void> {
  const rest = items.values();
  const worker = async (): Promise<void> => {
    for (const item of rest) await task(item);
  };
  await Promise.all(Array.from({ length: readsAtOnce }, worker));
}
