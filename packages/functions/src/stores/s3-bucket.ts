// One bucket as requests: each of them once, its errors as ours. What the objects mean to a store is s3.ts.

import { createHash } from "node:crypto";
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { isPageferryError } from "@pageferry/format";
import type { CallOptions } from "../store.ts";
import { openClient, type S3StoreOptions, timeoutMsDefault } from "./s3-client.ts";
import { fromS3, isClockCorrected, isLocked, missingBucket, nameOf, statusOf } from "./s3-errors.ts";

/** The digest that a large object carries: its ETag says nothing of its bytes. */
export const digestKey = "pageferry-sha256";

/** What a conditional write came to. `again`: a writer of the same name was at work; `refused`: the server knows no condition. */
export type Written = "stored" | "exists" | "again" | "refused";

export interface S3Bucket {
  readonly bucket: string;
  readonly timeoutMs: number;
  /** The client, made when it is first needed. */
  client(): Promise<S3Client>;
  close(): Promise<void>;
}

export function openBucket(options: S3StoreOptions): S3Bucket {
  let client: Promise<S3Client> | undefined;
  return {
    bucket: options.bucket,
    timeoutMs: options.timeoutMs ?? timeoutMsDefault,
    client() {
      const opening = client ?? openClient(options);
      client = opening;
      opening.catch(() => {
        if (client === opening) client = undefined;
      });
      return opening;
    },
    async close() {
      const opened = client;
      client = undefined;
      (await opened?.catch(() => undefined))?.destroy();
    },
  };
}

/** What every `send` takes: a signal, or nothing. */
interface SendOptions {
  readonly abortSignal?: AbortSignal;
}

