// Objects of archives as a host gives them: each from the fastest replica that has it whole. What is learned of replicas is kept from call to
// call.

import {
  type ArchiveReader,
  createReaderRanking,
  isPageferryError,
  PageferryError,
  parseObjectName,
  type ReaderRanking,
  type ReaderSpeed,
  type ReadRange,
} from "@pageferry/format";
import type { HostReader } from "./host-reader.ts";
import type { CallOptions } from "./store.ts";

/** How long a replica that was silent is asked last: it may be back, and is asked again. */
const frozenMs = 60_000;

/** Databases whose replicas' speed is remembered. */
const rankingsMax = 1000;

/** An object, and who has it whole. */
export interface FoundObject {
  readonly name: string;
  /** Of the largest copy: one that was cut hides no whole one. */
  readonly size: number;
  readonly holders: readonly string[];
}

/** Gives objects of archives. What is no object of an archive is `not-found`, whatever the store holds. */
export interface ObjectServer {
  find(readers: readonly HostReader[], name: string, call?: CallOptions): Promise<FoundObject>;
  /** Opens an object; a replica that fails in the middle is replaced by another one there. */
  open(
    readers: readonly ArchiveReader[],
    object: Pick<FoundObject, "name"> & Partial<FoundObject>,
    range: ReadRange,
  ): Promise<AsyncIterable<Uint8Array>>;
  /** How fast one of these readers (by name) has been; undefined: nobody knows. */
  speedOf(readers: readonly ArchiveReader[], name: string): ReaderSpeed | undefined;
}

export function createObjectServer(): ObjectServer {
  const rankings = new Map<
    string,
    { readonly readers: readonly ArchiveReader[]; readonly ranking: ReaderRanking }
  >();
  const rankingOf = (readers: readonly ArchiveReader[]): ReaderRanking => {
    const key = readers
      .map(({ name }) => name)
      .sort()
      .join("\n");
    const known = rankings.get(key);
    if (known !== undefined && readers.every((reader) => known.readers.includes(reader)))
      return known.ranking;
    const ranking = createReaderRanking(readers, { frozenMs });
    rankings.delete(key);
    rankings.set(key, { readers, ranking });
    for (const oldest of rankings.keys()) {
      if (rankings.size <= rankingsMax) break;
      rankings.delete(oldest);
    }
    return ranking;
  };
  return {
    async find(readers, name, call = {}) {
      checkName(name);
      const sizes = await Promise.allSettled(readers.map((reader) => sizeIn(reader, name, call)));
      call.signal?.throwIfAborted();
      const known = sizes.map((one) => (one.status === "fulfilled" ? one.value : undefined));
      const size = Math.max(-1, ...known.map((one) => one ?? -1));
      if (size < 0) {
        // One that does not answer may have it.
        const failed = sizes.find((one) => one.status === "rejected");
        throw failed?.reason ?? new PageferryError("not-found", `object ${name} is not there`);
      }
      const holders = readers.filter((_, at) => known[at] === size).map((reader) => reader.name);
      return { name, size, holders };
    },
    speedOf: (readers, name) => rankingOf(readers).speedOf(name),
    async open(readers, { name, holders }, range) {
      checkName(name);
      const ranking = rankingOf(readers);
      const begin = (from: ReadRange) =>
        fromBest(ranking, name, from, holders, async (reader) => ({
          reader,
          chunks: await reader.get(name, from),
        }));
      return resumed(ranking, await begin(range), range, begin);
    },
  };
}

function checkName(name: string): void {
  if (parseObjectName(name) === undefined)
    throw new PageferryError("not-found", `object ${name.slice(0, 120)} is none of an archive`);
}

async function sizeIn(reader: HostReader, name: string, call: CallOptions): Promise<number | undefined> {
  if (reader.sizeOf !== undefined) return reader.sizeOf(name, call);
  for await (const object of reader.list(call)) if (object.name === name) return object.size;
  return undefined;
}

interface Opened {
  readonly reader: ArchiveReader;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** A line that breaks is taken up where it broke, once for each replica. What came together in that way is verified by who reads it. */
async function* resumed(
  ranking: ReaderRanking,
  first: Opened,
  range: ReadRange,
  begin: (from: ReadRange) => Promise<Opened>,
): AsyncGenerator<Uint8Array> {
  let sent = 0;
  const failed = new Set<string>();
  for (let opened = first; ; ) {
    try {
      for await (const chunk of opened.chunks) {
        yield chunk;
        sent += chunk.length;
      }
      return;
    } catch (error) {
      range.signal?.throwIfAborted();
      ranking.failed(opened.reader, error);
      const mayPass = isPageferryError(error) && error.remedy === "retry" && !failed.has(opened.reader.name);
      if (!mayPass) throw error;
      failed.add(opened.reader.name);
      const length = range.length === undefined ? {} : { length: range.length - sent };
      opened = await begin({ ...range, offset: (range.offset ?? 0) + sent, ...length });
    }
  }
}

/** Reads from the best reader that can. */
export async function fromBest<Result>(
  ranking: ReaderRanking,
  name: string,
  { length = 0, signal }: ReadRange,
  holders: readonly string[] | undefined,
  read: (reader: ArchiveReader) => Promise<Result>,
): Promise<Result> {
  let failure: unknown = new PageferryError("not-found", `object ${name}: no replica is configured`);
  for (const reader of ranking.order(length, holders)) {
    try {
      return await read(reader);
    } catch (error) {
      signal?.throwIfAborted();
      if (!isPageferryError(error)) throw error;
      ranking.failed(reader, error);
      // An unreachable replica may have it: "not found" is only said when all were asked.
      if (!isPageferryError(failure) || isPageferryError(failure, "not-found")) failure = error;
    }
  }
  throw failure;
}
