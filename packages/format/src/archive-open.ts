// Opening an archive: its readers are listed, each by itself, and every generation.json is read.

import type { GenerationLink, ListedObject, PackPoint } from "./archive-listing.ts";
import {
  type Archive,
  type ArchiveReader,
  eachAtOnce,
  fromBest,
  type ReadOptions,
  readObject,
} from "./archive-reader.ts";
import { isPageferryError, PageferryError } from "./errors.ts";
import { parseGenerationJson } from "./generation-json.ts";
import { type Generation, generationJsonName, parseObjectName } from "./names.ts";
import { createReaderRanking, type ReaderRanking } from "./reader-ranking.ts";

/** generation.json is a few hundred bytes. */
const generationJsonBytesMax = 64 * 1024;

/** How to open an archive. */
export interface OpenArchiveOptions extends ReadOptions {
  /** Silence after which a listing is given up, where there are other readers. Default 10 s. */
  readonly stallMs?: number | undefined;
}

/**
 * Lists an archive through all its readers at once, of which each may hold what another lacks, and reads every generation.json. A reader
 * that cannot be listed is left out, with a warning, unless all are: then the first one's error is thrown.
 */
export async function openArchive(
  readers: readonly ArchiveReader[],
  options: OpenArchiveOptions = {},
): Promise<Archive> {
  const ranking = createReaderRanking(readers, { stallMs: options.stallMs });
  const listings = await Promise.allSettled(readers.map((reader) => listAll(reader, ranking, options)));
  options.signal?.throwIfAborted();
  const objects = new Map<string, ListedObject>();
  const sizes = new Map<string, Map<string, number>>();
  const usable: ArchiveReader[] = [];
  const warnings: string[] = [];
  let failure: unknown;
  for (const [at, listing] of listings.entries()) {
    const reader = readers[at] as ArchiveReader;
    if (listing.status === "rejected") {
      failure ??= listing.reason;
      warnings.push(`${reader.name} cannot be listed, and is left out: ${wordsOf(listing.reason)}`);
      continue;
    }
    usable.push(reader);
    const own = sizes.get(reader.name) ?? new Map<string, number>();
    for (const object of listing.value) {
      if (object.size > (objects.get(object.name)?.size ?? -1)) objects.set(object.name, object);
      if (readers.length > 1) own.set(object.name, object.size);
    }
    if (readers.length > 1) sizes.set(reader.name, own);
  }
  if (usable.length === 0) throw failure ?? new PageferryError("bad-request", "an archive needs a reader");
  const names = [...new Set(usable.map(({ name }) => name))];
  const archive = {
    readers: usable,
    ranking: createReaderRanking(usable, { stallMs: options.stallMs }),
    warnings,
    holders: (name: string) =>
      readers.length === 1 ? names : names.filter((reader) => sizes.get(reader)?.has(name) === true),
    sizeIn: (reader: Pick<ArchiveReader, "name">, { name, size }: ListedObject) =>
      sizes.get(reader.name)?.get(name) ?? size,
    objects: [...objects.values()],
    links: new Map<Generation, GenerationLink>(),
    linkProblems: new Map<Generation, string>(),
    packs: new Map<string, readonly PackPoint[]>(),
    stamps: new Map<string, number>(),
    receipts: new Map<string, number | null>(),
  };
  await readLinks(archive, archive.objects, options);
  return archive;
}

async function listAll(
  reader: ArchiveReader,
  ranking: ReaderRanking,
  { signal }: ReadOptions,
): Promise<ListedObject[]> {
  const leave = new AbortController();
  const until = signal === undefined ? leave.signal : AbortSignal.any([signal, leave.signal]);
  try {
    return await ranking.untilStalled(reader, async (progress) => {
      const found: ListedObject[] = [];
      for await (const { name, size } of reader.list({ signal: until })) {
        progress();
        found.push({ name, size });
      }
      return found;
    });
  } catch (error) {
    leave.abort(error);
    throw error;
  }
}

/** What an error says, for a warning. */
export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** An archive whose links are still being read. */
export type LinkedArchive = Archive & {
  readonly links: Map<Generation, GenerationLink>;
  readonly linkProblems: Map<Generation, string>;
};

/** Reads every generation.json among objects. One that is no use is a problem of its generation, and no error. */
export async function readLinks(
  archive: LinkedArchive,
  objects: readonly ListedObject[],
  options: ReadOptions,
): Promise<void> {
  const generations = new Set<Generation>();
  for (const { name } of objects) {
    const parsed = name.endsWith("/generation.json") ? parseObjectName(name) : undefined;
    if (parsed?.kind === "generation") generations.add(parsed.generation);
  }
  await eachAtOnce([...generations], async (generation) => {
    const name = generationJsonName(generation);
    try {
      const read = async (reader: ArchiveReader): Promise<GenerationLink> =>
        parseGenerationJson(await readObject(reader, name, { ...options, bytesMax: generationJsonBytesMax }));
      archive.links.set(generation, await fromBest(archive, name, 0, options, read));
    } catch (error) {
      // Another generation must stay within reach; which is the newest is asked for, and refused, in planning.
      if (!isPageferryError(error) || error.remedy === "retry") throw error;
      if (error.code !== "not-found") archive.linkProblems.set(generation, `${name}: ${error.message}`);
    }
  });
}
