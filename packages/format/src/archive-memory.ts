// An archive that is kept from call to call: what was listed since is added to what is known, and nothing that was read is read again. The
// listings themselves are their owner's; they grow in place, and are replaced by another one where they are read anew.

import {
  type ArchiveListing,
  type GenerationLink,
  growListing,
  indexArchive,
  type ListedObject,
  type PackPoint,
  withFacts,
} from "./archive-listing.ts";
import { type LinkedArchive, readLinks, wordsOf } from "./archive-open.ts";
import type { Archive, ArchiveReader, ReadOptions } from "./archive-reader.ts";
import { PageferryError } from "./errors.ts";
import type { Generation } from "./names.ts";
import { createReaderRanking, type ReaderRanking } from "./reader-ranking.ts";

/** A reader with its listing, sizes by names. Names are only ever added to it. */
export interface ListedReader {
  readonly reader: ArchiveReader;
  /** Rejects where it cannot be listed now. */
  listed(options: ReadOptions): Promise<ReadonlyMap<string, number>>;
}

/** What is remembered of one archive. */
export interface ArchiveMemory {
  /** The archive as it is listed by now; it must not be kept for longer than one question. Errors: as `openArchive`. */
  open(readers: readonly ListedReader[], options?: ReadOptions): Promise<Archive>;
  /** Names that are kept in order. */
  size(): number;
}

/** Points inside packs that are remembered: some 30 MB. */
const packPointsMax = 300_000;

/** A listing as far as it was taken over. */
interface Taken {
  readonly reader: ArchiveReader;
  readonly listing: ReadonlyMap<string, number>;
  /** Never asked beyond the end: then it goes on with what is added. */
  readonly next: Iterator<[string, number]>;
  count: number;
}

/** How long a reader that was silent is asked last: it may be back. */
const frozenMs = 60_000;

/** Makes a memory, with nothing in it. */
export function createArchiveMemory(): ArchiveMemory {
  let kept: Kept | undefined;
  let turn: Promise<unknown> = Promise.resolve();
  const openNow = async (readers: readonly ListedReader[], options: ReadOptions): Promise<Archive> => {
    options.signal?.throwIfAborted();
    const listed = await Promise.allSettled(readers.map((one) => one.listed(options)));
    options.signal?.throwIfAborted();
    const usable: Usable[] = [];
    const warnings: string[] = [];
    for (const [at, { reader }] of readers.entries()) {
      const one = listed[at] as PromiseSettledResult<ReadonlyMap<string, number>>;
      if (one.status === "fulfilled") usable.push({ reader, listing: one.value });
      else warnings.push(`${reader.name} cannot be listed, and is left out: ${wordsOf(one.reason)}`);
    }
    if (usable.length === 0) {
      const failed = listed.find((one) => one.status === "rejected");
      throw failed?.reason ?? new PageferryError("bad-request", "an archive needs a reader");
    }
    kept = kept?.isOf(usable) === true ? kept : keep(usable, kept);
    await kept.grow(options);
    return kept.archive(warnings);
  };
  return {
    size: () => kept?.size() ?? 0,
    open(readers, options = {}) {
      const opened = turn.then(() => openNow(readers, options));
      turn = opened.catch(() => undefined);
      return opened;
    },
  };
}

type Usable = Pick<Taken, "reader" | "listing">;

/** What was read beyond names. */
interface Facts {
  readonly packs: Map<string, readonly PackPoint[]>;
  readonly stamps: Map<string, number>;
  readonly receipts: Map<string, number | null>;
}

interface Kept extends Facts {
  isOf(readers: readonly Usable[]): boolean;
  /** Takes over what was added. */
  grow(options: ReadOptions): Promise<void>;
  archive(warnings: readonly string[]): Archive;
  size(): number;
  readonly ranking: ReaderRanking;
  readonly readers: readonly ArchiveReader[];
}

function keep(usable: readonly Usable[], before: Kept | undefined): Kept {
  const taken = usable.map((one): Taken => ({ ...one, next: one.listing.entries(), count: 0 }));
  const readers = taken.map(({ reader }) => reader);
  const isSame =
    readers.length === before?.readers.length && readers.every((one) => before.readers.includes(one));
  const ranking =
    before !== undefined && isSame ? before.ranking : createReaderRanking(readers, { frozenMs });
  // Names are never given to other bytes: what was read of them holds for as long as they are there.
  const isListed = ([name]: readonly [string, unknown]): boolean =>
    usable.some(({ listing }) => listing.has(name));
  const facts: Facts = {
    packs: new Map([...(before?.packs ?? [])].filter(isListed)),
    stamps: new Map([...(before?.stamps ?? [])].filter(isListed)),
    receipts: new Map([...(before?.receipts ?? [])].filter(isListed)),
  };
  const links = { links: new Map<Generation, GenerationLink>(), linkProblems: new Map<Generation, string>() };
  const sizes = new Map<string, number>();
  const objects: ListedObject[] = [];
  let pending: ListedObject[] = [];
  const index = createIndex(objects, { ...facts, ...links });
  const base: Omit<LinkedArchive, "warnings"> = {
    ...{ readers, ranking, objects, ...facts, ...links, listing: index.listing },
    holders: (name) => taken.filter(({ listing }) => listing.has(name)).map(({ reader }) => reader.name),
    sizeIn: ({ name: reader }, { name, size }) =>
      taken.find((one) => one.reader.name === reader)?.listing.get(name) ?? size,
  };
  return {
    ...{ ...facts, ranking, readers },
    size: () => objects.length,
    isOf: (others) =>
      others.length === taken.length &&
      others.every(
        ({ reader, listing }, at) => taken[at]?.reader === reader && taken[at]?.listing === listing,
      ),
    archive: (warnings) => ({ ...base, warnings }),
    async grow(options) {
      index.forgetPoints();
      for (const one of taken) pending.push(...takeFrom(one, sizes, taken.length > 1));
      // What cannot be read now is asked for again at the next call.
      await readLinks({ ...base, warnings: [] }, pending, options);
      index.add(pending);
      pending = [];
    },
  };
}

/** What a listing got beyond what was taken of it; a copy counts once, unless it is larger than those before it. */
function takeFrom(one: Taken, sizes: Map<string, number>, hasOthers: boolean): ListedObject[] {
  const found: ListedObject[] = [];
  for (; one.count < one.listing.size; one.count += 1) {
    const { value, done } = one.next.next();
    if (done === true) break;
    const [name, size] = value;
    if (hasOthers) {
      if (size <= (sizes.get(name) ?? -1)) continue;
      sizes.set(name, size);
    }
    found.push({ name, size });
  }
  return found;
}

/** Objects in order, and what was read of them. */
function createIndex(objects: ListedObject[], facts: Facts & Pick<LinkedArchive, "links" | "linkProblems">) {
  let listing: ArchiveListing | undefined;
  let factsSeen = 0;
  const factCount = (): number => facts.packs.size + facts.stamps.size + facts.receipts.size;
  return {
    listing(): ArchiveListing {
      if (listing === undefined) listing = indexArchive(objects, facts);
      else if (factCount() !== factsSeen) listing = withFacts(listing, facts);
      factsSeen = factCount();
      return listing;
    },
    add(added: readonly ListedObject[]): void {
      for (const object of added) objects.push(object);
      if (added.length > 0 && listing !== undefined) listing = growListing(listing, added, facts);
    },
    forgetPoints(): void {
      let points = 0;
      for (const one of facts.packs.values()) points += one.length;
      if (points <= packPointsMax) return;
      facts.packs.clear();
      listing = undefined;
    },
  };
}
