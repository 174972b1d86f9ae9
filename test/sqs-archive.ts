// What lies in an SQS queue and its staging bucket, laid into a directory as an archive: the smallest fan-out there is.
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { GetObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import type { Message } from "@aws-sdk/client-sqs";
import {
  decodeEnvelope,
  type Envelope,
  type EnvelopeItem,
  formatGenerationJson,
  PageferryError,
} from "@pageferry/format";

/** What was found beside the archive. */
export interface Unpacked {
  readonly envelopes: readonly Envelope[];
  /** Items that came in the message, and by pointer. */
  readonly inline: number;
  readonly staged: number;
  /** Names that came more than once. */
  readonly repeated: number;
}

export interface UnpackOptions {
  /** Each database gets a directory below it. */
  readonly directory: string;
  readonly client: S3Client;
  readonly bucket: string;
}

/** Writes each object once, under its name; that another message brings other bytes under it is an error. */
export async function unpackMessages(
  messages: readonly Message[],
  options: UnpackOptions,
): Promise<Unpacked> {
  const envelopes = messages.map(({ Body = "" }) => decodeEnvelope(Buffer.from(Body, "base64")));
  const counts = { inline: 0, staged: 0, repeated: 0 };
  for (const { database, begin, items } of envelopes) {
    const root = join(options.directory, database);
    const generation = join(root, begin.generation, "generation.json");
    await writeOnce(generation, formatGenerationJson({ version: 1, ...begin, receivedAtMs: 0 }));
    for (const item of items) {
      counts["bytes" in item ? "inline" : "staged"] += 1;
      const bytes = await bytesOf(item, database, options);
      const isNew = await writeOnce(join(root, item.name), bytes);
      if (!isNew) counts.repeated += 1;
    }
  }
  return { envelopes, ...counts };
}

async function bytesOf(item: EnvelopeItem, database: string, options: UnpackOptions): Promise<Uint8Array> {
  if ("bytes" in item) return item.bytes;
  const Key = `stage/${database}/${item.digest}`;
  const { Body } = await options.client.send(new GetObjectCommand({ Bucket: options.bucket, Key }));
  const bytes = (await Body?.transformToByteArray()) ?? new Uint8Array();
  const digest = createHash("sha256").update(bytes).digest("hex");
  if (digest !== item.digest || bytes.length !== item.size) {
    throw new PageferryError("corrupt", `${Key}: ${bytes.length} bytes of ${digest}`);
  }
  return bytes;
}

async function writeOnce(path: string, bytes: Uint8Array): Promise<boolean> {
  await mkdir(dirname(path), { recursive: true });
  try {
    await writeFile(path, bytes, { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    if ((await readFile(path)).equals(bytes)) return false;
    throw new PageferryError("conflict", `${path}: other bytes under the same name`, { cause: error });
  }
}
