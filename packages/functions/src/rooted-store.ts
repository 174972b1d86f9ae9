// A store seen from one archive's root: names are relative to it, and small objects are read whole.

import type { ListedObject } from "@pageferry/format";
import { gather } from "./body.ts";
import type { CallOptions, RangeOptions, Retained, Store, StoreBody } from "./store.ts";

export interface RootedStore {
  /** A stable word for logs. Never holds a secret. */
  readonly name: string;
  put(name: string, body: StoreBody, options?: CallOptions): Promise<"stored" | "present">;
  get(name: string, options?: RangeOptions): Promise<ReadableStream<Uint8Array>>;
  /** Reads an object, or a range, into memory; above `bytesMax` it is `too-large`. */
  read(name: string, bytesMax: number, options?: RangeOptions): Promise<Uint8Array>;
  list(prefix: string, options?: CallOptions): AsyncIterable<ListedObject>;
  remove(names: Iterable<string>, options?: CallOptions): Promise<readonly Retained[]>;
  replace(name: string, bytes: Uint8Array, options?: CallOptions): Promise<void>;
  /** As a store's. */
  presign?(name: string, options: { readonly expiresSeconds: number }): Promise<string>;
  /** As a store's. */
  pathOf?(name: string): string;
}

/** `root` is "" for the whole store, else a path without a slash at its end. */
export function rootedStore(store: Store, root: string): RootedStore {
  const prefix = root === "" ? "" : `${root}/`;
  const get = (name: string, options?: RangeOptions) => store.get(prefix + name, options);
  const { presign, pathOf } = store;
  return {
    name: root === "" ? store.name : `${store.name}/${root}`,
    put: (name, body, options) => store.put(prefix + name, body, options),
    get,
    read: async (name, bytesMax, options) => gather(await get(name, options), bytesMax, `object ${name}`),
    async *list(below, options) {
      for await (const { name, size } of store.list(prefix + below, options)) {
        yield { name: name.slice(prefix.length), size };
      }
    },
    async remove(names, options) {
      const full = Array.from(names, (name) => prefix + name);
      const retained = await store.remove(full, options);
      return retained.map(({ name, reason }) => ({ name: name.slice(prefix.length), reason }));
    },
    replace: (name, bytes, options) => store.replace(prefix + name, bytes, options),
    ...(pathOf && { pathOf: (name) => pathOf(prefix + name) }),
    ...(presign && { presign: (name, options) => presign(prefix + name, options) }),
  };
}
