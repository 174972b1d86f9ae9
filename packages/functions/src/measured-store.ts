// A store that tells what is done with it: which operation, how long it took, how many bytes it moved, and how it ended.
// What it answers, and what it throws, is otherwise what the store does.

import { isPageferryError } from "@pageferry/format";
import type { CallOptions, RangeOptions, Store, StoreBody } from "./store.ts";

export type StoreOperation = "put" | "get" | "list" | "remove" | "replace";

/** One operation that has ended. */
export interface Operation {
  readonly operation: StoreOperation;
  readonly seconds: number;
  /** Of bodies that went or came; 0 for listings and removals. */
  readonly bytes: number;
  /** The object, or the prefix; "" where there are many. */
  readonly name: string;
  /** Names that a listing gave; absent otherwise. */
  readonly items?: number;
  /** Of its error; `aborted` where its caller ended it, `unexpected` for what nobody foresaw. */
  readonly code?: string;
}

export type Observe = (operation: Operation) => void;

/** Wraps a store; what else the driver can do stays. */
export function measured<Inner extends Store>(store: Inner, observe: Observe): Inner {
  const begin = (operation: StoreOperation, name: string, call: CallOptions | undefined): Ended => {
    const startedMs = performance.now();
    return (bytes, error, items) => {
      const code = error === undefined ? {} : { code: codeOf(error, call) };
      const listed = operation === "list" ? { items: items ?? 0 } : {};
      observe({
        operation,
        name,
        seconds: (performance.now() - startedMs) / 1000,
        bytes,
        ...listed,
        ...code,
      });
    };
  };
  return {
    ...store,
    put: (name: string, body: StoreBody, call?: CallOptions) =>
      answered(begin("put", name, call), sizeOf(body), () => store.put(name, body, call)),
    replace: (name: string, bytes: Uint8Array, call?: CallOptions) =>
      answered(begin("replace", name, call), bytes.length, () => store.replace(name, bytes, call)),
    remove: (names: Iterable<string>, call?: CallOptions) =>
      answered(begin("remove", "", call), 0, () => store.remove(names, call)),
    async *list(prefix: string, call?: CallOptions) {
      yield* watched(begin("list", prefix, call), () => 0, store.list(prefix, call));
    },
    async get(name: string, range?: RangeOptions) {
      const ended = begin("get", name, range);
      try {
        const chunks = await store.get(name, range);
        return ReadableStream.from(watched(ended, (chunk) => chunk.length, chunks));
      } catch (error) {
        ended(0, error);
        throw error;
      }
    },
  };
}

type Ended = (bytes: number, error?: unknown, items?: number) => void;

async function answered<Result>(ended: Ended, bytes: number, ask: () => Promise<Result>): Promise<Result> {
  try {
    const result = await ask();
    ended(bytes);
    return result;
  } catch (error) {
    ended(0, error);
    throw error;
  }
}

/** Passes items on; the operation has ended when they have, or when nobody wants more. */
async function* watched<Item>(
  ended: Ended,
  bytesOf: (item: Item) => number,
  items: AsyncIterable<Item>,
): AsyncGenerator<Item> {
  let bytes = 0;
  let count = 0;
  let failure: { readonly error: unknown } | undefined;
  try {
    for await (const item of items) {
      bytes += bytesOf(item);
      count += 1;
      yield item;
    }
  } catch (error) {
    failure = { error };
    throw error;
  } finally {
    ended(bytes, failure?.error, count);
  }
}

function sizeOf(body: StoreBody): number {
  return body instanceof Uint8Array ? body.length : body.size;
}

function codeOf(error: unknown, call: CallOptions | undefined): string {
  if (call?.signal?.aborted === true) return "aborted";
  return isPageferryError(error) ? error.code : "unexpected";
}
