// How one point is read part by part: from whichever reader has an object, counted, and held in a cache that points may share.

import { type ArchiveReader, readObject } from "./archive-reader.ts";
import type { ByteCache } from "./byte-cache.ts";
import { PageferryError } from "./errors.ts";
import type { RandomReader } from "./ports.ts";
import type { ReaderRanking } from "./reader-ranking.ts";
import { fromReaders } from "./restore-attempt.ts";
import type { RestorePlan } from "./restore-plan.ts";

/** What every part of one opened point shares. */
export interface PointSource {
  readonly plan: RestorePlan;
  readonly ranking: ReaderRanking;
  readonly cache: ByteCache;
  /** Begins the keys of what is cached: two archives may hold objects of one name. */
  readonly cachePrefix: string;
  /** The most bytes that an object which cannot be read by parts may decode to. */
  readonly wholeBytesMax: number;
  /** Told of every read. */
  readonly onRead: (bytes: number) => void;
  /** Told of what is held as long as the point is, beside the cache. */
  readonly onHold: (bytes: number) => void;
}

/** An object of the plan. */
export interface PlanObject {
  readonly name: string;
  readonly size: number;
}

/** An object in one reader. */
export interface ObjectSource {
  readonly reader: string;
  /** Begins the keys of what is cached of it. */
  readonly key: string;
  readonly parts: RandomReader;
  /** All of it, where it is at most `bytesMax` long; else `too-large`. */
  whole(bytesMax: number): Promise<Uint8Array>;
  /** All of it, as it comes. */
  stream(): Promise<AsyncIterable<Uint8Array>>;
}

/** What a frame's place takes in memory. */
export const placeBytes = 128;

/** What to do where something is too large to be looked into part by part. */
export const restoreInstead = {
  hint: "Restore the point to a file instead, with `pageferry restore`, and look there.",
};

/** Reads of an object from the first reader whose copy holds. What fails names object and reader. */
export function fromObject<Result>(
  source: PointSource,
  object: PlanObject,
  signal: AbortSignal | undefined,
  read: (from: ObjectSource) => Promise<Result>,
): Promise<Result> {
  const attempt = { ...source, signal, failed: () => undefined };
  return fromReaders(attempt, object, (reader) => read(objectIn(source, object, reader, signal)));
}

function objectIn(
  { plan, cachePrefix, onRead }: PointSource,
  { name, size: plannedSize }: PlanObject,
  reader: ArchiveReader,
  signal: AbortSignal | undefined,
): ObjectSource {
  const size = plan.sizes?.get(name)?.get(reader.name) ?? plannedSize;
  const counted = (bytes: Uint8Array): Uint8Array => {
    onRead(bytes.length);
    return bytes;
  };
  return {
    reader: reader.name,
    key: `${cachePrefix}${reader.name}\n${name}`,
    parts: {
      size,
      async read(offset, length) {
        if (length === 0) return new Uint8Array(0);
        const bytes = counted(await readObject(reader, name, { offset, length, signal, bytesMax: length }));
        if (bytes.length === length) return bytes;
        throw new PageferryError("corrupt", `${bytes.length} bytes where ${length} were asked for`);
      },
    },
    async whole(bytesMax) {
      if (size <= bytesMax) return counted(await readObject(reader, name, { signal, bytesMax }));
      throw new PageferryError(
        "too-large",
        `${size} bytes that can only be read as a whole, at most ${bytesMax} are`,
        restoreInstead,
      );
    },
    async stream() {
      return countedStream(await reader.get(name, { signal }), onRead);
    },
  };
}

async function* countedStream(
  chunks: AsyncIterable<Uint8Array>,
  onRead: PointSource["onRead"],
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  try {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      yield chunk;
    }
  } finally {
    onRead(bytes);
  }
}
