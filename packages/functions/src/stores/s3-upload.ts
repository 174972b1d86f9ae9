// A large object in parts: a few of them in memory, the whole of it visible at once and only if it is what it said to be.
// What fails leaves no parts behind.

import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { isPageferryError } from "@pageferry/format";
import { openBody } from "../body.ts";
import type { CallOptions, ReplayableBody, StoreBody } from "../store.ts";
import { conditionOutcome, digestKey, md5, request, type S3Bucket, type Written } from "./s3-bucket.ts";
import { nameOf, statusOf } from "./s3-errors.ts";

const mebibyte = 1024 * 1024;

/** What is larger goes in parts. Parts below 5 MiB are refused; all but the last must have one size (R2). */
export const partBytes = 6 * mebibyte;

/** No server takes more. */
const partsMax = 10_000;

/**
 * Parts on their way at a time hold at most this, unless a single part is larger, which is so above 120 GB; putting the next
 * ones together takes twice a part more. R2 takes two or three parts of one object at a time.
 */
const inFlightBytesMax = 12 * mebibyte;

/** A part whose connection breaks is sent again: else a large object would begin anew with every hiccup. */
const partAttemptsMax = 4;

/** `unknown`: completing failed in a way that does not tell whether the object is there. */
export type Uploaded = Written | { readonly kind: "unknown"; readonly error: unknown };

export interface UploadOptions extends CallOptions {
  readonly where: string;
  readonly size: number;
  /** Only where there is no object of this name. */
  readonly isNew: boolean;
}

interface Progress {
  failure: unknown;
  bodyError: unknown;
  isCompleting: boolean;
}

/** Uploads a body in parts. Errors: the body's own, `corrupt`, those of the server; the signal's reason. */
export async function uploadParts(
  bucket: S3Bucket,
  key: string,
  body: StoreBody,
  options: UploadOptions,
): Promise<Uploaded> {
  const { where, size, isNew, signal } = options;
  const progress: Progress = { failure: undefined, bodyError: undefined, isCompleting: false };
  const partSize = Math.max(partBytes, Math.ceil(size / partsMax / mebibyte) * mebibyte);
  const sha256 = body instanceof Uint8Array ? undefined : (body as ReplayableBody).sha256;
  const source = Readable.from(feed(body, where, signal, progress));
  const upload = new Upload({
    client: sender(await bucket.client(), bucket, options, progress),
    params: {
      Bucket: bucket.bucket,
      Key: key,
      Body: source,
      ...(isNew ? { IfNoneMatch: "*" } : {}),
      ...(sha256 === undefined ? {} : { Metadata: { [digestKey]: sha256 } }),
    },
    partSize,
    queueSize: Math.max(1, Math.floor(inFlightBytesMax / partSize)),
  });
  try {
    await upload.done();
    return "stored";
  } catch (error) {
    if (progress.bodyError !== undefined) throw progress.bodyError;
    signal?.throwIfAborted();
    const failure = progress.failure ?? error;
    if (!progress.isCompleting) throw failure;
    return completionOutcome(failure, isNew, bucket.bucket);
  } finally {
    source.destroy();
  }
}

/** What a failure to complete means: a conflict, or a lost answer: then a second attempt to complete finds no upload, and so do we. */
export function completionOutcome(error: unknown, isNew: boolean, bucket: string): Uploaded {
  const condition = isNew ? conditionOutcome(error, bucket) : undefined;
  if (condition !== undefined) return condition;
  const cause = isPageferryError(error) ? error.cause : undefined;
  const isGone = cause !== undefined && (nameOf(cause) === "NoSuchUpload" || statusOf(cause) === 404);
  if (isGone || isPageferryError(error, "unavailable")) return { kind: "unknown", error };
  throw error;
}

/** The body in pieces that can be kept: what the caller does with its own bytes later is its own affair. */
async function* feed(
  body: StoreBody,
  where: string,
  signal: AbortSignal | undefined,
  progress: Progress,
): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of openBody(body, where, signal)) {
      for (let at = 0; at < chunk.length; at += mebibyte) {
        // The other parts would go on to the end, for nothing.
        if (progress.failure !== undefined) return;
        const length = Math.min(mebibyte, chunk.length - at);
        yield Buffer.from(chunk.buffer, chunk.byteOffset + at, length);
      }
    }
  } catch (error) {
    // Ended from outside because a part failed, it is not the body that is at fault.
    if (progress.failure === undefined) progress.bodyError = error;
    throw error;
  }
}

/** The client as the upload sees it: every request can be aborted, a part is tried again, and cleaning up is not aborted. */
function sender(client: S3Client, bucket: S3Bucket, options: UploadOptions, progress: Progress): S3Client {
  const { where } = options;
  const run = (command: Parameters<S3Client["send"]>[0], call: CallOptions) =>
    request(bucket, where, call, (_, send) => client.send(command, send));
  const send = async (command: Parameters<S3Client["send"]>[0]): Promise<unknown> => {
    if ((command as unknown) instanceof AbortMultipartUploadCommand) {
      // Who cannot be reached keeps the parts, until the owner's sweep or the bucket's lifecycle rule.
      return run(command, { signal: AbortSignal.timeout(bucket.timeoutMs) }).catch(() => ({}));
    }
    try {
      if ((command as unknown) instanceof UploadPartCommand) return await sendPart(command, run, options);
      if ((command as unknown) instanceof CompleteMultipartUploadCommand) progress.isCompleting = true;
      return await run(command, options);
    } catch (error) {
      progress.failure ??= error;
      throw error;
    }
  };
  return Object.assign(Object.create(client) as S3Client, { send });
}

async function sendPart(
  command: Parameters<S3Client["send"]>[0],
  run: (command: Parameters<S3Client["send"]>[0], call: CallOptions) => Promise<unknown>,
  call: CallOptions,
): Promise<unknown> {
  const { input } = command as unknown as UploadPartCommand;
  if (input.Body instanceof Uint8Array) input.ContentMD5 = md5(input.Body);
  return tryAgain(() => run(command, call), call);
}

/** Sends a part, again and again where its connection breaks. */
export async function tryAgain<Answer>(send: () => Promise<Answer>, call: CallOptions): Promise<Answer> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await send();
    } catch (error) {
      const isVain = isSilence(error) || isUploadGone(error);
      if (attempt >= partAttemptsMax || !isPageferryError(error, "unavailable") || isVain) throw error;
      await sleep(100 * 2 ** attempt * (0.5 + Math.random()), undefined, call);
    }
  }
}

/** Somebody completed it, or a lifecycle rule removed it. */
export function isUploadGone(error: unknown): boolean {
  const cause = isPageferryError(error) ? error.cause : undefined;
  return cause !== undefined && nameOf(cause) === "NoSuchUpload";
}

/** A server that said nothing for the whole time limit is not asked three times more. */
function isSilence(error: unknown): boolean {
  const cause = isPageferryError(error) ? error.cause : undefined;
  const { code } = (cause ?? {}) as { readonly code?: unknown };
  return cause !== undefined && nameOf(cause) === "TimeoutError" && code === undefined;
}
