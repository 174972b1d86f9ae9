// A replica as the host reads it for others: the listing and the marks from memory, and URLs that need no token where its store gives such.

import { setTimeout as sleep } from "node:timers/promises";
import type { ArchiveReader, ListedObject } from "@pageferry/format";
import { untilAborted, withDeadline } from "./deadline.ts";
import { readMarks } from "./marks.ts";
import type { ReplicaIndex } from "./replica-index.ts";
import type { RootedStore } from "./rooted-store.ts";
import { type CallOptions, isMutableName } from "./store.ts";

/** A reader, and what a host knows of it besides. What is absent has to be read through the reader itself. */
export interface HostReader extends ArchiveReader {
  /** Sizes by names: it grows as objects are stored, and another one takes its place when it is read anew. `undefined`: too many to keep. */
  listed?(options?: CallOptions): Promise<ReadonlyMap<string, number> | undefined>;
  /** How large an object is; `undefined`: it is not there. */
  sizeOf?(name: string, options?: CallOptions): Promise<number | undefined>;
  /** Reads the listing anew, so that it has all that was stored before the call. Many calls share one, and they are at least a tenth of a second apart. */
  relist?(options?: CallOptions): Promise<void>;
  /** Since when names are marked to be deleted. */
  marked?(options?: CallOptions): Promise<ReadonlyMap<string, number>>;
  /** A URL that reads one object without credentials until it expires, and is itself one. */
  presign?(name: string, options: { readonly expiresSeconds: number }): Promise<string>;
}

/** Others may remove objects: a listing that is older is read anew beside the answers from it. */
const listingAgeMs = 10 * 60_000;

/** One that cannot be listed now is not asked by every call. */
const triesMs = 60_000;

/** Whoever misses what is not there can ask for no more listings than this apart. */
const relistApartMs = 100;

/** Marks say what goes in a quarter of an hour at the soonest. */
const marksAgeMs = 30_000;

/** A replica that was never listed, and does not answer by then, is left out where there are others. */
const listingWaitMs = 10_000;

interface HostReaderParts {
  readonly index: ReplicaIndex;
  readonly now: () => number;
}

/** `reader` with the memory of its replica. */
export function hostReader(
  reader: ArchiveReader,
  store: RootedStore,
  { index, now }: HostReaderParts,
): HostReader {
  const { presign, pathOf } = store;
  const ready = ({ signal }: CallOptions) =>
    withDeadline(listingWaitMs, signal, (until) => index.ready({ signal: until }));
  let listing: Promise<void> | undefined;
  const listAnew = async (): Promise<void> => {
    await sleep(Math.max(0, relistApartMs - index.ageMs()));
    await index.refresh();
  };
  const listedAnew = (): Promise<void> => {
    listing ??= listAnew().finally(() => {
      listing = undefined;
    });
    return listing;
  };
  let triedMs = Number.NEGATIVE_INFINITY;
  let marks: { readonly atMs: number; readonly names: Promise<ReadonlyMap<string, number>> } | undefined;
  return {
    ...reader,
    async *list(call) {
      const { objects } = await index.ready(call);
      if (objects === undefined) yield* reader.list(call);
      // A copy: what is stored while somebody reads it changes nothing for them.
      else yield* Array.from(objects, ([name, size]): ListedObject => ({ name, size }));
    },
    async listed(call = {}) {
      const known = index.current();
      if (known === undefined) return (await ready(call)).objects;
      if (index.ageMs() > listingAgeMs && performance.now() - triedMs > triesMs) {
        triedMs = performance.now();
        index.refresh().catch(() => undefined);
      }
      return known.objects;
    },
    async sizeOf(name, call) {
      const known = isMutableName(name) ? undefined : index.current()?.objects?.get(name);
      if (known !== undefined) return known;
      for await (const object of store.list(name, call)) if (object.name === name) return object.size;
      return undefined;
    },
    async relist(call) {
      const askedMs = performance.now();
      // One that runs already may miss what was stored meanwhile.
      while (performance.now() - index.ageMs() < askedMs) await untilAborted(listedAnew(), call?.signal);
    },
    marked() {
      if (marks === undefined || performance.now() - marks.atMs > marksAgeMs) {
        const names = readMarks(store, now()).then(({ sinceMs }) => sinceMs);
        const asked = { atMs: performance.now(), names };
        marks = asked;
        names.catch(() => {
          if (marks === asked) marks = undefined;
        });
      }
      return marks.names;
    },
    ...(presign && { presign }),
    ...(pathOf && { pathOf }),
  };
}
