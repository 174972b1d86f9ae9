// Names that were planned to be deleted, and since when: a prune marks, waits, looks again, and deletes only then. Whoever plans a restore
// meanwhile leaves them out. A mark is a wish and nothing more: one that is lost or broken costs time, never data.

import { createHash } from "node:crypto";
import { type Archive, isPageferryError, readObject } from "@pageferry/format";
import { z } from "zod";
import type { RootedStore } from "./rooted-store.ts";
import type { CallOptions } from "./store.ts";

const prefix = "marks/prune-";

/** Names of one document: some 5 MB. */
const namesMax = 50_000;
const documentBytesMax = 16 * 1024 * 1024;

const marksSchema = z.object({
  version: z.literal(1),
  markedAtMs: z.number(),
  names: z.array(z.string()).max(namesMax),
});

/** One document of marks. */
interface MarkDocument {
  readonly name: string;
  readonly markedAtMs: number;
  readonly names: readonly string[];
}

/** Since when each name is marked. */
export interface Marks {
  readonly sinceMs: ReadonlyMap<string, number>;
  readonly documents: readonly MarkDocument[];
}

/** Reads all marks; a time that lies ahead counts as now. */
export async function readMarks(store: RootedStore, nowMs: number, call: CallOptions = {}): Promise<Marks> {
  const sinceMs = new Map<string, number>();
  const documents: MarkDocument[] = [];
  for await (const { name } of store.list(prefix, call)) {
    const { markedAtMs, names } = await readDocument(store, name, nowMs, call);
    documents.push({ name, markedAtMs, names });
    for (const one of names) sinceMs.set(one, Math.min(sinceMs.get(one) ?? markedAtMs, markedAtMs));
  }
  return { sinceMs, documents };
}

async function readDocument(
  store: RootedStore,
  name: string,
  nowMs: number,
  { signal }: CallOptions,
): Promise<Pick<MarkDocument, "markedAtMs" | "names">> {
  try {
    const { markedAtMs, names } = parseMarks(await store.read(name, documentBytesMax, { signal }));
    return { markedAtMs: Math.min(markedAtMs, nowMs), names };
  } catch (error) {
    signal?.throwIfAborted();
    if (isPageferryError(error) && error.remedy === "retry") throw error;
    return { markedAtMs: nowMs, names: [] };
  }
}

function parseMarks(bytes: Uint8Array): z.infer<typeof marksSchema> {
  return marksSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
}

/**
 * The names that are marked in any replica of an archive, and since when: a plan does better without them. What cannot be read marks
 * nothing.
 */
export async function markedNames(archive: Archive, call: CallOptions = {}): Promise<Map<string, number>> {
  const marked = new Map<string, number>();
  const documents = archive.objects.filter(({ name }) => name.startsWith(prefix));
  for (const { name } of documents) {
    for (const reader of archive.readers.filter((one) => archive.holders(name).includes(one.name))) {
      try {
        const document = parseMarks(await readObject(reader, name, { ...call, bytesMax: documentBytesMax }));
        for (const one of document.names) {
          marked.set(one, Math.min(marked.get(one) ?? document.markedAtMs, document.markedAtMs));
        }
      } catch {
        call.signal?.throwIfAborted();
      }
    }
  }
  return marked;
}

/**
 * What a plan has to do without: everything that is marked, or, where there is no way without that, what is marked for so long that it may go
 * before a lease on it is seen.
 */
export function withoutMarked(
  marked: ReadonlyMap<string, number>,
  graceMs: number,
  nowMs: number,
): readonly [all: ReadonlySet<string>, due: ReadonlySet<string>] {
  const due = [...marked].filter(([, sinceMs]) => nowMs - sinceMs >= graceMs / 2).map(([name]) => name);
  return [new Set(marked.keys()), new Set(due)];
}

/**
 * Writes down that `names` are marked, those that were already since then, and forgets all others. Documents are named by what they hold, so that
 * two prunes at once do not overwrite each other's with something else.
 */
export async function writeMarks(
  store: RootedStore,
  before: Marks,
  names: readonly string[],
  nowMs: number,
  call: CallOptions = {},
): Promise<void> {
  const groups = new Map<number, string[]>();
  for (const name of names) {
    const markedAtMs = before.sinceMs.get(name) ?? nowMs;
    const group = groups.get(markedAtMs) ?? [];
    groups.set(markedAtMs, group);
    group.push(name);
  }
  const written = new Set<string>();
  for (const [markedAtMs, group] of groups) {
    for (let at = 0; at < group.length; at += namesMax) {
      const part = group.slice(at, at + namesMax).sort();
      const id = createHash("sha256")
        .update(`${markedAtMs}\n${part.join("\n")}`)
        .digest("hex")
        .slice(0, 16);
      const name = `${prefix}${id}.json`;
      written.add(name);
      if (before.documents.some((document) => document.name === name)) continue;
      const json = JSON.stringify({ version: 1, markedAtMs, names: part });
      await store.replace(name, Buffer.from(`${json}\n`), call);
    }
  }
  const gone = before.documents.map(({ name }) => name).filter((name) => !written.has(name));
  if (gone.length > 0) await store.remove(gone, call);
}
