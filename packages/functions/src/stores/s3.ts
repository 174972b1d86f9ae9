// Objects in a bucket of an S3-compatible server, `<prefix>/<name>`. What the servers differ in, and what is done about it,
// is the table in docs/replicas.md.

import { checkObjectName, PageferryError, parseObjectName } from "@pageferry/format";
import pMap from "p-map";
import {
  type CallOptions,
  checkMutableName,
  type Difference,
  type ObjectInfo,
  type Retained,
  type Store,
} from "../store.ts";
import {
  abortOldUploads,
  openBucket,
  type PresignedPut,
  type PresignedRequest,
  presignObject,
  presignUpload,
  putBytes,
  removeObject,
  type S3Bucket,
} from "./s3-bucket.ts";
import { checkOptions, type S3StoreOptions } from "./s3-client.ts";
import { putObject, type WriteOnce } from "./s3-put.ts";
import { listObjects, readObject } from "./s3-read.ts";

export type { S3StoreOptions } from "./s3-client.ts";

/** A key's length in bytes, prefix and all. */
const keyBytesMax = 1024;

/** Deletes are cheap for a server, and each has an answer of its own. */
const removesAtOnce = 16;

/** A large object is on its way for hours, not days. */
const leftoverAgeMs = 24 * 60 * 60 * 1000;

const sweepEveryMs = 60 * 60 * 1000;

/** What a sweep does not get done in this time is left to the next one. */
const sweepMs = 60 * 1000;

/** A server's time comes by the second, and with its answer. */
const skewMsMin = 5000;

/** The signature of a URL ends after a week. */
const presignSecondsMax = 7 * 24 * 60 * 60;

/** A store in a bucket. */
export interface S3Store extends Store {
  /** For 1 second to a week; a role's credentials may end sooner. */
  presign(name: string, options: { readonly expiresSeconds: number }): Promise<string>;
  /** A URL that stores one object, of these very bytes and where there is none, for those who send the headers with it. */
  presignPut(name: string, put: PresignedPut): Promise<PresignedRequest>;
}

