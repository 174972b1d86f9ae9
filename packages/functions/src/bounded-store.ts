// A store whose silence has an end: a disk over a network may hang for ever, and hears no signal. What hangs is left behind.

import { PageferryError } from "@pageferry/format";
import { gather } from "./body.ts";
import type { RootedStore } from "./rooted-store.ts";
import type { StoreBody } from "./store.ts";

/** Silence after which a store is given up: longer than its own time for an answer, and the repetitions of that. */
const stallMsDefault = 120_000;

/** A store that hears its signal ends by itself, and in order; one that does not is left behind after this long. */
const graceMs = 1000;

/** What a store is given for bytes that it may hold back before it takes more: the slowest line that is worth a copy. */
const bytesPerMsMin = 16;

/** A large object is sent on in pieces. */
const heldBackBytesMax = 32 * 1024 * 1024;

export interface Bounds {
  readonly signal: AbortSignal | undefined;
  /** Silence after which a store is given up, ms. Default two minutes. */
  readonly stallMs?: number | undefined;
}

/** A store, and other work with the same bounds. */
export interface BoundedStore {
  readonly store: RootedStore;
  /** Work that tells nothing of its progress, as a long listing: it has ten times as long. */
  bounded<Result>(work: () => Promise<Result>): Promise<Result>;
}

interface Guard {
  /** Waits for work; `progress` begins its time anew. */
  run<Result>(work: (progress: () => void) => Promise<Result>, ms?: number): Promise<Result>;
  readonly stallMs: number;
}

/** The same store: a call that is silent for too long is `unavailable`, and so is every later one, at once. */
export function boundedStore(store: RootedStore, bounds: Bounds): BoundedStore {
  const guard = createGuard(store.name, bounds);
  const get: RootedStore["get"] = async (name, options) => {
    const chunks = await guard.run(() => store.get(name, options));
    return ReadableStream.from(guarded(chunks, guard));
  };
  return {
    bounded: (work) => guard.run(work, 10 * guard.stallMs),
    store: {
      name: store.name,
      get,
      read: async (name, bytesMax, options) => gather(await get(name, options), bytesMax, `object ${name}`),
      list: (prefix, options) => guarded(store.list(prefix, options), guard),
      put: (name, body, options) =>
        guard.run((progress) => store.put(name, watched(body, progress), options), putMs(body, guard)),
      remove: (names, options) => guard.run(() => store.remove(names, options)),
      replace: (name, bytes, options) =>
        guard.run(() => store.replace(name, bytes, options), putMs(bytes, guard)),
    },
  };
}

function putMs(body: StoreBody, { stallMs }: Guard): number {
  const size = body instanceof Uint8Array ? body.length : body.size;
  return stallMs + Math.min(size, heldBackBytesMax) / bytesPerMsMin;
}

function watched(body: StoreBody, progress: () => void): StoreBody {
  if (body instanceof Uint8Array) return body;
  return {
    ...body,
    async *open() {
      for await (const chunk of body.open()) {
        progress();
        yield chunk;
      }
    },
  };
}

async function* guarded<Item>(items: AsyncIterable<Item>, guard: Guard): AsyncGenerator<Item> {
  const iterator = items[Symbol.asyncIterator]();
  let hasEnded = false;
  try {
    for (;;) {
      const next = await guard.run(async () => iterator.next());
      hasEnded = next.done === true;
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    // One that hangs does not notice that nobody wants more: it is told, and not waited for.
    if (!hasEnded) void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}

function createGuard(name: string, { signal, stallMs = stallMsDefault }: Bounds): Guard {
  let hung: PageferryError | undefined;
  return {
    stallMs,
    async run(work, ms = stallMs) {
      signal?.throwIfAborted();
      if (hung !== undefined) throw hung;
      const over = Promise.withResolvers<never>();
      const timer = setTimeout(() => {
        hung = new PageferryError("unavailable", `${name}: nothing came of it for ${Math.round(ms)} ms`);
        over.reject(hung);
      }, ms);
      let leaving: NodeJS.Timeout | undefined;
      const leave = (): void => {
        leaving = setTimeout(() => over.reject(signal?.reason), graceMs);
      };
      signal?.addEventListener("abort", leave, { once: true });
      try {
        return await Promise.race([work(() => timer.refresh()), over.promise]);
      } finally {
        clearTimeout(timer);
        clearTimeout(leaving);
        signal?.removeEventListener("abort", leave);
      }
    },
  };
}
