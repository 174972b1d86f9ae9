// A database of a host as a source of backups: points and manifests by its API, objects by the manifest's places.

import {
  type ArchiveReader,
  formatTxId,
  isPageferryError,
  type ManifestCompanions,
  PageferryError,
  type Point,
  type PointJson,
  parseCompanionsName,
  parseGeneration,
  parseTxId,
  planOf,
  type RestoreTarget,
} from "@pageferry/format";
import {
  companionsRoute,
  databaseRoute,
  manifestRoute,
  objectRoute,
  pointsRoute,
} from "@pageferry/functions/routes";
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
  /** Default: PAGEFERRY_RESTORE_TOKEN, else what `hostToken` finds. */
  readonly token?: string | undefined;
  /** The words that the host asks for where an old file does harm. */
  readonly acknowledge?: string | undefined;
}

/** A database of a host, and how to ask for it. */
export interface HostPlace {
  readonly name: string;
  readonly client: HostClient;
  readonly params: { readonly database: string };
}

/** A host's database, by its URL `http(s)://HOST/v1/databases/NAME`. Errors: `bad-request`. */
export async function openHostDatabase(
  from: string,
  dataDir: string,
  io: Io,
  token?: string,
): Promise<HostPlace> {
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
  const name = `${url.origin}${path}`;
  const [host, database = ""] = name.split(/\/v1\/databases\/(?=[^/]+$)/) as [string, string?];
  const client = createHostClient(host, token ?? (await hostToken(from, dataDir, io)));
  return { name, client, params: { database } };
}

/** Opens `http(s)://HOST/v1/databases/NAME`. */
export async function openHostSource(
  from: string,
  { dataDir, read, token, acknowledge }: HostSourceOptions,
  io: Io,
): Promise<BackupSource> {
  const at = await openHostDatabase(
    from,
    dataDir,
    io,
    token ?? (io.env.PAGEFERRY_RESTORE_TOKEN || undefined),
  );
  const { name, client, params } = at;
  const { database } = params;
  const places = new Map<string, string>();
  let companions: ManifestCompanions | undefined;
  const readers = [objectReader(at, { places, warn: (text) => io.err(`warning: ${text}\n`) })];
  return {
    name,
    readers,
    stallMs: hostStallMs,
    [Symbol.asyncDispose]: async () => undefined,
    async points(signal) {
      const answer = await client.call(pointsRoute, { params, signal });
      if ("generations" in answer)
        throw new PageferryError("unavailable", `${name}/points: the answer is not a list of points`);
      warn(answer.warnings, io);
      return answer.points.map(pointOf);
    },
    async timeline(signal) {
      const answer = await client.call(pointsRoute, { params, query: { timeline: "true" }, signal });
      if (!("generations" in answer))
        throw new PageferryError("unavailable", `${name}/points: the answer is not a timeline`, {
          hint: "An older host gives points only: use --all, or --json.",
        });
      warn(answer.warnings, io);
      return answer;
    },
    // The host told with the plan's manifest; where it was planned anew, with the last one.
    companions: async () => companions,
    async companionVersions(signal) {
      const { versions } = await client.call(companionsRoute, { params, signal });
      return versions.flatMap(({ name: object, bytes }) => {
        const parsed = parseCompanionsName(object);
        return parsed === undefined ? [] : [{ ...parsed, size: bytes }];
      });
    },
    async plan(target, signal, without = new Set()) {
      if (readers.length === 1) readers.push(...(await replicaReaders(at, signal)));
      const manifestUrl = client.urlOf(manifestRoute, {
        params,
        query: queryOf(target, without, acknowledge),
      });
      const manifest = read(await client.getBytes(manifestUrl, signal), { target, database });
      for (const { name, url: place } of manifest.objects) {
        if (place !== undefined) places.set(name, placeIn(place, manifestUrl));
      }
      companions = manifest.companions;
      if (companions?.url !== undefined) places.set(companions.name, placeIn(companions.url, manifestUrl));
      return planOf(manifest);
    },
  };
}

/** A point as the API's parameters name it. */
export function pointQuery({ txId, timestampMs, generation }: RestoreTarget) {
  return {
    ...(txId === undefined ? {} : { txid: formatTxId(txId) }),
    ...(timestampMs === undefined ? {} : { timestamp: new Date(timestampMs).toISOString() }),
    ...(generation === undefined ? {} : { generation }),
  };
}

function queryOf(target: RestoreTarget, without: ReadonlySet<string>, acknowledge: string | undefined) {
  return {
    ...pointQuery(target),
    ...(without.size === 0 ? {} : { without: [...without] }),
    ...(acknowledge === undefined ? {} : { acknowledge }),
  };
}

/**
 * Each replica by itself, for an object that the host gave and that does not hold: another replica may have it whole. A host that does not
 * say is read as it is.
 */
async function replicaReaders(at: HostPlace, signal: AbortSignal): Promise<ArchiveReader[]> {
  const { client, params } = at;
  try {
    const { replicas } = await client.call(databaseRoute, { params, signal });
    return replicas.map(({ name: replica }) => ({
      name: `${at.name} from ${replica}`,
      isLastResort: true,
      async *list() {
        yield* [];
      },
      get: (name, { offset, length, signal: until } = {}) =>
        client.getStream(objectUrl(at, name, { replica }), { offset, length }, until),
    }));
  } catch (error) {
    signal.throwIfAborted();
    if (!isPageferryError(error)) throw error;
    return [];
  }
}

function objectUrl(
  { client, params }: HostPlace,
  name: string,
  query: { readonly replica?: string } = {},
): string {
  return client.urlOf(objectRoute, { params: { ...params, name }, query });
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
function objectReader(at: HostPlace, { places, warn }: Places): ArchiveReader {
  const { client } = at;
  const { origin } = new URL(at.name);
  const unfit = new Set<string>();
  return {
    name: at.name,
    // A host plans by itself and is asked for its points; nothing lists it object by object.
    async *list() {
      yield* [];
    },
    async get(name, { offset, length, signal } = {}) {
      const proxied = objectUrl(at, name);
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

function warn(warnings: readonly string[], io: Io): void {
  for (const warning of warnings) io.err(`warning: ${warning}\n`);
}

function pointOf({ generation, txid, time, received, kind, object, bytes }: PointJson): Point {
  return {
    generation: parseGeneration(generation),
    txId: parseTxId(txid),
    stampMs: time === null ? null : Date.parse(time),
    receivedMs: received === null ? null : Date.parse(received),
    ...{ kind, name: object, size: bytes },
  };
}