/** Runs a request; a clock that the first answer corrected is no error. Throws ours, or the signal's reason. */
export async function request<Output>(
  { bucket, client }: Pick<S3Bucket, "bucket" | "client">,
  where: string,
  call: CallOptions,
  send: (client: S3Client, options: SendOptions) => Promise<Output>,
): Promise<Output> {
  const { signal } = call;
  signal?.throwIfAborted();
  const options = signal === undefined ? {} : { abortSignal: signal };
  try {
    const opened = await client();
    try {
      return await send(opened, options);
    } catch (error) {
      if (!isClockCorrected(error) || signal?.aborted === true) throw error;
      return await send(opened, options);
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw fromS3(error, where, bucket);
  }
}

/** Writes an object that is in memory; with `isNew` only where there is none. */
export async function putBytes(
  bucket: S3Bucket,
  key: string,
  bytes: Uint8Array,
  options: CallOptions & { readonly where: string; readonly isNew: boolean },
): Promise<Written> {
  const { where, isNew } = options;
  try {
    await request(bucket, where, options, (client, send) =>
      client.send(
        new PutObjectCommand({
          Bucket: bucket.bucket,
          Key: key,
          Body: bytes,
          ContentLength: bytes.length,
          ContentMD5: md5(bytes),
          ...(isNew ? { IfNoneMatch: "*" } : {}),
        }),
        send,
      ),
    );
    return "stored";
  } catch (error) {
    const outcome = isNew ? conditionOutcome(error, bucket.bucket) : undefined;
    if (outcome === undefined) throw error;
    return outcome;
  }
}

/** A bucket with object lock takes no body without it; besides it finds what a broken line did. */
export function md5(bytes: Uint8Array): string {
  return createHash("md5").update(bytes).digest("base64");
}

/** What an error of a conditional write says of the condition; `undefined` if it is about something else. */
export function conditionOutcome(error: unknown, bucket: string): Exclude<Written, "stored"> | undefined {
  const cause = isPageferryError(error) ? error.cause : error;
  if (typeof cause !== "object" || cause === null) return undefined;
  const status = statusOf(cause);
  const name = nameOf(cause);
  if (status === 412 || name === "PreconditionFailed") return "exists";
  if (status === 409 && name !== "ObjectParentIsFile" && !isLocked(cause, bucket)) return "again";
  return status === 501 || name === "NotImplemented" ? "refused" : undefined;
}

/** An object's size, and its digest if it carries one; `undefined` if it is not there. */
export async function head(
  bucket: S3Bucket,
  key: string,
  where: string,
  call: CallOptions,
): Promise<{ readonly size: number; readonly sha256: string | undefined } | undefined> {
  try {
    const answer = await request(bucket, where, call, (client, send) =>
      client.send(new HeadObjectCommand({ Bucket: bucket.bucket, Key: key }), send),
    );
    return { size: answer.ContentLength ?? 0, sha256: answer.Metadata?.[digestKey] };
  } catch (error) {
    if (!isPageferryError(error) || statusOf(error.cause) !== 404) throw error;
  }
  // An answer to HEAD has no body, and does not tell a missing object from a missing bucket.
  try {
    await request(bucket, where, call, (client, send) =>
      client.send(new HeadBucketCommand({ Bucket: bucket.bucket }), send),
    );
  } catch (error) {
    call.signal?.throwIfAborted();
    const status = isPageferryError(error) ? statusOf(error.cause) : undefined;
    if (status === 404) throw missingBucket(bucket.bucket, error);
    if (status !== 403) throw error;
  }
  return undefined;
}

/** Opens an object, or a range of it; its body is a stream that nobody reads yet. */
export function openObject(
  bucket: S3Bucket,
  key: string,
  where: string,
  range: string | undefined,
  call: CallOptions,
) {
  return request(bucket, where, call, (client, send) =>
    client.send(
      new GetObjectCommand({
        Bucket: bucket.bucket,
        Key: key,
        ...(range === undefined ? {} : { Range: range }),
      }),
      send,
    ),
  );
}

export function listPage(
  bucket: S3Bucket,
  prefix: string,
  token: string | undefined,
  call: CallOptions,
): Promise<ListObjectsV2CommandOutput> {
  return request(bucket, `listing ${prefix === "" ? bucket.bucket : prefix}`, call, (client, send) =>
    client.send(
      new ListObjectsV2Command({
        Bucket: bucket.bucket,
        Prefix: prefix,
        // XML cannot hold every character that a key can.
        EncodingType: "url",
        ...(token === undefined ? {} : { ContinuationToken: token }),
      }),
      send,
    ),
  );
}

/** Removes one object; tells why its bytes stay, if they do. */
export async function removeObject(
  bucket: S3Bucket,
  key: string,
  where: string,
  call: CallOptions,
): Promise<"removed" | "locked" | "delete-marker"> {
  try {
    const answer = await request(bucket, where, call, (client, send) =>
      client.send(new DeleteObjectCommand({ Bucket: bucket.bucket, Key: key }), send),
    );
    return answer.DeleteMarker === true ? "delete-marker" : "removed";
  } catch (error) {
    if (isPageferryError(error, "not-found")) return "removed";
    if (isPageferryError(error) && isLocked(error.cause, bucket.bucket)) return "locked";
    throw error;
  }
}

/**
 * Aborts uploads below `prefix` that began before `beforeMs` and were never completed: nobody sees them, and somebody pays
 * for them. `isOurs` is asked of what follows the prefix: other programs' uploads may lie beside them.
 */
export async function abortOldUploads(
  bucket: S3Bucket,
  prefix: string,
  beforeMs: number,
  call: CallOptions & { readonly isOurs: (name: string) => boolean },
): Promise<void> {
  const { Uploads = [] } = await request(bucket, `listing uploads below ${prefix}`, call, (client, send) =>
    client.send(new ListMultipartUploadsCommand({ Bucket: bucket.bucket, Prefix: prefix }), send),
  );
  for (const { Key, UploadId, Initiated } of Uploads) {
    if (Key?.startsWith(prefix) !== true || UploadId === undefined) continue;
    if (!call.isOurs(Key.slice(prefix.length))) continue;
    if (Initiated === undefined || Initiated.getTime() >= beforeMs) continue;
    await request(bucket, `aborting an upload of ${Key}`, call, (client, send) =>
      client.send(new AbortMultipartUploadCommand({ Bucket: bucket.bucket, Key, UploadId }), send),
    );
  }
}

/** A URL that reads one object, for as long as it says, and needs no credentials. */
export function presignObject(bucket: S3Bucket, key: string, expiresSeconds: number): Promise<string> {
  return request(bucket, `presigning ${key}`, {}, (client) =>
    getSignedUrl(client, new GetObjectCommand({ Bucket: bucket.bucket, Key: key }), {
      expiresIn: expiresSeconds,
    }),
  );
}

/** Bytes that a URL is to take. */
export interface PresignedPut {
  readonly size: number;
  /** 64 lower-case hex digits: the server checks it. */
  readonly sha256: string;
  readonly expiresSeconds: number;
}

/** What somebody without credentials sends. */
export interface PresignedRequest {
  readonly method: "PUT";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** A URL that writes one object where there is none. Length, digest and condition are signed: other headers are refused. */
export function presignUpload(
  bucket: S3Bucket,
  key: string,
  { size, sha256, expiresSeconds }: PresignedPut,
): Promise<PresignedRequest> {
  return request(bucket, `presigning ${key}`, {}, async (client) => {
    const checksum = Buffer.from(sha256, "hex").toString("base64");
    const command = new PutObjectCommand({
      ...{ Bucket: bucket.bucket, Key: key, IfNoneMatch: "*" },
      ...{ ContentLength: size, ChecksumSHA256: checksum },
    });
    const signed = new Set(["content-length", "if-none-match", "x-amz-checksum-sha256"]);
    const url = await getSignedUrl(client, command, {
      expiresIn: expiresSeconds,
      signableHeaders: new Set(["host", ...signed]),
      unhoistableHeaders: signed,
    });
    const headers = {
      "content-length": String(size),
      "if-none-match": "*",
      "x-amz-checksum-sha256": checksum,
    };
    return { method: "PUT", url, headers };
  });
}
