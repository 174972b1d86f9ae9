// Databases that were restored to be sent: each once, however many ask for it, kept for some minutes so that a broken download can go on, within
// bounds of number and bytes. Where nobody waits for one any more its restore is ended.

import { type FileHandle, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { counted, type Generation, PageferryError, type StateHash, type TxId } from "@pageferry/format";
import { fromFileSystem } from "@pageferry/format/node";
import { untilAborted } from "./deadline.ts";
import { tooMany } from "./problem.ts";
import { openScratch, type ScratchPlace } from "./scratch.ts";
import type { CallOptions } from "./store.ts";

/** Restores under way: each keeps a core or two busy, and memory of up to a quarter GB. */
const restoresMaxDefault = 2;

/** Images that lie in scratch, also while they are sent. */
const countMaxDefault = 8;

/** A client that lost its line comes back within minutes, or begins anew. */
const keepMsDefault = 5 * 60_000;

/** Left free on the disk: the host's queue may be on it. */
const reserveBytesDefault = 256 * 1024 * 1024;

/** A restore of a GB takes some ten seconds. */
const comeAgainMs = 5000;

/** What was restored. */
export interface ImageFacts {
  readonly generation: Generation;
  readonly txId: TxId;
  readonly stampMs: number | null;
  readonly bytes: number;
  readonly stateHash: StateHash | undefined;
  /** Names these very bytes: pages that are free may hold anything, and do so after another plan. */
  readonly etag: string;
}

/** A restored database that may be read until it is given back. */
export interface RestoredImage extends AsyncDisposable {
  readonly file: FileHandle;
  readonly facts: ImageFacts;
}

export interface ImageOrder {
  /** Who asks for the same key gets the same image. */
  readonly key: string;
  /** Bytes that it will have, as far as that is known. */
  readonly bytes: number;
  /** Restores into a file that is not there yet. */
  readonly restore: (output: string, signal: AbortSignal) => Promise<ImageFacts>;
}

export interface RestoredImages {
  /** The image of a point, restored first where it is not there. Errors: `too-many`, `disk-full`, those of restoring, the signal's reason. */
  open(order: ImageOrder, call?: CallOptions): Promise<RestoredImage>;
  /** What was restored under a key and is still there. */
  peek(key: string): ImageFacts | undefined;
  /** Ends what is under way and removes everything. */
  close(): Promise<void>;
}

export interface RestoredImagesOptions {
  /** Where images lie; what others left there is theirs. */
  readonly scratchDir: string;
  readonly restoresMax?: number;
  readonly countMax?: number;
  /** Of all images together. Default: as the disk allows. */
  readonly bytesMax?: number;
  readonly keepMs?: number;
  readonly reserveBytes?: number;
}

interface Entry {
  readonly order: ImageOrder;
  readonly stop: AbortController;
  readonly made: Promise<Made>;
  bytes: number;
  /** Who waits for it, or reads it. */
  users: number;
  done: Made | undefined;
  timer: NodeJS.Timeout | undefined;
}

interface Made {
  readonly path: string;
  readonly place: ScratchPlace;
  readonly facts: ImageFacts;
}

export function createRestoredImages(options: RestoredImagesOptions): RestoredImages {
  const { scratchDir, keepMs = keepMsDefault, countMax = countMaxDefault } = options;
  const { restoresMax = restoresMaxDefault } = options;
  const shelf = createShelf(options);
  const { entries } = shelf;
  let isClosed = false;
  const begin = (order: ImageOrder): Entry => {
    const underWay = [...entries.values()].filter(({ done }) => done === undefined).length;
    if (underWay >= restoresMax)
      throw tooMany(`${counted(underWay, "restore is", "restores are")} under way at this host`, comeAgainMs);
    while (entries.size >= countMax) {
      if (!shelf.removeOldest()) {
        throw tooMany(
          `${counted(entries.size, "restored database is", "restored databases are")} being sent by this host`,
          comeAgainMs,
        );
      }
    }
    const stop = new AbortController();
    const made = make(order, shelf, { scratchDir, signal: stop.signal });
    const entry: Entry = {
      order,
      stop,
      made,
      users: 0,
      bytes: order.bytes,
      done: undefined,
      timer: undefined,
    };
    entries.set(order.key, entry);
    made.then(
      (done) => {
        entry.done = done;
        entry.bytes = done.facts.bytes;
      },
      () => shelf.remove(entry),
    );
    return entry;
  };
  const leave = (entry: Entry): void => {
    entry.users -= 1;
    if (entry.users > 0 || entries.get(entry.order.key) !== entry) return;
    if (entry.done === undefined) shelf.remove(entry);
    else entry.timer = setTimeout(() => shelf.remove(entry), keepMs).unref();
  };
  return {
    peek: (key) => entries.get(key)?.done?.facts,
    async open(order, { signal } = {}) {
      signal?.throwIfAborted();
      if (isClosed) throw new PageferryError("unavailable", "this host is closing");
      const entry = entries.get(order.key) ?? begin(order);
      clearTimeout(entry.timer);
      entry.users += 1;
      entries.delete(order.key);
      entries.set(order.key, entry);
      try {
        const { path, facts } = await untilAborted(entry.made, signal);
        const file = await open(path, "r");
        return imageOf(file, facts, () => leave(entry));
      } catch (error) {
        leave(entry);
        throw fromFileSystem(error, `reading a restored database in ${scratchDir}`);
      }
    },
    async close() {
      isClosed = true;
      for (const entry of [...entries.values()]) shelf.remove(entry);
      await shelf.removed();
    },
  };
}

async function make(
  order: ImageOrder,
  shelf: Shelf,
  { scratchDir, signal }: { readonly scratchDir: string; readonly signal: AbortSignal },
): Promise<Made> {
  const place = await openScratch(scratchDir);
  try {
    await shelf.makeRoom(order.bytes, order.key, place);
    const path = join(place.directory, "image.db");
    const facts = await order.restore(path, signal);
    signal.throwIfAborted();
    return { path, place, facts };
  } catch (error) {
    await place[Symbol.asyncDispose]();
    signal.throwIfAborted();
    throw error;
  }
}

/** Images, the least used first, and the room that they take. */
interface Shelf {
  readonly entries: Map<string, Entry>;
  remove(entry: Entry): void;
  /** Removes the least used one that nobody waits for or reads. False: there is none. */
  removeOldest(): boolean;
  /** Resolves when all that was removed is gone from the disk. */
  removed(): Promise<void>;
  /** Removes until so many bytes more have room. Errors: `disk-full`. */
  makeRoom(bytes: number, key: string, place: ScratchPlace): Promise<void>;
}

function createShelf({
  bytesMax = Number.POSITIVE_INFINITY,
  reserveBytes = reserveBytesDefault,
}: RestoredImagesOptions): Shelf {
  const entries = new Map<string, Entry>();
  const removals = new Set<Promise<unknown>>();
  const shelf: Shelf = {
    entries,
    remove(entry) {
      clearTimeout(entry.timer);
      if (entries.get(entry.order.key) === entry) entries.delete(entry.order.key);
      entry.stop.abort(new PageferryError("unavailable", "nobody waits for this restore any more"));
      // Whoever still reads it has it open.
      const removal = entry.made
        .then(({ place }) => place[Symbol.asyncDispose]())
        .catch(() => undefined)
        .then(() => void removals.delete(removal));
      removals.add(removal);
    },
    removeOldest() {
      const oldest = [...entries.values()].find(({ users }) => users === 0);
      if (oldest !== undefined) shelf.remove(oldest);
      return oldest !== undefined;
    },
    async removed() {
      await Promise.all(removals);
    },
    async makeRoom(bytes, key, place) {
      for (;;) {
        const others = [...entries.values()].filter(({ order }) => order.key !== key);
        const held = sumOf(others);
        // What is being restored has not taken its room yet.
        const promised = sumOf(others.filter(({ done }) => done === undefined));
        const free = Math.min((await place.freeBytes()) - reserveBytes - promised, bytesMax - held);
        if (bytes <= free) return;
        if (!shelf.removeOldest()) throw noRoom(place, bytes, free);
        await shelf.removed();
      }
    },
  };
  return shelf;
}

function sumOf(entries: readonly Entry[]): number {
  return entries.reduce((sum, { bytes }) => sum + bytes, 0);
}

function noRoom({ directory }: ScratchPlace, bytes: number, free: number): PageferryError {
  return new PageferryError(
    "disk-full",
    `${dirname(directory)}: a database of ${bytes} bytes cannot be restored there, ${Math.max(0, Math.floor(free))} are free`,
    { hint: "Restore by the manifest, which needs no room at the host, or free space there." },
  );
}

function imageOf(file: FileHandle, facts: ImageFacts, leave: () => void): RestoredImage {
  let isOpen = true;
  return {
    ...{ file, facts },
    async [Symbol.asyncDispose]() {
      if (!isOpen) return;
      isOpen = false;
      await file.close().catch(() => undefined);
      leave();
    },
  };
}
