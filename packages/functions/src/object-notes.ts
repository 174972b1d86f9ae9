// Notes as objects, for functions that share nothing but a bucket: `state/<note>.json`, read when a function begins and written when it ends.
// Nothing is ever deleted, since nobody but prune may: a note that was dropped is an empty object.

import { isPageferryError } from "@pageferry/format";
import pMap from "p-map";
import type { MergeNote, Notes } from "./notes.ts";
import { type RootedStore, rootedStore } from "./rooted-store.ts";
import type { CallOptions, Store } from "./store.ts";

/** What was heard of one database, with all its generations, is some kilobytes. */
const noteBytesMax = 256 * 1024;

/** Reads and writes at a time. */
const callsAtOnce = 16;

const objectPrefix = "state/";
const objectSuffix = ".json";

export interface ObjectNotes extends Notes {
  /** Reads again what others wrote. What was set here and not saved yet stays. Errors: the store's. */
  refresh(call?: CallOptions): Promise<void>;
  /** Writes what changed. What could not be written is written by the next `save`. Errors: the first of the store's. */
  save(call?: CallOptions): Promise<void>;
  /** How long ago the notes were read, ms. */
  ageMs(): number;
}

export interface ObjectNotesOptions {
  readonly store: Store;
  /** Of the notes that are read at all, such as `source/`. */
  readonly prefixes: readonly string[];
  /** By prefix: what others may have written meanwhile is read first, and merged. Without one the last writer wins. */
  readonly merges?: Readonly<Record<string, MergeNote>>;
}

/** Opens the notes of a bucket, and reads them. Errors: the store's. */
export async function openObjectNotes(
  options: ObjectNotesOptions,
  call: CallOptions = {},
): Promise<ObjectNotes> {
  const { prefixes, merges = {} } = options;
  const store = rootedStore(options.store, "");
  let known = new Map<string, string>();
  let readAtMs = Number.NEGATIVE_INFINITY;
  /** Set here, and not saved yet; "" is dropped. */
  const changed = new Map<string, string>();
  const set = (name: string, value: string): void => {
    if (value === "") known.delete(name);
    else known.set(name, value);
    changed.set(name, value);
  };
  const refresh = async (during: CallOptions = {}): Promise<void> => {
    const startedMs = performance.now();
    const read = new Map<string, string>();
    for (const prefix of prefixes)
      for (const [name, value] of await readAll(store, prefix, during)) read.set(name, value);
    for (const [name, value] of changed) {
      if (value === "") read.delete(name);
      else read.set(name, value);
    }
    known = read;
    readAtMs = startedMs;
  };
  const write = async (name: string, value: string, during: CallOptions): Promise<void> => {
    const merge = Object.entries(merges).find(([prefix]) => name.startsWith(prefix))?.[1];
    const isMerged = merge !== undefined && value !== "";
    const theirs = isMerged ? await readNote(store, objectName(name), during) : "";
    const merged = isMerged && theirs !== "" ? merge(theirs, value) : value;
    if (merged !== theirs || value === "") await store.replace(objectName(name), Buffer.from(merged), during);
    // Somebody may have set it anew while it was written.
    if (changed.get(name) !== value) return;
    changed.delete(name);
    if (merged !== "") known.set(name, merged);
  };
  await refresh(call);
  return {
    setNote: set,
    dropNote(name) {
      if (known.has(name)) set(name, "");
    },
    notes: (prefix) => new Map([...known].filter(([name]) => name.startsWith(prefix))),
    ageMs: () => performance.now() - readAtMs,
    refresh,
    async save(during = {}) {
      const failures: unknown[] = [];
      await pMap(
        [...changed],
        async ([name, value]) =>
          write(name, value, during).catch((error: unknown) => void failures.push(error)),
        { concurrency: callsAtOnce },
      );
      during.signal?.throwIfAborted();
      if (failures.length > 0) throw failures[0];
    },
  };
}

async function readAll(
  store: RootedStore,
  prefix: string,
  call: CallOptions,
): Promise<readonly (readonly [string, string])[]> {
  const names: string[] = [];
  for await (const { name, size } of store.list(objectPrefix + encoded(prefix), call)) {
    if (name.endsWith(objectSuffix) && size > 0) names.push(name);
  }
  const values = await pMap(names, async (name) => readNote(store, name, call), { concurrency: callsAtOnce });
  return names.flatMap((name, at) => {
    const value = values[at] ?? "";
    return value === "" ? [] : [[decoded(name), value] as const];
  });
}

/** "" where there is none. */
async function readNote(store: RootedStore, name: string, call: CallOptions): Promise<string> {
  try {
    return new TextDecoder().decode(await store.read(name, noteBytesMax, call));
  } catch (error) {
    if (isPageferryError(error, "not-found")) return "";
    throw error;
  }
}

function objectName(note: string): string {
  return `${objectPrefix}${encoded(note)}${objectSuffix}`;
}

/** A note is one object in one place, whatever is in its name; a slash becomes what people can read. */
function encoded(note: string): string {
  return encodeURIComponent(note).replaceAll("~", "%7E").replaceAll("%2F", "~");
}

function decoded(name: string): string {
  const note = name.slice(objectPrefix.length, -objectSuffix.length);
  return decodeURIComponent(note.replaceAll("~", "%2F"));
}
