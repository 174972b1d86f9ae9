// Where `ls` and `get` look: at a host, by its API and the scope `inspect`, or into replicas themselves, by ranges. What they give is the same.

import {
  bytesOfName,
  formatTxId,
  getValue,
  listBucket,
  openPointPages,
  PageferryError,
  parseDatabaseName,
  type RestoreTarget,
} from "@pageferry/format";
import { type AnswerOf, inspectGetRoute, inspectLsRoute } from "@pageferry/functions/routes";
import { type BackupSource, openBackupSource } from "./backup-source.ts";
import { defaultDataDir } from "./data-dir.ts";
import { hostOrigin } from "./host-origin.ts";
import { openHostDatabase, pointQuery } from "./host-source.ts";
import type { Io } from "./io.ts";

/** Entries of one answer of a host, and of one look into a replica. */
const partMax = 1000;

/** What lies under a key. */
export interface InspectEntry {
  readonly key: Uint8Array;
  readonly kind: "key" | "bucket";
  /** Of a value. */
  readonly bytes: number | undefined;
  /** Of a bucket: its own counter. */
  readonly sequence: string | undefined;
}

/** What of a bucket to list. */
export interface InspectOrder {
  /** Names of buckets, as they were typed. */
  readonly path: string;
  readonly after: string | undefined;
  readonly prefix: string | undefined;
  readonly limit: number;
}

/** A part of a bucket, and which point it is of. */
export interface InspectPart {
  readonly generation: string;
  readonly txid: string;
  readonly time: string | null;
  readonly entries: readonly InspectEntry[];
  /** As `after` takes it. */
  readonly next: string | undefined;
}

/** One point that can be looked into. */
export interface Inspector extends AsyncDisposable {
  /** At most `partMax` entries, whatever the limit. Throws `not-found`. */
  ls(order: InspectOrder): Promise<InspectPart>;
  /** Throws `not-found`. */
  get(path: string, key: string): Promise<AsyncIterable<Uint8Array>>;
}

/** Where, and at which point. */
export interface InspectorOptions {
  readonly target: RestoreTarget;
  readonly host: string | undefined;
  readonly data: string | undefined;
  readonly config: string | undefined;
}

/**
 * Opens a database to look inside: of the places `froms`, each of which is the database's own or holds it under its name; of the configuration's
 * replicas; or of the host that runs here.
 */
export async function openInspector(
  froms: readonly string[],
  database: string,
  io: Io,
  options: InspectorOptions,
): Promise<Inspector> {
  const { target, data: dataDir = defaultDataDir, config } = options;
  const name = parseDatabaseName(database);
  if (froms.length === 0 && config === undefined) {
    const origin = await hostOrigin(options.host, dataDir);
    return openAtHost(`${origin}/v1/databases/${name}`, dataDir, io, target);
  }
  const [first = ""] = froms;
  if (/^https?:\/\//i.test(first)) {
    if (froms.length > 1) throw new PageferryError("bad-request", "FROM: a host is asked alone");
    const isDatabases = /\/v1\/databases\/[^/]+\/*$/.test(first);
    return openAtHost(
      isDatabases ? first : `${first.replace(/\/+$/, "")}/v1/databases/${name}`,
      dataDir,
      io,
      target,
    );
  }
  const places = froms.length === 0 ? [name] : froms.map((from) => placeOf(from, name));
  const source = await openBackupSource(places, io, { dataDir, config });
  try {
    return await openAtReplicas(source, target, io);
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}

/** FROM may be the database's own place, or the one above it. A query of a URL stays where it is. */
function placeOf(from: string, name: string): string {
  const [, place = from, query = ""] = /^([^?]*)(\?.*)?$/.exec(from) ?? [];
  const trimmed = place.replace(/\/+$/, "");
  return trimmed.split("/").at(-1) === name ? from : `${trimmed}/${name}${query}`;
}

async function openAtReplicas(
  source: BackupSource,
  target: RestoreTarget,
  { signal, err }: Io,
): Promise<Inspector> {
  const plan = await source.plan(target, signal);
  for (const warning of plan.warnings) err(`warning: ${warning}\n`);
  const pages = await openPointPages(plan, source.readers, { signal });
  const point = {
    generation: plan.generation,
    txid: formatTxId(plan.txId),
    time: plan.stampMs === null ? null : new Date(plan.stampMs).toISOString(),
  };
  return {
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
    async ls({ path, after, prefix, limit }) {
      const listing = await listBucket(pages, namesOf(path), {
        ...{ limit: Math.min(limit, partMax), signal },
        ...{ after: nameOf(after), prefix: nameOf(prefix) },
      });
      if (listing === undefined) throw nothing("bucket");
      const entries = listing.entries.map((entry) => ({
        ...{ key: entry.key, kind: entry.kind },
        bytes: entry.kind === "key" ? entry.valueBytes : undefined,
        sequence: entry.kind === "bucket" ? String(entry.sequence) : undefined,
      }));
      return { ...point, entries, next: hexOf(listing.next) };
    },
    async get(path, key) {
      const value = await getValue(pages, namesOf(path), bytesOfName(key), { signal });
      if (value === undefined) throw nothing("key");
      if (value === "bucket") throw isBucket();
      return value.read(0, value.bytes);
    },
  };
}

async function openAtHost(from: string, dataDir: string, io: Io, target: RestoreTarget): Promise<Inspector> {
  const { client, params } = await openHostDatabase(from, dataDir, io);
  const { signal } = io;
  const point = pointQuery(target);
  return {
    [Symbol.asyncDispose]: async () => undefined,
    async ls({ path, after, prefix, limit }) {
      const query = {
        ...{ ...point, path, limit: Math.min(limit, partMax) },
        ...(after === undefined ? {} : { after }),
        ...(prefix === undefined ? {} : { prefix }),
      };
      const { generation, txid, time, entries, next } = await client.call(inspectLsRoute, {
        params,
        query,
        signal,
      });
      return { generation, txid, time, entries: entries.map(entryOf), next: next ?? undefined };
    },
    get: (path, key) =>
      client.getStream(client.urlOf(inspectGetRoute, { params, query: { ...point, path, key } }), {}, signal),
  };
}

/** What a host says of keys is text that is read back into bytes, and printed by our own rules. */
function entryOf(entry: AnswerOf<typeof inspectLsRoute>["entries"][number]): InspectEntry {
  const key = bytesOfName(entry.key);
  return entry.kind === "key"
    ? { key, kind: "key", bytes: entry.bytes, sequence: undefined }
    : { key, kind: "bucket", bytes: undefined, sequence: entry.sequence };
}

function namesOf(path: string): Uint8Array[] {
  return path === "" ? [] : path.split("/").map(bytesOfName);
}

function nameOf(text: string | undefined): Uint8Array | undefined {
  return text === undefined ? undefined : bytesOfName(text);
}

function hexOf(key: Uint8Array | undefined): string | undefined {
  return key === undefined ? undefined : `hex:${Buffer.from(key).toString("hex")}`;
}

function nothing(what: string): PageferryError {
  return new PageferryError("not-found", `there is no such ${what} at this point`, {
    hint: "`pageferry ls` shows what there is, from the database's name on.",
  });
}

function isBucket(): PageferryError {
  return new PageferryError("bad-request", "this is a bucket, not a key", {
    hint: "List it with `pageferry ls`.",
  });
}