/** A store in a bucket, which must exist. Nothing is connected until it is used. Errors: `bad-config` for contradictions. */
export function s3Store(options: S3StoreOptions): S3Store {
  checkOptions(options);
  const base = baseOf(options.prefix ?? "");
  const bucket = openBucket(options);
  // AWS says that it refuses to overwrite, and does; whoever speaks S3 elsewhere shows it once.
  const promised = options.endpoint === undefined ? "kept" : "untested";
  const writeOnce: WriteOnce = { whole: promised, parts: promised };
  const keyOf = (name: string) => keyWithin(base, name);
  const sweep = options.sweep === true ? createSweep(bucket, base, options.now ?? Date.now) : undefined;
  const close = async () => {
    await sweep?.end();
    await bucket.close();
  };
  return {
    name: options.name ?? `s3://${options.bucket}${base === "" ? "" : `/${base.slice(0, -1)}`}`,
    async put(name, body, call = {}) {
      call.signal?.throwIfAborted();
      const key = keyOf(name);
      return putObject({ bucket, writeOnce, key, where: `object ${name}`, body, call });
    },
    async get(name, range = {}) {
      range.signal?.throwIfAborted();
      return readObject(bucket, keyOf(name), `object ${name}`, range);
    },
    list: (prefix, call = {}) => list(bucket, base, prefix, call, sweep),
    async remove(names, call = {}) {
      call.signal?.throwIfAborted();
      const keys = Array.from(names, (name) => ({ name, key: keyOf(name) }));
      return removeAll(bucket, keys, call);
    },
    async replace(name, bytes, call = {}) {
      call.signal?.throwIfAborted();
      checkMutableName(name);
      await putBytes(bucket, keyOf(name), bytes, { ...call, where: `object ${name}`, isNew: false });
    },
    async presign(name, { expiresSeconds }) {
      if (!Number.isInteger(expiresSeconds) || expiresSeconds < 1 || expiresSeconds > presignSecondsMax) {
        throw new PageferryError(
          "bad-request",
          `a URL is good for 1 to ${presignSecondsMax} s, not ${expiresSeconds}`,
        );
      }
      return presignObject(bucket, keyOf(name), expiresSeconds);
    },
    differences: () => differences(bucket, writeOnce),
    presignPut: (name, put) => presignUpload(bucket, keyOf(name), put),
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function differences(bucket: S3Bucket, writeOnce: WriteOnce): Promise<readonly Difference[]> {
  const { systemClockOffset: offsetMs } = (await bucket.client()).config;
  const ignored: Difference = {
    what: "the server knows no If-None-Match: before each write is a look, and two hosts that write one name at once are not kept apart",
    todo: "Let one host alone write to this bucket, or use a server that refuses to overwrite (docs/replicas.md).",
  };
  const skewed: Difference = {
    what: `the server's clock is ${Math.round(Math.abs(offsetMs) / 1000)} s ${offsetMs > 0 ? "ahead" : "behind"}; requests are signed by the server's`,
    todo: "Set this machine's clock by NTP.",
  };
  return [
    ...(writeOnce.whole === "ignored" ? [ignored] : []),
    ...(Math.abs(offsetMs) < skewMsMin ? [] : [skewed]),
  ];
}

function baseOf(prefix: string): string {
  const plain = prefix.replace(/^\/+|\/+$/g, "");
  if (plain === "") return "";
  try {
    return `${checkObjectName(plain)}/`;
  } catch (cause) {
    throw new PageferryError("bad-config", "s3: prefix is not a plain path", { cause });
  }
}

function keyWithin(base: string, name: string): string {
  const key = base + checkObjectName(name);
  if (Buffer.byteLength(key) > keyBytesMax) {
    throw new PageferryError(
      "bad-name",
      `object ${name.slice(0, 80)}… is longer than ${keyBytesMax} bytes, prefix and all`,
    );
  }
  return key;
}

async function* list(
  bucket: S3Bucket,
  base: string,
  prefix: string,
  call: CallOptions,
  sweep: Sweep | undefined,
): AsyncGenerator<ObjectInfo> {
  call.signal?.throwIfAborted();
  sweep?.begin();
  // A prefix that leaves the root, or cannot begin a name, begins no name.
  if (prefix !== "" && /^\/|\\|\0|(^|\/)\.{0,2}\//.test(prefix)) return;
  yield* listObjects(bucket, base, prefix, call);
}

interface Sweep {
  /** Begins it, if one is due, and does not wait. */
  begin(): void;
  /** Stops what is under way. */
  end(): Promise<void>;
}

/** Aborts what killed writers left, at most once an hour. Who may not do that, or cannot now, goes without. */
function createSweep(bucket: S3Bucket, base: string, now: () => number): Sweep {
  const closing = new AbortController();
  let sweptAtMs = Number.NEGATIVE_INFINITY;
  let underWay: Promise<void> = Promise.resolve();
  return {
    begin() {
      const atMs = now();
      if (closing.signal.aborted || Math.abs(atMs - sweptAtMs) < sweepEveryMs) return;
      sweptAtMs = atMs;
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(sweepMs)]);
      const options = { signal, isOurs: isUploadName };
      underWay = abortOldUploads(bucket, base, atMs - leftoverAgeMs, options).catch(() => undefined);
    },
    async end() {
      closing.abort();
      await underWay;
    },
  };
}

const quarantinePattern = /^quarantine\/[0-9a-f]{16}\/[0-9a-f]{16}-/;

/** Whether an object of an archive's, with or without its database's directory before it, may come in parts. */
function isUploadName(name: string): boolean {
  return [name, name.slice(name.indexOf("/") + 1)].some((own) => {
    const kind = parseObjectName(own)?.kind;
    if (kind === "quarantine") return quarantinePattern.test(own);
    return kind === "snapshot" || kind === "segment" || kind === "pack" || kind === "files";
  });
}

async function removeAll(
  bucket: S3Bucket,
  keys: readonly { readonly name: string; readonly key: string }[],
  call: CallOptions,
): Promise<readonly Retained[]> {
  const retained: Retained[] = [];
  await pMap(
    keys,
    async ({ name, key }) => {
      const outcome = await removeObject(bucket, key, `object ${name}`, call);
      if (outcome !== "removed") retained.push({ name, reason: outcome });
    },
    { concurrency: removesAtOnce },
  );
  return retained;
}
