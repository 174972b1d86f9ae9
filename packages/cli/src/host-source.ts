// A database of a host as a source of backups: points and manifests by its API, objects by the manifest's places.

import {
  type ArchiveReader,
  formatTxId,
  type Generation,
  isPageferryError,
  PageferryError,
  type Point,
  parseGeneration,
  parseManifest,
  parseTxId,
  planOf,
  type RestoreTarget,
  type TimelineJson,
} from "@pageferry/format";
import type { BackupSource } from "./backup-source.ts";
import { createHostClient, type HostClient, hostToken } from "./host-client.ts";
import type { Io } from "./io.ts";

/** A host waits for its replicas itself, and asks another one: it is given time for that. */
const hostStallMs = 45_000;

/** A host's database, by its URL, and how to ask for it. Errors: `bad-request`. */
export async function openHostDatabase(
  from: string,
  dataDir: string,
  io: Io,
): Promise<{ readonly base: string; readonly client: HostClient }> {
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
  return { base, client: createHostClient(url.origin, await hostToken(from, dataDir, io)) };
}

/** Opens `http(s)://HOST/v1/databases/NAME`. `dataDir` is where a host on this machine keeps its token. */
export async function openHostSource(from: string, dataDir: string, io: Io): Promise<BackupSource> {
  const { base, client } = await openHostDatabase(from, dataDir, io);
  const places = new Map<string, string>();
  const readers = [objectReader(base, client, places)];
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
      const manifest = parseManifest(await client.getBytes(manifestUrl, signal));
      for (const { name, url: place } of manifest.objects) {
        if (place !== undefined) places.set(name, new URL(place, manifestUrl).href);
      }
      return planOf(manifest);
    },
  };
}

/** A point as the API's parameters name it. */
export function pointQuery(target: RestoreTarget): URLSearchParams {
  const query = new URLSearchParams();
  if (target.txId !== undefined) query.set("txid", formatTxId(target.txId));
  if (target.timestampMs !== undefined) query.set("timestamp", new Date(target.timestampMs).toISOString());
  if (target.generation !== undefined) query.set("generation", target.generation);
  return query;
}

function queryOf(target: RestoreTarget, without: ReadonlySet<string>): string {
  const query = pointQuery(target);
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

function objectReader(base: string, client: HostClient, places: ReadonlyMap<string, string>): ArchiveReader {
  return {
    name: base,
    // A host plans by itself and is asked for its points; nothing lists it object by object.
    async *list() {
      yield* [];
    },
    get(name, { offset, length, signal } = {}) {
      return client.getStream(places.get(name) ?? objectUrl(base, name), { offset, length }, signal);
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
