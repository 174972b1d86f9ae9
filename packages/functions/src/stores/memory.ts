// The reference driver: objects in a Map. Read this one first; every other driver behaves like it, more slowly.

import { checkObjectName, PageferryError } from "@pageferry/format";
import { bodySize, gather, openBody } from "../body.ts";
import { type CallOptions, checkMutableName, compareNames, rangeWithin, type Store } from "../store.ts";

const chunkBytes = 64 * 1024;

/** A store that lasts as long as the process. */
export function memoryStore(options: { readonly name?: string } = {}): Store {
  const objects = new Map<string, Uint8Array>();

  async function put(
    name: string,
    body: Parameters<Store["put"]>[1],
    call: CallOptions = {},
  ): Promise<"stored" | "present"> {
    call.signal?.throwIfAborted();
    checkObjectName(name);
    const bytes = Uint8Array.from(await gather(openBody(body, name, call.signal), bodySize(body), name));
    call.signal?.throwIfAborted();
    const stored = objects.get(name);
    if (stored === undefined) {
      objects.set(name, bytes);
      return "stored";
    }
    if (Buffer.compare(stored, bytes) !== 0) {
      throw new PageferryError(
        "conflict",
        `object ${name}: ${stored.length} other bytes are stored under this name`,
      );
    }
    return "present";
  }

  return {
    name: options.name ?? "memory:",
    put,
    async get(name, range = {}) {
      range.signal?.throwIfAborted();
      const bytes = objects.get(checkObjectName(name));
      if (bytes === undefined) throw new PageferryError("not-found", `object ${name} is not there`);
      const [start, end] = rangeWithin(bytes.length, range, `object ${name}`);
      return streamOf(bytes.subarray(start, end), range.signal);
    },
    async *list(prefix, call = {}) {
      call.signal?.throwIfAborted();
      const names = [...objects.keys()].filter((name) => name.startsWith(prefix)).sort(compareNames);
      for (const name of names) {
        call.signal?.throwIfAborted();
        const bytes = objects.get(name);
        if (bytes !== undefined) yield { name, size: bytes.length };
      }
    },
    async remove(names, call = {}) {
      for (const name of names) {
        call.signal?.throwIfAborted();
        objects.delete(checkObjectName(name));
      }
      return [];
    },
    async replace(name, bytes, call = {}) {
      call.signal?.throwIfAborted();
      checkMutableName(name);
      objects.set(name, Uint8Array.from(bytes));
    },
    async close() {},
    async [Symbol.asyncDispose]() {},
  };
}

function streamOf(bytes: Uint8Array, signal: AbortSignal | undefined): ReadableStream<Uint8Array> {
  let done = 0;
  return new ReadableStream(
    {
      pull(controller) {
        if (signal?.aborted === true) return controller.error(signal.reason);
        if (done >= bytes.length) return controller.close();
        // A copy: a reader that writes into what it was given must not change the object.
        controller.enqueue(bytes.slice(done, done + chunkBytes));
        done += chunkBytes;
      },
    },
    { highWaterMark: 0 },
  );
}
