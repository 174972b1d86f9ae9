// A deployment on a local AWS: queues with their dead letters, a bucket for staged bodies, two replicas on two S3 servers, the
// bundled functions in AWS's own client, and what AWS does between a queue and a function.

import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { HeadObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import {
  CreateQueueCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { parseConfig, replicaLabel } from "@pageferry/format";
import { openStore } from "@pageferry/functions";
import { type Invoked, type LambdaFunction, startLambda } from "../servers/lambda-runtime.ts";
import { startMinistack } from "../servers/ministack.ts";
import { startS3 } from "../servers/s3.ts";
import { temporaryDirectory } from "../temporary.ts";

const repository = new URL("../..", import.meta.url).pathname;

export type QueueName = "ingest" | "lane-0" | "lane-1" | "dead-ingest" | "dead-0" | "dead-1";

const queueNames: readonly QueueName[] = ["ingest", "lane-0", "lane-1", "dead-ingest", "dead-0", "dead-1"];

export interface Letter {
  readonly body: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** A record as a function is given it. */
export interface TestRecord {
  readonly messageId: string;
  readonly receiptHandle: string;
  readonly body: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly messageAttributes: Readonly<Record<string, { dataType: string; stringValue: string }>>;
  readonly eventSourceARN: string;
}

export interface SendOptions {
  readonly attributes?: Readonly<Record<string, string>>;
}

export interface World extends AsyncDisposable {
  /** Bytes at a start and in all, of each bundle. */
  readonly sizes: Readonly<Record<string, { readonly start: number; readonly total: number }>>;
  readonly fanOut: LambdaFunction;
  readonly lane: LambdaFunction;
  send(queue: QueueName, body: Uint8Array | string, options?: SendOptions): Promise<void>;
  /** Takes a batch, and gives it to the function that the queue triggers; what it does not name as failed is deleted. */
  pump(queue: QueueName, most?: number): Promise<{ taken: number; failed: number; result?: Invoked }>;
  /** Until nothing is visible any more. */
  drain(queue: QueueName): Promise<void>;
  receive(queue: QueueName, most?: number): Promise<TestRecord[]>;
  remove(queue: QueueName, record: TestRecord): Promise<unknown>;
  /** Takes all that is visible. */
  letters(queue: QueueName): Promise<Letter[]>;
  /** Visible or not. */
  depth(queue: QueueName): Promise<number>;
  stage(database: string, digest: string, body: Uint8Array): Promise<void>;
  /** Names of all objects of a replica. */
  objects(replica: 0 | 1): Promise<string[]>;
  read(replica: 0 | 1, name: string): Promise<Buffer>;
  readonly labels: readonly [string, string];
  /** The server of replica 0, which may be killed and come back. */
  readonly server: Awaited<ReturnType<typeof startS3>>;
  /** A function with other variables than the world's. */
  variant(
    name: "fan-out" | "lane" | "api" | "compact" | "prune" | "verify" | "repair",
    env: Readonly<Record<string, string>>,
    timeoutMs?: number,
  ): Promise<LambdaFunction>;
  readonly env: Readonly<Record<string, string>>;
}

export interface WorldOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Keys of `PAGEFERRY_CONFIG`. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly visibilitySeconds?: number;
  readonly timeoutMs?: number;
}

const keys = { accessKeyId: "test", secretAccessKey: "test" };

export async function startWorld(options: WorldOptions = {}): Promise<World> {
  await using undo = new AsyncDisposableStack();
  const directory = undo.use(await temporaryDirectory());
  const build = join(repository, "packages/functions/build/lambda.mjs");
  await promisify(execFile)(process.execPath, [build, directory.path], { cwd: repository });
  const { default: sizes } = await import(directory.file("sizes.json"), { with: { type: "json" } });
  const aws = undo.use(await startMinistack());
  const server = undo.use(await startS3());
  const endpoint = aws.endpoint;
  const sqs = new SQSClient({ endpoint, region: "us-east-1", credentials: keys });
  undo.defer(() => sqs.destroy());
  const urls = await makeQueues(sqs, options.visibilitySeconds ?? 30);
  const stageBucket = await aws.makeBucket();
  const entries = [
    { type: "s3", ...server.entry(await server.makeBucket()), region: "us-east-1" },
    { type: "s3", ...aws.entry(await aws.makeBucket()), region: "us-east-1" },
  ] as const;
  const { replicas } = parseConfig({ replicas: entries });
  const labels = replicas.map(replicaLabel) as unknown as [string, string];
  const env: Record<string, string> = {
    PAGEFERRY_CONFIG: JSON.stringify({ replicas: entries, ...options.config }),
    PAGEFERRY_DEPLOY_STAGE: "test",
    PAGEFERRY_STAGE_BUCKET: stageBucket,
    PAGEFERRY_QUEUE_URL: urls.ingest,
    PAGEFERRY_LANES: JSON.stringify({ [labels[0]]: urls["lane-0"], [labels[1]]: urls["lane-1"] }),
    PAGEFERRY_DEAD_LETTERS: JSON.stringify({
      ...{ ingest: urls["dead-ingest"], [labels[0]]: urls["dead-0"], [labels[1]]: urls["dead-1"] },
    }),
    AWS_ENDPOINT_URL: endpoint,
    AWS_ACCESS_KEY_ID: "test",
    AWS_SECRET_ACCESS_KEY: "test",
    ...options.env,
  };
  const variant = async (name: string, more: Readonly<Record<string, string>>, timeoutMs?: number) =>
    startLambda({
      bundle: directory.file(name),
      env: { ...env, ...more },
      timeoutMs: timeoutMs ?? options.timeoutMs ?? 30_000,
    });
  const fanOut = undo.use(await variant("fan-out", {}));
  // A copy pauses a minute before the end.
  const lane = undo.use(await variant("lane", {}, 300_000));
  const stores = await Promise.all(replicas.map(async (entry) => undo.use(await openStore(entry))));
  const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials: keys });
  undo.defer(() => client.destroy());
  const receive: World["receive"] = async (queue, most = 10) => {
    const { Messages = [] } = await sqs.send(
      new ReceiveMessageCommand({
        ...{ QueueUrl: urls[queue], MaxNumberOfMessages: most, WaitTimeSeconds: 0 },
        ...{ MessageSystemAttributeNames: ["All"], MessageAttributeNames: ["All"] },
      }),
    );
    return Messages.map((message) => recordOf(message, urls[queue]));
  };
  const remove = (queue: QueueName, { receiptHandle }: TestRecord) =>
    sqs.send(new DeleteMessageCommand({ QueueUrl: urls[queue], ReceiptHandle: receiptHandle }));
  const pump: World["pump"] = async (queue, most) => {
    const Records = await receive(queue, most);
    if (Records.length === 0) return { taken: 0, failed: 0 };
    const result = await (queue === "ingest" ? fanOut : lane).invoke({ Records });
    const failed = result.ok ? failedOf(result.value) : new Set(Records.map(({ messageId }) => messageId));
    for (const record of Records) if (!failed.has(record.messageId)) await remove(queue, record);
    return { taken: Records.length, failed: failed.size, result };
  };
  const parts = undo.move();
  return {
    ...{ sizes, fanOut, lane, pump, receive, remove, labels, server, env, variant },
    async send(queue, body, { attributes = {} } = {}) {
      const MessageAttributes = Object.fromEntries(
        Object.entries(attributes).map(([name, value]) => [name, { DataType: "String", StringValue: value }]),
      );
      const MessageBody = typeof body === "string" ? body : Buffer.from(body).toString("base64");
      await sqs.send(new SendMessageCommand({ QueueUrl: urls[queue], MessageBody, MessageAttributes }));
    },
    async drain(queue) {
      while ((await pump(queue)).taken > 0);
    },
    async letters(queue) {
      const found: Letter[] = [];
      for (let some = await receive(queue); some.length > 0; some = await receive(queue)) {
        for (const record of some) {
          await remove(queue, record);
          const attributes = Object.entries(record.messageAttributes);
          found.push({
            body: record.body,
            attributes: Object.fromEntries(attributes.map(([name, value]) => [name, value.stringValue])),
          });
        }
      }
      return found;
    },
    async depth(queue) {
      const { Attributes = {} } = await sqs.send(
        new GetQueueAttributesCommand({ QueueUrl: urls[queue], AttributeNames: ["All"] }),
      );
      const { ApproximateNumberOfMessages: visible, ApproximateNumberOfMessagesNotVisible: taken } =
        Attributes;
      return Number(visible) + Number(taken);
    },
    async stage(database, digest, body) {
      const Key = `stage/${database}/${digest}`;
      await client.send(new PutObjectCommand({ Bucket: stageBucket, Key, Body: body }));
      await client.send(new HeadObjectCommand({ Bucket: stageBucket, Key }));
    },
    async objects(replica) {
      const names = await Array.fromAsync((stores[replica] as (typeof stores)[number]).list(""));
      return names.map(({ name }) => name);
    },
    async read(replica, name) {
      const stream = await (stores[replica] as (typeof stores)[number]).get(name);
      return Buffer.concat(await Array.fromAsync(stream));
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

async function makeQueues(sqs: SQSClient, visibilitySeconds: number): Promise<Record<QueueName, string>> {
  const urls: Partial<Record<QueueName, string>> = {};
  for (const name of queueNames) {
    const { QueueUrl } = await sqs.send(
      new CreateQueueCommand({
        QueueName: name,
        Attributes: { VisibilityTimeout: String(visibilitySeconds) },
      }),
    );
    urls[name] = QueueUrl ?? "";
  }
  return urls as Record<QueueName, string>;
}

function recordOf(message: Message, url: string): TestRecord {
  const attributes = Object.entries(message.MessageAttributes ?? {}).map(
    ([name, { StringValue = "" }]) => [name, { dataType: "String", stringValue: StringValue }] as const,
  );
  return {
    messageId: message.MessageId ?? "",
    receiptHandle: message.ReceiptHandle ?? "",
    body: message.Body ?? "",
    attributes: message.Attributes ?? {},
    messageAttributes: Object.fromEntries(attributes),
    eventSourceARN: `arn:aws:sqs:us-east-1:000000000000:${url.slice(url.lastIndexOf("/") + 1)}`,
  };
}

/** Ids that an answer names as failed. */
export function failedOf(value: unknown): Set<string> {
  const { batchItemFailures } = value as { batchItemFailures: { itemIdentifier: string }[] };
  return new Set(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
}
