// A large object in parts that may pause between two of them and go on in another process: which parts are there, and how far its
// digest has come, is all that is kept. What is complete is visible at once, and only if it has the digest that it should have.

import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { isPageferryError, PageferryError } from "@pageferry/format";
import { createSHA256 } from "hash-wasm";
import { z } from "zod";
import type { ReplayableBody, ResumableCopy, StoreBody } from "../store.ts";
import { digestKey, md5, request, type S3Bucket } from "./s3-bucket.ts";
import { completionOutcome, isUploadGone, tryAgain, type Uploaded, type UploadOptions } from "./s3-upload.ts";

/** Two are in memory; 8 GiB are 256 of them, whose tags fit into a message. */
const copyPartBytes = 32 * 1024 * 1024;

/** No server takes more. */
const partsMax = 10_000;

/** A body that can be copied so. */
export type ResumableBody = ReplayableBody & {
  readonly sha256: string;
  readonly resumable: ResumableCopy;
};

export function isResumable(body: StoreBody): body is ResumableBody {
  return !(body instanceof Uint8Array) && body.resumable !== undefined && body.sha256 !== undefined;
}

const progressSchema = z.object({
  key: z.string(),
  size: z.number(),
  uploadId: z.string(),
  partBytes: z.int().min(1),
  /** The digest's inner state after those parts. */
  hash: z.string(),
  tags: z.array(z.string()),
});

type Progress = z.output<typeof progressSchema>;

interface Copy {
  readonly bucket: S3Bucket;
  readonly key: string;
  readonly body: ResumableBody;
  readonly options: UploadOptions;
}

/**
 * Uploads a body in parts, from where an earlier turn paused. Errors: `timeout` where it is to pause, with what it did saved;
 * `corrupt`, those of the server; the signal's reason.
 */
export async function copyInParts(
  bucket: S3Bucket,
  key: string,
  body: ResumableBody,
  options: UploadOptions,
): Promise<Uploaded> {
  const copy: Copy = { bucket, key, body, options };
  if (body.resumable.mustPause()) throw paused(copy, 0);
  const progress = known(copy) ?? (await begin(copy));
  try {
    await sendParts(copy, progress);
  } catch (error) {
    if (isUploadGone(error)) {
      body.resumable.save("");
      throw new PageferryError("unavailable", `${options.where}: its upload is gone, it begins anew`, {
        cause: error,
      });
    }
    if (isPageferryError(error, "corrupt")) await abandon(copy, progress);
    throw error;
  }
  return complete(copy, progress);
}

function known({ key, body, options }: Copy): Progress | undefined {
  const saved = body.resumable.load();
  if (saved === undefined || saved === "") return undefined;
  const progress = progressSchema.parse(JSON.parse(saved));
  // A message may bring several large bodies, one after the other.
  return progress.key === key && progress.size === options.size ? progress : undefined;
}

async function begin(copy: Copy): Promise<Progress> {
  const { bucket, key, body, options } = copy;
  const { size } = options;
  const { UploadId = "" } = await run(copy, (client, send) =>
    client.send(
      new CreateMultipartUploadCommand({
        ...{ Bucket: bucket.bucket, Key: key, Metadata: { [digestKey]: body.sha256 } },
      }),
      send,
    ),
  );
  const partBytes = Math.max(copyPartBytes, Math.ceil(size / partsMax));
  const hash = Buffer.from((await createSHA256()).init().save()).toString("base64");
  return { key, size, uploadId: UploadId, partBytes, hash, tags: [] };
}

async function sendParts(copy: Copy, progress: Progress): Promise<void> {
  const { body, options } = copy;
  const { size } = options;
  const { partBytes, tags } = progress;
  const digest = (await createSHA256()).init().load(Buffer.from(progress.hash, "base64"));
  const read = async (at: number): Promise<Uint8Array | undefined> => {
    const length = Math.min(partBytes, size - at);
    return length > 0 ? body.resumable.read(at, length) : undefined;
  };
  let bytes = await read(tags.length * partBytes);
  while (bytes !== undefined) {
    if (body.resumable.mustPause()) throw paused(copy, tags.length);
    options.signal?.throwIfAborted();
    const at = tags.length * partBytes + bytes.length;
    // The next one comes while this one goes.
    const [tag, next] = await Promise.all([send(copy, progress, bytes), read(at)]);
    digest.update(bytes);
    tags.push(tag);
    bytes = next;
    progress.hash = Buffer.from(digest.save()).toString("base64");
    body.resumable.save(JSON.stringify(progress));
  }
  const found = digest.digest();
  if (found === body.sha256) return;
  throw new PageferryError(
    "corrupt",
    `${options.where}: the body has digest ${found}, expected ${body.sha256}`,
  );
}

async function send(copy: Copy, { uploadId, tags }: Progress, bytes: Uint8Array): Promise<string> {
  const { bucket, key, options } = copy;
  const command = new UploadPartCommand({
    ...{ Bucket: bucket.bucket, Key: key, UploadId: uploadId, PartNumber: tags.length + 1 },
    ...{ Body: bytes, ContentLength: bytes.length, ContentMD5: md5(bytes) },
  });
  const { ETag = "" } = await tryAgain(
    () => run(copy, (client, sending) => client.send(command, sending)),
    options,
  );
  return ETag;
}

async function complete(copy: Copy, { uploadId, tags }: Progress): Promise<Uploaded> {
  const { bucket, key, body, options } = copy;
  const Parts = tags.map((ETag, at) => ({ ETag, PartNumber: at + 1 }));
  const command = new CompleteMultipartUploadCommand({
    ...{ Bucket: bucket.bucket, Key: key, UploadId: uploadId, MultipartUpload: { Parts } },
    ...(options.isNew ? { IfNoneMatch: "*" } : {}),
  });
  try {
    await run(copy, (client, sending) => client.send(command, sending));
    return "stored";
  } catch (error) {
    options.signal?.throwIfAborted();
    return completionOutcome(error, options.isNew, bucket.bucket);
  } finally {
    // Completed or refused: there is nothing to go on with. One that only could not be reached begins anew.
    body.resumable.save("");
  }
}

/** Who cannot be reached keeps the parts, until the bucket's lifecycle rule. */
async function abandon(copy: Copy, { uploadId }: Progress): Promise<void> {
  const { bucket, key, body } = copy;
  body.resumable.save("");
  const command = new AbortMultipartUploadCommand({ Bucket: bucket.bucket, Key: key, UploadId: uploadId });
  await run(copy, (client, sending) => client.send(command, sending)).catch(() => undefined);
}

function run<Output>(
  { bucket, options }: Copy,
  work: (client: S3Client, send: { readonly abortSignal?: AbortSignal }) => Promise<Output>,
): Promise<Output> {
  return request(bucket, options.where, options, work);
}

function paused({ options }: Copy, parts: number): PageferryError {
  return new PageferryError("timeout", `${options.where}: pauses after ${parts} parts, and goes on later`);
}
