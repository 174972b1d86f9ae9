// The archives that a host is asked about, kept in order from call to call: within a bound of names, the least used are forgotten.

import {
  type Archive,
  type ArchiveMemory,
  createArchiveMemory,
  openArchive,
  type ReadOptions,
} from "@pageferry/format";
import type { HostReader } from "./host-reader.ts";

/** Names of all archives together that are kept in order: some 100 MB. */
const namesMaxDefault = 400_000;

export interface Archives {
  /** Opens the archive that these readers of a database hold. Errors: as `openArchive`. */
  open(database: string, readers: readonly HostReader[], options?: ReadOptions): Promise<Archive>;
}

export function createArchives(namesMax = namesMaxDefault): Archives {
  const memories = new Map<string, ArchiveMemory>();
  const forget = (key: string): void => {
    let names = 0;
    for (const memory of memories.values()) names += memory.size();
    for (const [oldest, memory] of memories) {
      if (names <= namesMax || oldest === key) return;
      names -= memory.size();
      memories.delete(oldest);
    }
  };
  return {
    async open(database, readers, options = {}) {
      const listings = await Promise.allSettled(readers.map(async (reader) => reader.listed?.(options)));
      options.signal?.throwIfAborted();
      // Too many names to keep, or a reader without a memory: it is listed each time.
      if (listings.some((one) => one.status === "fulfilled" && one.value === undefined))
        return openArchive(readers, options);
      const key = [database, ...readers.map(({ name }) => name)].join("\n");
      const memory = memories.get(key) ?? createArchiveMemory();
      memories.delete(key);
      memories.set(key, memory);
      const listed = readers.map((reader, at) => ({
        reader,
        async listed() {
          const listing = listings[at];
          if (listing?.status !== "fulfilled") throw listing?.reason;
          return listing.value as ReadonlyMap<string, number>;
        },
      }));
      const archive = await memory.open(listed, options);
      forget(key);
      return archive;
    },
  };
}
