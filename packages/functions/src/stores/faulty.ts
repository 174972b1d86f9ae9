// A store on its bad days, for tests: the faults that real servers showed, by seeded chance, so that a failing run can be run
// again. The one stand-in for a server that our tests use; everything else runs on real ones.

import { PageferryError } from "@pageferry/format";
import type { CallOptions, ObjectInfo, RangeOptions, Store, StoreBody } from "../store.ts";

/** Shares are from 0 (default) to 1. They are read with each call, so that a test may change them on the way. */
export interface FaultyOptions {
  /** In [0, 1): see `seeded`. */
  readonly random: () => number;
  /** Of calls that do nothing and say `unavailable`. */
  unavailableShare?: number;
  /** Of calls that are never answered, as by a frozen server: they end with their signal only. */
  stallShare?: number;
  /** Of calls that take `slowMs` longer. */
  slowShare?: number;
  slowMs?: number;
  /** Of puts, removals and replacements that are done, and say `unavailable`. */
  lostAnswerShare?: number;
  /** Of reads and listings that break off as `unavailable` after some bytes or names. */
  resetShare?: number;
  /** Of reads that end early: where a length was asked for, without a word. */
  truncatedShare?: number;
  /** Of new objects that the next one to three listings do not show. */
  lagShare?: number;
}

/** The longest way to a break: by a logarithmic chance, so that the first bytes are as likely as the later ones. */
const bytesToBreakMax = 64 * 1024;
const namesToBreakMax = 4096;

/** Listings from which a new object may be missing. */
const laggingListingsMax = 3;

/** Seeded chance (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Wraps a store. Its errors are the contract's: what it cannot do with faults is a named exception in its tests. */
export function faulty<Inner extends Store>(store: Inner, faults: FaultyOptions): Inner {
  const hidden = new Map<string, number>();
  const isMet = (share: number | undefined): boolean => faults.random() < (share ?? 0);
  const within = (most: number): number => Math.floor(most ** faults.random());
  const before = async (what: string, signal: AbortSignal | undefined): Promise<void> => {
    signal?.throwIfAborted();
    if (isMet(faults.stallShare)) await untilAborted(signal);
    if (isMet(faults.slowShare)) await pause(faults.slowMs ?? 1, signal);
    if (isMet(faults.unavailableShare)) throw unavailable(`${what}: no answer`);
  };
  const after = (what: string): void => {
    if (isMet(faults.lostAnswerShare)) throw unavailable(`${what}: the answer was lost`);
  };
  const isShown = (name: string): boolean => {
    const listings = hidden.get(name);
    if (listings === undefined) return true;
    if (listings > 1) hidden.set(name, listings - 1);
    else hidden.delete(name);
    return false;
  };
  return {
    ...store,
    async put(name: string, body: StoreBody, call: CallOptions = {}) {
      await before(`put ${name}`, call.signal);
      const outcome = await store.put(name, body, call);
      if (outcome === "stored" && isMet(faults.lagShare)) {
        hidden.set(name, 1 + Math.floor(faults.random() * laggingListingsMax));
      }
      after(`put ${name}`);
      return outcome;
    },
    async get(name: string, range: RangeOptions = {}) {
      await before(`get ${name}`, range.signal);
      const stream = await store.get(name, range);
      if (isMet(faults.resetShare)) return brokenOff(stream, within(bytesToBreakMax), `get ${name}: reset`);
      if (!isMet(faults.truncatedShare)) return stream;
      // Of an answer whose length nobody asked for, a driver knows what was announced, and says so.
      const told = range.length === undefined ? `get ${name}: shorter than announced` : undefined;
      return brokenOff(stream, within(bytesToBreakMax), told);
    },
    async *list(prefix: string, call: CallOptions = {}): AsyncGenerator<ObjectInfo> {
      await before(`list ${prefix}`, call.signal);
      let left = isMet(faults.resetShare) ? within(namesToBreakMax) : Number.POSITIVE_INFINITY;
      for await (const object of store.list(prefix, call)) {
        if (left-- <= 0) throw unavailable(`list ${prefix}: reset`);
        if (isShown(object.name)) yield object;
      }
    },
    async remove(names: Iterable<string>, call: CallOptions = {}) {
      await before("remove", call.signal);
      const all = [...names];
      const retained = await store.remove(all, call);
      for (const name of all) hidden.delete(name);
      after("remove");
      return retained;
    },
    async replace(name: string, bytes: Uint8Array, call: CallOptions = {}) {
      await before(`replace ${name}`, call.signal);
      await store.replace(name, bytes, call);
      after(`replace ${name}`);
    },
  };
}

function unavailable(message: string): PageferryError {
  return new PageferryError("unavailable", message);
}

function untilAborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      if (signal?.aborted === true) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end, { once: true });
  });
}

/** The first bytes of a stream, and then an error, or without one an end. */
function brokenOff(
  stream: ReadableStream<Uint8Array>,
  bytes: number,
  message: string | undefined,
): ReadableStream<Uint8Array> {
  const reader = stream.getReader();
  let left = bytes;
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) return controller.close();
        if (value.length <= left) {
          left -= value.length;
          return controller.enqueue(value);
        }
        if (left > 0) controller.enqueue(value.subarray(0, left));
        await reader.cancel();
        if (message === undefined) controller.close();
        else controller.error(unavailable(message));
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}
