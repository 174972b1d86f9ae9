// Objects in a NATS JetStream object store, readable by every other client of it. Write-once is decided by the server:
// chunks go under an id of their own, then one description is published on the condition that the name has none.

import { setTimeout as sleep } from "node:timers/promises";
import { checkObjectName, isPageferryError, PageferryError } from "@pageferry/format";
import pMap from "p-map";
import { bodySize, openBody } from "../body.ts";
import {
  type CallOptions,
  checkMutableName,
  type Difference,
  type Retained,
  type Store,
  type StoreBody,
} from "../store.ts";
import { parseServers } from "./nats-auth.ts";
import { openBucket } from "./nats-bucket.ts";
import {
  checkStall,
  chunkBytesOf,
  chunkSubject,
  lookUp,
  metaSubject,
  type ObjectMeta,
  publishMeta,
  type Written,
  writeChunks,
} from "./nats-objects.ts";
import { compare, contended, get, inBackground, list, type NatsStore, roundsMax } from "./nats-read.ts";

/** What a call waits for an answer unless told. */
const timeoutMsDefault = 15_000;

/** Chunks that no object names are a killed writer's once they are so old; a put gives up at half of it. */
const leftoverAgeMsDefault = 60 * 60 * 1000;

/** How long `close` waits for removals of abandoned chunks. */
const discardGraceMs = 1_000;

/** Removals asked for at a time. */
const removalsAtOnce = 8;

/** The configuration's entry, and what only a program decides. */
export interface NatsStoreOptions {
  /** `nats://` or `tls://` with host, port, and user and password or token; several, parted by commas, of one cluster. */
  readonly url: string;
  readonly bucket: string;
  readonly prefix?: string | undefined;
  /** A file with a JWT and a seed. */
  readonly creds?: string | undefined;
  /** A file with a seed. */
  readonly nkey?: string | undefined;
  /** Files with certificates of authorities to trust; with any, TLS is demanded. */
  readonly rootCAs?: readonly string[] | undefined;
  /** Make the bucket if it is missing. Default false: a bucket that vanished is an error. */
  readonly createBucket?: boolean | undefined;
  /** A stable word for logs. Default `nats://<bucket>/<prefix>`. */
  readonly name?: string;
  /** No answer for so long is `unavailable`. Default 15 seconds. */
  readonly timeoutMs?: number;
  /** Remove what killed writers left, beside a listing. For the store's owner only. Default false. */
  readonly sweep?: boolean;
  /** How old such leftovers must be. Default one hour. */
  readonly leftoverAgeMs?: number;
}

