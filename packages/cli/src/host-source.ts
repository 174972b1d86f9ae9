// A database of a host as a source of backups: points and manifests by its API, objects by the manifest's places.

import {
  type ArchiveReader,
  formatTxId,
  type Generation,
  isPageferryError,
  PageferryError,
  type Point,
  parseGeneration,
  parseTxId,
  planOf,
  type RestoreTarget,
  type TimelineJson,
} from "@pageferry/format";
import type { BackupSource } from "./backup-source.ts";
import { createHostClient, type HostClient, hostToken, type Patience } from "./host-client.ts";
import type { Io } from "./io.ts";
import type { ReadManifest } from "./manifest-reader.ts";

/** A host waits for its replicas itself, and asks another one: it is given time for that. */
const hostStallMs = 45_000;

/** How to ask a host. */
export interface HostSourceOptions {
  /** Where a host on this machine keeps its token. */
  readonly dataDir: string;
  readonly read: ReadManifest;
}

/** Opens `http(s)://HOST/v1/databases/NAME`. */
export async function openHostSource(
  from: string,
  { dataDir, read }: HostSourceOptions,
  io: Io,
): Promise<BackupSource> {
  const url = URL.parse(from);
  const path = url?.pathname.replace(/\/+$/, "") ?? "";
  if (url === null || !/\/v1\/databases\/[^/]+$/.test(path) || url.search !== "") {
    throw new PageferryError("bad-request", "FROM: a host's database is http://HOST/v1/databases/NAME", {
      hint: "`pageferry status` lists the databases of a host.",
    });
  }
  if (url.username !== "" || url.password !== "") {
    throw new PageferryError("bad-request", "FROM: a host's URL holds no password", {
      hint: "Set PAGEFERRY_TOKEN.",
    });
  }
  const base = `${url.origin}${path}`;
  const client = createHostClient(url.origin, await hostToken(from, dataDir, io));
  const places = new Map<string, string>();
  const readers = [objectReader(base, client, { places, warn: (text) => io.err(`warning: ${text}\n`) })];
  return {
    name: base,
    readers,
    stallMs: hostStallMs,
    [Symbol.asyncDispose]: async () => undefined,
    async points(signal) {
      const answer = await client.getJson(`${base}/points`, signal);
      for (const warning of warningsOf(answer)) io.err(`warning: ${warning}\n`);
      return parsePoints(answer, base);
    },
    async timeline(signal) {
      const url = `${base}/points?timeline=true`;
      const answer = await client.getJson(url, signal);
      for (const warning of warningsOf(answer)) io.err(`warning: ${warning}\n`);
      if (!Array.isArray((answer as Partial<TimelineJson> | null)?.generations))
        throw new PageferryError("unavailable", `${url}: the answer is not a timeline`, {
          hint: "An older host gives points only: use --all, or --json.",
        });
      return answer as TimelineJson;
    },
    async plan(target, signal, without = new Set()) {
      if (readers.length === 1) readers.push(...(await replicaReaders(base, client, signal)));
      const manifestUrl = `${base}/manifest${queryOf(target, without)}`;
      const database = decodeURIComponent(path.slice(path.lastIndexOf("/") + 1));
      const manifest = read(await client.getBytes(manifestUrl, signal), { target, database });
      for (const { name, url: place } of manifest.objects) {
        if (place !== undefined) places.set(name, placeIn(place, manifestUrl));
      }
      return planOf(manifest);
    },
  };
}

function queryOf(target: RestoreTarget, without: ReadonlySet<string>): string {
  const query = new URLSearchParams();
  if (target.txId !== undefined) query.set("txid", formatTxId(target.txId));
  if (target.timestampMs !== undefined) query.set("timestamp", new Date(target.timestampMs).toISOString());
  if (target.generation !== undefined) query.set("generation", target.generation);
  for (const name of without) query.append("without", name);
  return query.size === 0 ? "" : `?${query}`;
}

/**
 * Each replica by itself, for an object that the host gave and that does not hold: another replica may have it whole. A host that does not
 * say is read as it is.
 */
