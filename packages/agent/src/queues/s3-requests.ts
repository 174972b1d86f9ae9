// The requests that staging makes of a bucket, each of them once. The only importer of S3's client, which is loaded when it is used.
import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import type { S3Client } from "@aws-sdk/client-s3";
import type { StagingAddress } from "@pageferry/format";
import { isClockCorrected } from "./aws-errors.ts";
import { notInstalled, silentClient } from "./aws-installed.ts";

/** A part that was taken. */
export interface TakenPart {
  readonly number: number;
  readonly etag: string;
}

/** What goes into a bucket in one request. */
export interface WholeObject {
  readonly key: string;
  readonly size: number;
  /** SHA-256, base64; the server checks it. */
  readonly sha256: string;
  /** The bytes, from the start; called again for another attempt. */
  readonly open: () => Readable;
}

/** An upload in parts: seen by nobody before it is completed. */
export interface Upload {
  readonly key: string;
  readonly id: string;
}

/** A bucket; errors are the SDK's. What would overwrite an object is refused by the server. */
export interface StageBucket {
  put(object: WholeObject, signal: AbortSignal): Promise<void>;
  /** The size of an object. Who may only write is told that this is forbidden. */
  sizeOf(key: string, signal: AbortSignal): Promise<number>;
  begin(key: string, signal: AbortSignal): Promise<Upload>;
  putPart(upload: Upload, number: number, bytes: Uint8Array, signal: AbortSignal): Promise<TakenPart>;
  complete(upload: Upload, parts: readonly TakenPart[], signal: AbortSignal): Promise<void>;
  abandon(upload: Upload, signal: AbortSignal): Promise<void>;
}

/** How long a connection may take to be made, ms. */
const connectMs = 30_000;

/** Loads the client and makes a bucket of it. */
export async function openStageBucket(
  address: StagingAddress & { readonly region: string },
): Promise<StageBucket> {
  const sdk = await import("@aws-sdk/client-s3").catch((cause: unknown) => {
    throw notInstalled("@aws-sdk/client-s3", cause);
  });
  const { bucket: Bucket, region, endpoint } = address;
  const client: S3Client = new sdk.S3Client({
    region,
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    maxAttempts: 1,
    logger: silentClient,
    // What is sent has its digest with it.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler: { connectionTimeout: connectMs },
  });
  const once = { IfNoneMatch: "*" };
  return {
    async put({ key, size, sha256, open }, abortSignal) {
      const put = async () => {
        const body = open();
        try {
          const object = {
            Bucket,
            Key: key,
            Body: body,
            ContentLength: size,
            ChecksumSHA256: sha256,
            ...once,
          };
          await client.send(new sdk.PutObjectCommand(object), { abortSignal });
        } finally {
          body.destroy();
        }
      };
      await again(put);
    },
    async sizeOf(key, abortSignal) {
      const found = await client.send(new sdk.HeadObjectCommand({ Bucket, Key: key }), { abortSignal });
      return found.ContentLength ?? 0;
    },
    async begin(key, abortSignal) {
      const begun = await again(() =>
        client.send(new sdk.CreateMultipartUploadCommand({ Bucket, Key: key }), { abortSignal }),
      );
      return { key, id: begun.UploadId ?? "" };
    },
    async putPart({ key, id }, number, bytes, abortSignal) {
      const part = { Bucket, Key: key, UploadId: id, PartNumber: number, Body: bytes };
      const command = new sdk.UploadPartCommand({ ...part, ContentMD5: md5(bytes) });
      const taken = await again(() => client.send(command, { abortSignal }));
      return { number, etag: taken.ETag ?? "" };
    },
    async complete({ key, id }, parts, abortSignal) {
      const Parts = parts.map(({ number, etag }) => ({ PartNumber: number, ETag: etag }));
      const upload = { Bucket, Key: key, UploadId: id, MultipartUpload: { Parts } };
      await again(() =>
        client.send(new sdk.CompleteMultipartUploadCommand({ ...upload, ...once }), { abortSignal }),
      );
    },
    async abandon({ key, id }, abortSignal) {
      const command = new sdk.AbortMultipartUploadCommand({ Bucket, Key: key, UploadId: id });
      await client.send(command, { abortSignal });
    },
  };
}

/** A clock that the first answer corrected is no error. */
async function again<Result>(send: () => Promise<Result>): Promise<Result> {
  try {
    return await send();
  } catch (error) {
    if (!isClockCorrected(error)) throw error;
    return send();
  }
}

function md5(bytes: Uint8Array): string {
  return createHash("md5").update(bytes).digest("base64");
}
