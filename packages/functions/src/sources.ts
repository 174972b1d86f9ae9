// What agents told of their databases: the newest transaction, when they were last heard of, what was accepted from them.
// Kept in memory and, a second behind, in the queue's notes, so that a restarted host still knows what it was told.

import {
  type DatabaseName,
  type Envelope,
  formatTxId,
  type Generation,
  type GenerationBegin,
  parseDatabaseName,
  parseGeneration,
  parseObjectName,
  parseTxId,
  type TxId,
} from "@pageferry/format";
import { z } from "zod";
import type { Alarms } from "./alarms.ts";
import type { Notes } from "./notes.ts";
import { type Parting, partingAfter, partingSchema } from "./parting.ts";
import { createWriterWatch } from "./writers.ts";

/** Commits remembered for the lag, thinned when they are more: one more than this costs precision, not truth. */
const seenMax = 512;

/** Of these, those that are noted, so that who reads the note knows how old what is missing is. */
const seenNotedMax = 32;

/** Generations of a database that are remembered: those that began last. */
const generationsMax = 64;

/** A commit that an agent saw, and when. */
interface Seen {
  readonly txId: TxId;
  readonly stampMs: number;
}

export interface GenerationSource {
  readonly epoch: number;
  /** The newest transaction of any item that was accepted. */
  acceptedTxId: TxId | null;
  acceptedAtMs: number;
}

export interface Source {
  readonly database: DatabaseName;
  /** The generation that was sent last. */
  generation: Generation;
  host: string;
  newestTxId: TxId | null;
  newestStampMs: number | null;
  lastSeenMs: number;
  /** It is no longer backed up, on purpose; null: it is. */
  parting: Parting | null;
  readonly generations: Map<Generation, GenerationSource>;
}

export interface Sources {
  /** Takes note of an envelope, once it is durable where it holds items. */
  heard(envelope: Envelope, receivedAtMs: number): void;
  get(database: DatabaseName): Source | undefined;
  all(): readonly Source[];
  /** The age of the oldest commit after `storedTxId`; 0 when all is there, `null` when nothing was heard. */
  lagMs(database: DatabaseName, storedTxId: TxId | null): number | null;
  /** Writes what changed into the notes. */
  save(): void;
  /** Takes what others have noted since. What was heard here and is not saved yet stays. */
  reload(): void;
}

export interface SourcesOptions {
  readonly now: () => number;
  readonly alarms: Alarms;
  /** Told of a database that an agent told of, and with which generation, if that one is new. */
  readonly onHeard?: (database: DatabaseName, begun: GenerationBegin | undefined) => void;
  /** Told of a farewell, which is said once: it is to be durable soon. It is in the notes by then. */
  readonly onParting?: (database: DatabaseName, parting: Parting) => void;
  readonly notes: Pick<Notes, "setNote" | "notes">;
}

const notePrefix = "source/";

export function createSources(options: SourcesOptions): Sources {
  const sources = new Map<DatabaseName, Source>();
  const seen = new Map<DatabaseName, Seen[]>();
  const writers = createWriterWatch(options.alarms);
  const changed = new Set<DatabaseName>();
  const reload = (): void => {
    for (const [, value] of options.notes.notes(notePrefix)) {
      const noted = parseSource(value);
      if (noted === undefined || changed.has(noted.source.database)) continue;
      sources.set(noted.source.database, noted.source);
      seen.set(noted.source.database, noted.seen);
    }
  };
  const save = (): void => {
    for (const database of changed) {
      const source = sources.get(database);
      if (source === undefined) continue;
      const noted = { source, seen: seen.get(database) ?? [] };
      options.notes.setNote(notePrefix + database, formatSource(noted));
    }
    changed.clear();
  };
  reload();
  return {
    reload,
    get: (database) => sources.get(database),
    all: () => [...sources.values()],
    heard(envelope, receivedAtMs) {
      const { database, begin } = envelope;
      const source = sources.get(database) ?? newSource(envelope);
      sources.set(database, source);
      const begun = source.generations.has(begin.generation) ? undefined : begin;
      const isSame = source.generation === begin.generation;
      writers.heard(source, begin, receivedAtMs);
      const before = source.parting;
      source.parting = partingAfter(source, envelope, receivedAtMs);
      source.host = begin.host;
      source.generation = begin.generation;
      source.lastSeenMs = receivedAtMs;
      noteItems(source, envelope, receivedAtMs);
      // Within a generation transactions do not fall: what tells of fewer was overtaken on its way.
      if (!isSame || (envelope.newestTxId ?? 0n) >= (source.newestTxId ?? 0n)) noteNewest(source, envelope);
      changed.add(database);
      options.onHeard?.(database, begun);
      if (source.parting === null || source.parting === before) return;
      save();
      options.onParting?.(database, source.parting);
    },
    lagMs(database, storedTxId) {
      const source = sources.get(database);
      if (source === undefined || source.newestTxId === null) return null;
      if (storedTxId !== null && source.newestTxId <= storedTxId) return 0;
      const waiting = seen.get(database)?.find(({ txId }) => storedTxId === null || txId > storedTxId);
      const sinceMs = waiting?.stampMs ?? source.newestStampMs ?? source.lastSeenMs;
      return Math.max(0, options.now() - sinceMs);
    },
    save,
  };

  function noteNewest(source: Source, { newestTxId, newestStampMs }: Envelope): void {
    if (newestTxId === null) return;
    const list = seen.get(source.database) ?? [];
    seen.set(source.database, list);
    addSeen(list, { txId: newestTxId, stampMs: newestStampMs ?? source.lastSeenMs });
    source.newestTxId = newestTxId;
    source.newestStampMs = newestStampMs;
  }
}

