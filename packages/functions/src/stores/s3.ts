// Objects in a bucket of an S3-compatible server, `<prefix>/<name>`. What the servers differ in, and what is done about it,
// is the table in docs/replicas.md.

import { checkObjectName, PageferryError } from "@pageferry/format";
import pMap from "p-map";
import { type CallOptions, checkMutableName, type ObjectInfo, type Retained, type Store } from "../store.ts";
import {
  abortOldUploads,
  openBucket,
  presignObject,
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

/** The signature of a URL ends after a week. */
const presignSecondsMax = 7 * 24 * 60 * 60;

/** A store in a bucket. */
export interface S3Store extends Store {
  /**
   * A URL that reads one object without credentials, for `expiresSeconds` (1 to a week; a role's credentials may end
   * sooner). Whether the object is there shows when it is read.
   */
  presign(name: string, options: { readonly expiresSeconds: number }): Promise<string>;
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
    close: () => bucket.close(),
    [Symbol.asyncDispose]: () => bucket.close(),
  };
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
  sweep: ((call: CallOptions) => Promise<void>) | undefined,
): AsyncGenerator<ObjectInfo> {
  call.signal?.throwIfAborted();
  await sweep?.(call);
  // A prefix that leaves the root, or cannot begin a name, begins no name.
  if (prefix !== "" && /^\/|\\|\0|(^|\/)\.{0,2}\//.test(prefix)) return;
  yield* listObjects(bucket, base, prefix, call);
}

/** Aborts what killed writers left, at most once an hour. Who may not do that, or cannot now, goes without. */
function createSweep(
  bucket: S3Bucket,
  base: string,
  now: () => number,
): (call: CallOptions) => Promise<void> {
  let sweptAtMs = Number.NEGATIVE_INFINITY;
  return async (call) => {
    const atMs = now();
    if (Math.abs(atMs - sweptAtMs) < sweepEveryMs) return;
    sweptAtMs = atMs;
    await abortOldUploads(bucket, base, atMs - leftoverAgeMs, call).catch(() =>
      call.signal?.throwIfAborted(),
    );
  };
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