async function replicaReaders(
  base: string,
  client: HostClient,
  signal: AbortSignal,
): Promise<ArchiveReader[]> {
  try {
    const status = (await client.getJson(base, signal)) as { readonly replicas?: unknown };
    const names = (Array.isArray(status.replicas) ? status.replicas : []).flatMap(
      (replica: { readonly name?: unknown }) => (typeof replica.name === "string" ? [replica.name] : []),
    );
    return names.map((name) => ({
      name: `${base} from ${name}`,
      isLastResort: true,
      async *list() {
        yield* [];
      },
      get: (object, { offset, length, signal: until } = {}) =>
        client.getStream(
          `${objectUrl(base, object)}?replica=${encodeURIComponent(name)}`,
          { offset, length },
          until,
        ),
    }));
  } catch (error) {
    signal.throwIfAborted();
    if (!isPageferryError(error)) throw error;
    return [];
  }
}

function objectUrl(base: string, name: string): string {
  return `${base}/objects/${name.split("/").map(encodeURIComponent).join("/")}`;
}

/** Where an object lies: at the host, or at a store under a URL of its own. Errors: `corrupt` for anything else. */
function placeIn(place: string, manifestUrl: string): string {
  const url = URL.parse(place, manifestUrl);
  if (url?.protocol === "http:" || url?.protocol === "https:") return url.href;
  throw new PageferryError("corrupt", "manifest: an object's place is no URL of http or https");
}

/** A store that is out of reach is found out quickly: the host has the same objects. */
const storePatience: Patience = { attempts: 1, answerTimeoutMs: 10_000 };

interface Places {
  readonly places: ReadonlyMap<string, string>;
  readonly warn: (text: string) => void;
}

/** Gives objects from the store where the manifest has URLs for that, and from the host where such a URL does not serve. */
function objectReader(base: string, client: HostClient, { places, warn }: Places): ArchiveReader {
  const { origin } = new URL(base);
  const unfit = new Set<string>();
  return {
    name: base,
    // A host plans by itself and is asked for its points; nothing lists it object by object.
    async *list() {
      yield* [];
    },
    async get(name, { offset, length, signal } = {}) {
      const proxied = objectUrl(base, name);
      const place = places.get(name) ?? proxied;
      const elsewhere = new URL(place).origin;
      if (elsewhere === origin) return client.getStream(place, { offset, length }, signal);
      if (!unfit.has(elsewhere)) {
        try {
          return await client.getStream(place, { offset, length }, signal, storePatience);
        } catch (error) {
          signal?.throwIfAborted();
          if (!isPageferryError(error)) throw error;
          // It may be this object's own fault, as when it was removed; then the host says so.
          if (!unfit.has(elsewhere) && error.code !== "not-found") {
            unfit.add(elsewhere);
            warn(`${elsewhere} cannot be read directly (${error.code}): objects come through the host`);
          }
        }
      }
      return client.getStream(proxied, { offset, length }, signal);
    },
  };
}

function warningsOf(answer: unknown): string[] {
  const { warnings } = (answer ?? {}) as { readonly warnings?: unknown };
  return Array.isArray(warnings) ? warnings.filter((one) => typeof one === "string") : [];
}

function parsePoints(answer: unknown, base: string): Point[] {
  const list = Array.isArray(answer) ? answer : (answer as { points?: unknown } | null)?.points;
  if (!Array.isArray(list))
    throw new PageferryError("unavailable", `${base}/points: the answer is not a list of points`);
  return list.map((item: Readonly<Record<string, unknown>>) => ({
    generation: parseGeneration(String(item.generation)) as Generation,
    txId: parseTxId(String(item.txid)),
    stampMs: typeof item.time === "string" ? Date.parse(item.time) : null,
    receivedMs: typeof item.received === "string" ? Date.parse(item.received) : null,
    kind: item.kind === "snapshot" || item.kind === "pack" ? item.kind : "segment",
    name: String(item.object ?? ""),
    size: Number(item.bytes ?? 0),
  }));
}