/** A store in a bucket; nothing is connected until it is used. Errors: `bad-config` for a URL or bucket name that is none. */
export function natsStore(options: NatsStoreOptions): Store {
  const { bucket, prefix = "" } = options;
  if (!/^[A-Za-z0-9_-]+$/.test(bucket)) {
    throw new PageferryError("bad-config", "replicas: nats: a bucket's name is letters, digits, _ and -");
  }
  const path = prefix.replace(/^\/+|\/+$/g, "");
  const name = options.name ?? `nats://${bucket}${path === "" ? "" : `/${path}`}`;
  const store: NatsStore = {
    bucket: openBucket({
      ...parseServers(options.url),
      bucket,
      creds: options.creds,
      nkey: options.nkey,
      rootCAs: options.rootCAs ?? [],
      createBucket: options.createBucket ?? false,
      timeoutMs: options.timeoutMs ?? timeoutMsDefault,
      where: name,
    }),
    root: path === "" ? "" : `${path}/`,
    leftoverAgeMs: options.leftoverAgeMs ?? leftoverAgeMsDefault,
    sweepAtMs: options.sweep === true ? 0 : Number.POSITIVE_INFINITY,
    closing: new AbortController(),
    discards: new Set(),
  };
  const close = async () => {
    store.closing.abort();
    await Promise.race([Promise.all(store.discards), sleep(discardGraceMs, undefined, { ref: false })]);
    await store.bucket.close();
  };
  return {
    name,
    put: (object, body, call = {}) => put(store, object, body, call),
    get: (object, range = {}) => get(store, object, range),
    list: (wanted, call = {}) => list(store, wanted, call),
    remove: (names, call = {}) => remove(store, names, call),
    replace: (object, bytes, call = {}) => replace(store, object, bytes, call),
    differences: () => differences(store),
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function differences({ bucket }: NatsStore): Promise<readonly Difference[]> {
  if ((await bucket.copies()) > 1) return [];
  return [
    {
      what: "the bucket has one copy, and the server acknowledges before its disk does, unless it is told otherwise",
      todo: "Set `sync_interval: always` in its jetstream block, or give the bucket three copies.",
    },
  ];
}

async function put(
  store: NatsStore,
  name: string,
  body: StoreBody,
  { signal }: CallOptions,
): Promise<"stored" | "present"> {
  signal?.throwIfAborted();
  checkObjectName(name);
  if (bodySize(body) > (await chunkBytesOf(store.bucket, signal))) {
    // Not worth sending only to hear at the end that it is there. Of a small one, most are new.
    const there = await lookUpStored(store, name, signal);
    if (there !== undefined && !there.isDeleted) return compare(store, name, there, body, signal);
  }
  const written = await write(store, name, body, signal);
  let expected = 0;
  for (let round = 0; round < roundsMax; round++) {
    if (await publishWritten(store, name, written, expected, signal)) return "stored";
    const there = await lookUpStored(store, name, signal);
    // Ours: the answer to an earlier attempt was lost on the way.
    if (there?.nuid === written.nuid) return "stored";
    if (there !== undefined && !there.isDeleted) {
      discard(store, written.nuid);
      return compare(store, name, there, body, signal);
    }
    expected = there?.sequence ?? 0;
  }
  discard(store, written.nuid);
  throw contended(name);
}

/** As `lookUp`, for a put: what is stored there and cannot be read is a `conflict`, for the body is not to blame. */
async function lookUpStored(
  store: NatsStore,
  name: string,
  signal: AbortSignal | undefined,
): Promise<ObjectMeta | undefined> {
  try {
    return await lookUp(store.bucket, store.root + name, signal);
  } catch (cause) {
    if (!isPageferryError(cause, "corrupt")) throw cause;
    const message = `object ${name}: what is stored under this name has a description that cannot be read`;
    throw new PageferryError("conflict", message, { cause });
  }
}

function write(
  store: NatsStore,
  name: string,
  body: StoreBody,
  signal: AbortSignal | undefined,
): Promise<Written> {
  const where = `object ${name}`;
  return writeChunks(store.bucket, openBody(body, where, signal), {
    where,
    stallMs: store.leftoverAgeMs / 2,
    discard: (nuid) => discard(store, nuid),
    signal,
  });
}

/**
 * As `publishMeta`. Where the server said no, the chunks are removed; where it said nothing, they stay: the description
 * may have arrived, or may yet. What nobody names after all is swept.
 */
async function publishWritten(
  store: NatsStore,
  name: string,
  written: Written,
  expected: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  checkStall(written.atMs, { where: `object ${name}`, stallMs: store.leftoverAgeMs / 2 });
  try {
    return await publishMeta(store.bucket, store.root + name, written, expected, signal);
  } catch (error) {
    if ((error as { code?: unknown }).code === "disk-full") discard(store, written.nuid);
    throw error;
  }
}

/** Removes chunks that no description names. Nobody waits for it: what is left is swept later. */
function discard(store: NatsStore, nuid: string): void {
  inBackground(store, store.bucket.purge(chunkSubject(store.bucket, nuid), undefined));
}

/** The description goes first, and only the one that was seen: a later put under the name is never hit. */
async function remove(
  store: NatsStore,
  names: Iterable<string>,
  { signal }: CallOptions,
): Promise<readonly Retained[]> {
  signal?.throwIfAborted();
  const { bucket } = store;
  const removeOne = async (name: string) => {
    signal?.throwIfAborted();
    const path = store.root + checkObjectName(name);
    const there = await lookUp(bucket, path, signal);
    if (there === undefined) return;
    await bucket.purge(metaSubject(bucket, path), there.sequence + 1, signal);
    if (there.nuid !== "") await bucket.purge(chunkSubject(bucket, there.nuid), undefined, signal);
  };
  await pMap(names, removeOne, { concurrency: removalsAtOnce });
  return [];
}

async function replace(
  store: NatsStore,
  name: string,
  bytes: Uint8Array,
  { signal }: CallOptions,
): Promise<void> {
  signal?.throwIfAborted();
  checkMutableName(name);
  const written = await write(store, name, bytes, signal);
  for (let round = 0; round < roundsMax; round++) {
    const there = await lookUp(store.bucket, store.root + name, signal);
    if (await publishWritten(store, name, written, there?.sequence ?? 0, signal)) {
      if (there !== undefined && there.nuid !== "") discard(store, there.nuid);
      return;
    }
  }
  discard(store, written.nuid);
  throw contended(name);
}
