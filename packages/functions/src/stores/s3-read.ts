// Reading objects and listing them: a range is what was asked for or an error, a listing is whole or an error.

import type { Readable } from "node:stream";
import { checkObjectName, isPageferryError, PageferryError } from "@pageferry/format";
import { gather } from "../body.ts";
import { streamOfBytes } from "../file-stream.ts";
import { type CallOptions, compareNames, type ObjectInfo, type RangeOptions, rangeWithin } from "../store.ts";
import { head, listPage, openObject, type S3Bucket } from "./s3-bucket.ts";
import { fromS3, nameOf, statusOf } from "./s3-errors.ts";

/** Up to this an object is read at once: a reader who forgets the stream then holds no connection. */
const smallBytes = 256 * 1024;

export async function readObject(
  bucket: S3Bucket,
  key: string,
  where: string,
  range: RangeOptions,
): Promise<ReadableStream<Uint8Array>> {
  const { offset = 0, length, signal } = range;
  // Is it a range at all?
  rangeWithin(Number.MAX_SAFE_INTEGER, range, where);
  if (length === 0) return emptyRange(bucket, key, where, range);
  const header =
    offset === 0 && length === undefined
      ? undefined
      : `bytes=${offset}-${length === undefined ? "" : offset + length - 1}`;
  const limit = new AbortController();
  const silence = Object.assign(new Error(`no answer for ${bucket.timeoutMs} ms`), { name: "TimeoutError" });
  const timer = setTimeout(() => limit.abort(silence), bucket.timeoutMs);
  let answer: Awaited<ReturnType<typeof openObject>>;
  try {
    const either = signal === undefined ? limit.signal : AbortSignal.any([signal, limit.signal]);
    answer = await openObject(bucket, key, where, header, { signal: either });
  } catch (error) {
    signal?.throwIfAborted();
    const isPastEnd = isPageferryError(error) && statusOf(error.cause) === 416;
    if (isPastEnd) return emptyRange(bucket, key, where, range);
    throw fromS3(error, where, bucket.bucket);
  } finally {
    clearTimeout(timer);
  }
  const body = answer.Body as Readable;
  // A connection that breaks while nobody reads must not end the process; who reads is told.
  body.on("error", () => undefined);
  try {
    const [start, end] = rangeWithin(totalOf(answer, header !== undefined, where), range, where);
    if (header !== undefined && answer.ContentRange?.startsWith(`bytes ${start}-${end - 1}/`) !== true) {
      throw new PageferryError(
        "unavailable",
        `${where}: asked for ${header}, the server gave ${answer.ContentRange}`,
      );
    }
    const chunks = bodyChunks(bucket, body, where, end - start, signal);
    return end - start > smallBytes
      ? streamOf(chunks, body)
      : streamOfBytes(await gather(chunks, end - start, where));
  } catch (error) {
    body.destroy();
    throw error;
  }
}

/** No bytes, of an object that is there and long enough. */
async function emptyRange(
  bucket: S3Bucket,
  key: string,
  where: string,
  range: RangeOptions,
): Promise<ReadableStream<Uint8Array>> {
  const found = await head(bucket, key, where, range);
  if (found === undefined) throw new PageferryError("not-found", `${where} is not there`);
  const [start, end] = rangeWithin(found.size, range, where);
  if (start === end) return streamOfBytes(new Uint8Array());
  throw new PageferryError(
    "unavailable",
    `${where}: the server has no bytes ${start} to ${end} of ${found.size}`,
  );
}

function totalOf(
  answer: { readonly ContentLength?: number | undefined; readonly ContentRange?: string | undefined },
  isRange: boolean,
  where: string,
): number {
  const total = isRange ? /\/(\d+)$/.exec(answer.ContentRange ?? "")?.[1] : answer.ContentLength;
  if (total === undefined) throw new PageferryError("unavailable", `${where}: the server gave no size`);
  return Number(total);
}

/** The body's bytes, all `size` of them or an error. While a reader waits for the server, the server's silence is limited. */
async function* bodyChunks(
  bucket: S3Bucket,
  body: Readable,
  where: string,
  size: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const onAbort = () => void body.destroy();
  signal?.addEventListener("abort", onAbort, { once: true });
  const chunks: AsyncIterator<Uint8Array> = body[Symbol.asyncIterator]();
  let done = 0;
  try {
    for (;;) {
      const timer = setTimeout(() => {
        const silence = new Error(`no byte for ${bucket.timeoutMs} ms`);
        body.destroy(Object.assign(silence, { name: "TimeoutError" }));
      }, bucket.timeoutMs);
      const next = await chunks.next().finally(() => clearTimeout(timer));
      signal?.throwIfAborted();
      if (next.done === true) break;
      done += next.value.length;
      yield next.value;
    }
  } catch (error) {
    signal?.throwIfAborted();
    const { code } = error as NodeJS.ErrnoException;
    const mine =
      code === undefined && nameOf(error) === ""
        ? Object.assign(error as Error, { code: "ECONNRESET" })
        : error;
    throw fromS3(mine, where, bucket.bucket);
  } finally {
    signal?.removeEventListener("abort", onAbort);
    body.destroy();
  }
  if (done !== size) {
    throw new PageferryError("unavailable", `${where}: the connection ended after ${done} of ${size} bytes`);
  }
}

function streamOf(chunks: AsyncGenerator<Uint8Array>, body: Readable): ReadableStream<Uint8Array> {
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          const next = await chunks.next();
          if (next.done === true) controller.close();
          else controller.enqueue(next.value);
        } catch (error) {
          controller.error(error);
        }
      },
      async cancel() {
        body.destroy();
        await chunks.return(undefined).catch(() => undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

/** Every object below `base` whose name begins with `prefix`; what is no name of ours, as a folder's marker, is left out. */
export async function* listObjects(
  bucket: S3Bucket,
  base: string,
  prefix: string,
  call: CallOptions,
): AsyncGenerator<ObjectInfo> {
  let token: string | undefined;
  let last: string | undefined;
  do {
    const page = await listPage(bucket, base + prefix, token, call);
    const broken = (why: string) =>
      new PageferryError("unavailable", `listing ${base}${prefix}: ${why}; it cannot be trusted to be whole`);
    const { Contents = [], EncodingType, KeyCount } = page;
    if (KeyCount !== undefined && KeyCount !== Contents.length) {
      throw broken(`a page of ${Contents.length} objects says it has ${KeyCount}`);
    }
    for (const { Key, Size } of Contents) {
      call.signal?.throwIfAborted();
      const key = EncodingType === "url" ? decodeKey(Key ?? "") : Key;
      if (key?.startsWith(base + prefix) !== true || Size === undefined)
        throw broken("an object has no name or size");
      if (last !== undefined && compareNames(last, key) >= 0) throw broken("its names do not ascend");
      last = key;
      const name = key.slice(base.length);
      if (isObjectName(name)) yield { name, size: Size };
    }
    if (page.IsTruncated === undefined) throw broken("the answer does not say whether there is more");
    const next = page.NextContinuationToken;
    if (page.IsTruncated && (next === undefined || next === "" || next === token)) {
      throw broken("the server says there is more and does not say how to go on");
    }
    token = page.IsTruncated ? next : undefined;
  } while (token !== undefined);
}

function decodeKey(key: string): string | undefined {
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch {
    return undefined;
  }
}

function isObjectName(name: string): boolean {
  try {
    checkObjectName(name);
    return true;
  } catch {
    return false;
  }
}
