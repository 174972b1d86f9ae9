// AWS's SQS as the queue (docs/operations.md#sqs): envelopes as messages, large bodies in a bucket, `needs` from the API.
import {
  type Needs,
  PageferryError,
  parseQueueUrl,
  parseStagingUrl,
  type SqsAddress,
  type StagingAddress,
  sqsBytesMax,
} from "@pageferry/format";
import type { PointState, Queue, QueueCallOptions, StagedBody } from "../queue.ts";
import { createHttpQueue } from "./http.ts";
import { createBatcher } from "./sqs-batcher.ts";
import { attributeBytesOf, createSqsRequest } from "./sqs-client.ts";
import { createStaging } from "./stage-s3.ts";

/** Where the queue is. Credentials come by AWS's default chain, and appear in no error and no log. */
export interface SqsQueueOptions {
  /** The queue's own URL, or `sqs://<account>/<name>?region=…`. Never with a password in it. */
  readonly url: string;
  /** `s3://<bucket>`: where bodies are put down that no message holds, under `stage/<database>/`. */
  readonly staging: string;
  /** The URL of the API, which knows what is missing. Without it the agent runs without healing. */
  readonly api?: string;
  /** Bearer token of the API with the scope `needs`. It appears in no error and no log. */
  readonly token?: string;
  /** The deploy stage that messages are for; functions of another one refuse them. */
  readonly stage?: string;
  /**
   * How long a message waits for those of other databases to share its request, ms. Default 100. More saves requests, which
   * are what costs; 0 is for one database.
   */
  readonly gatherMs?: number;
  /** How long an answer may take, beside what a slow line needs, ms. Default 30 s. */
  readonly timeoutMs?: number;
  /** How long a staged body may stand still on its way, ms. Default 60 s. */
  readonly stallMs?: number;
  /** A larger body is staged in parts. Default 5 GiB, the most that S3 takes in one. */
  readonly onePutBytesMax?: number;
}

/** A queue at SQS. Throws `bad-config` for a URL it cannot use. */
export function createSqsQueue(options: SqsQueueOptions): Queue {
  const address = sqsAddressOf(options.url);
  const { stage, gatherMs = 100, timeoutMs = 30_000, stallMs = 60_000 } = options;
  const name = address.queueUrl;
  const attributeBytes = attributeBytesOf(stage);
  const batcher = createBatcher({
    gatherMs,
    attributeBytes,
    request: createSqsRequest({ address, name, stage, timeoutMs }),
  });
  const staging = createStaging({
    address: stagingAddressOf(options.staging, address),
    stallMs,
    ...(options.onePutBytesMax === undefined ? {} : { onePutBytesMax: options.onePutBytesMax }),
  });
  const api = apiOf(options);
  return {
    name,
    async send(envelope: Uint8Array, { signal }: QueueCallOptions = {}) {
      const body = Buffer.from(envelope.buffer, envelope.byteOffset, envelope.length).toString("base64");
      if (body.length + attributeBytes > sqsBytesMax) {
        throw new PageferryError(
          "too-large",
          `${name}: an envelope of ${envelope.length} bytes is a message of ${body.length}, at most ${sqsBytesMax} are taken`,
        );
      }
      await batcher.send(body, signal);
    },
    stage: (database: string, body: StagedBody, call: QueueCallOptions = {}) => staging(database, body, call),
    async needs(database: string, call: QueueCallOptions = {}): Promise<Needs | undefined> {
      return api?.needs(database, call);
    },
    async holds(database: string, point: PointState, call: QueueCallOptions = {}) {
      return (await api?.holds?.(database, point, call)) === true;
    },
  };
}

function sqsAddressOf(url: string): SqsAddress {
  try {
    const address = parseQueueUrl(url);
    if (address !== undefined) return address;
  } catch (cause) {
    throw new PageferryError("bad-config", `queue url: ${(cause as Error).message}`, { cause });
  }
  throw new PageferryError("bad-config", "queue url: it is a host's, and one of an SQS queue is expected");
}

function stagingAddressOf(url: string, { region }: SqsAddress): StagingAddress & { readonly region: string } {
  try {
    return { region, ...parseStagingUrl(url) };
  } catch (cause) {
    throw new PageferryError("bad-config", `staging: ${(cause as Error).message}`, { cause });
  }
}

function apiOf({ api, token, timeoutMs }: SqsQueueOptions): Queue | undefined {
  if (api === undefined) return undefined;
  return createHttpQueue({
    url: api,
    ...(token === undefined ? {} : { token }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
}
