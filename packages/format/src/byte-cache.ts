// What was loaded, by name, within a bound of bytes: what nobody asked for longest goes first. What several ask for at once is loaded once.

import { isPageferryError } from "./errors.ts";

/** Something loaded, and how many bytes it keeps in memory. */
export interface Weighed<Value> {
  readonly value: Value;
  readonly bytes: number;
}

/** Loaded things by name. */
export interface ByteCache {
  /** What is under `key`, loaded where it is not there. A key stands for one thing, whoever asks. */
  get<Value>(key: string, load: () => Promise<Weighed<Value>>): Promise<Value>;
  /** Bytes that it holds. */
  size(): number;
}

/** Makes a cache of at most `bytesMax` bytes; what is larger by itself is held alone. */
export function createByteCache(bytesMax: number): ByteCache {
  /** In the order in which they were asked for last. */
  const held = new Map<string, Weighed<unknown>>();
  const shared = createSharedWork();
  let size = 0;
  const forget = (key: string): void => {
    size -= held.get(key)?.bytes ?? 0;
    held.delete(key);
  };
  const keep = (key: string, loaded: Weighed<unknown>): void => {
    forget(key);
    held.set(key, loaded);
    size += loaded.bytes;
    for (const oldest of held.keys()) {
      if (size <= bytesMax || oldest === key) break;
      forget(oldest);
    }
  };
  return {
    size: () => size,
    async get<Value>(key: string, load: () => Promise<Weighed<Value>>) {
      const known = held.get(key);
      if (known !== undefined) {
        held.delete(key);
        held.set(key, known);
        return known.value as Value;
      }
      return shared(key, async () => {
        const loaded = await load();
        keep(key, loaded);
        return loaded.value;
      });
    },
  };
}

/** Does work that several ask for at once for all of them. */
export type SharedWork = <Result>(key: string, work: () => Promise<Result>) => Promise<Result>;

/** Where who does the work gives it up (it was told to), the next who waits does it: an aborted call ends nobody else's. */
export function createSharedWork(): SharedWork {
  const underWay = new Map<string, Promise<unknown>>();
  return async <Result>(key: string, work: () => Promise<Result>): Promise<Result> => {
    for (let other = underWay.get(key); other !== undefined; other = underWay.get(key)) {
      try {
        return (await other) as Result;
      } catch (error) {
        if (isPageferryError(error)) throw error;
      }
    }
    const mine = work().finally(() => underWay.delete(key));
    underWay.set(key, mine);
    return await mine;
  };
}