function addSeen(list: Seen[], one: Seen): void {
  const last = list.at(-1);
  // A restored database goes on below: what was seen above it is no longer to come.
  if (last !== undefined && one.txId < last.txId) list.length = 0;
  if (last === undefined || one.txId !== last.txId) list.push(one);
  if (list.length > seenMax)
    list.splice(0, list.length, ...list.filter((_, at) => at % 2 === 0 || at > seenMax / 2));
}

function newSource({ database, begin }: Envelope): Source {
  const { generation, host } = begin;
  return {
    database,
    generation,
    host,
    newestTxId: null,
    newestStampMs: null,
    lastSeenMs: 0,
    parting: null,
    generations: new Map(),
  };
}

function noteItems(source: Source, { begin, items }: Envelope, atMs: number): void {
  const known = source.generations.get(begin.generation);
  const entry = known ?? { epoch: begin.epoch, acceptedTxId: null, acceptedAtMs: atMs };
  source.generations.set(begin.generation, entry);
  for (const oldest of source.generations.keys()) {
    if (source.generations.size <= generationsMax) break;
    if (oldest !== begin.generation) source.generations.delete(oldest);
  }
  for (const item of items) {
    const name = parseObjectName(item.name);
    const txId =
      name?.kind === "snapshot" ? name.txId : name !== undefined && "lastTxId" in name ? name.lastTxId : null;
    if (txId === null || (entry.acceptedTxId !== null && txId < entry.acceptedTxId)) continue;
    entry.acceptedTxId = txId;
    entry.acceptedAtMs = atMs;
  }
}

const txIdSchema = z
  .string()
  .transform((text) => parseTxId(text))
  .nullable();
const seenSchema = z.object({ txId: z.string().transform((text) => parseTxId(text)), stampMs: z.number() });
const sourceSchema = z.object({
  database: z.string().transform((text) => parseDatabaseName(text)),
  generation: z.string().transform((text) => parseGeneration(text)),
  host: z.string(),
  newestTxId: txIdSchema,
  newestStampMs: z.number().nullable(),
  lastSeenMs: z.number(),
  parting: partingSchema.nullable().default(null),
  generations: z.array(
    z.object({
      generation: z.string().transform((text) => parseGeneration(text)),
      epoch: z.number(),
      acceptedTxId: txIdSchema,
      acceptedAtMs: z.number(),
    }),
  ),
  seen: z.array(seenSchema).default([]),
});

/** A source as it is noted. */
interface Noted {
  readonly source: Source;
  readonly seen: Seen[];
}

/** A note that cannot be read tells nothing: the next envelope does. */
function parseSource(value: string): Noted | undefined {
  try {
    const { generations, seen, ...source } = sourceSchema.parse(JSON.parse(value));
    const known = new Map(generations.map(({ generation, ...entry }) => [generation, entry]));
    return { source: { ...source, generations: known }, seen };
  } catch {
    return undefined;
  }
}

function formatSource({ source, seen }: Noted): string {
  const hex = (txId: TxId | null) => (txId === null ? null : formatTxId(txId));
  const generations = [...source.generations].map(([generation, { acceptedTxId, ...entry }]) => {
    return { generation, ...entry, acceptedTxId: hex(acceptedTxId) };
  });
  return JSON.stringify({
    ...source,
    newestTxId: hex(source.newestTxId),
    generations: generations.slice(-generationsMax),
    seen: thinned(seen).map(({ txId, stampMs }) => ({ txId: formatTxId(txId), stampMs })),
  });
}

/** Some of them, ascending, the first and the last among them. */
function thinned(seen: readonly Seen[]): readonly Seen[] {
  const step = Math.ceil(seen.length / seenNotedMax);
  return seen.filter((_, at) => at % step === 0 || at === seen.length - 1);
}

/** What two processes heard of one database: the newest of each. */
export function mergeSources(theirs: string, ours: string): string {
  const [a, b] = [parseSource(theirs), parseSource(ours)];
  if (a === undefined || b === undefined) return ours;
  const [older, newer] = a.source.lastSeenMs <= b.source.lastSeenMs ? [a, b] : [b, a];
  const generations = new Map(older.source.generations);
  for (const [generation, entry] of newer.source.generations) {
    const before = generations.get(generation);
    const isFurther = (before?.acceptedTxId ?? -1n) > (entry.acceptedTxId ?? -1n);
    // What was begun last stays last: the oldest are left out where there are many.
    generations.delete(generation);
    generations.set(generation, before !== undefined && isFurther ? before : entry);
  }
  const stamps = new Map([...older.seen, ...newer.seen].map((one) => [one.txId, one]));
  const newest = newer.source.newestTxId;
  const seen = [...stamps.values()]
    .filter(({ txId }) => newest === null || txId <= newest)
    .sort((one, other) => (one.txId < other.txId ? -1 : 1));
  return formatSource({ source: { ...newer.source, generations }, seen });
}
