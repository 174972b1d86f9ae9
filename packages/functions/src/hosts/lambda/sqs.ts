// Queues of SQS as functions use them: messages into them, as many in a request as fit, and how soon one that was taken comes
// again. The only importer of the SQS client.

import {
  ChangeMessageVisibilityBatchCommand,
  type MessageAttributeValue,
  SendMessageBatchCommand,
  type SendMessageBatchRequestEntry,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { PageferryError } from "@pageferry/format";

/** SQS takes no more in one request. */
const entriesMax = 10;
const requestBytesMax = 1024 * 1024;

/** SQS keeps a message invisible for at most 12 hours from when it was taken; a function's lanes need less. */
const visibilitySecondsMax = 6 * 60 * 60;

/** A message on its way into a queue. */
export interface OutgoingMessage {
  readonly body: string;
  readonly attributes: Readonly<Record<string, string>>;
}

export interface Queues {
  /** Sends messages; what comes of each, in order: nothing, or why it is not in the queue. Never throws. */
  send(url: string, messages: readonly OutgoingMessage[]): Promise<readonly (PageferryError | undefined)[]>;
  /** How soon messages that were taken may be taken again. What cannot be set stays as the queue has it. */
  delay(url: string, messages: readonly TakenReceipt[]): Promise<void>;
}

export interface TakenReceipt {
  readonly receiptHandle: string;
  readonly seconds: number;
}

export interface QueuesOptions {
  /** Default the SDK's: AWS, or `AWS_ENDPOINT_URL`. */
  readonly client?: SQSClient;
}

export function openQueues({ client = new SQSClient({ maxAttempts: 3 }) }: QueuesOptions = {}): Queues {
  return {
    async send(url, messages) {
      const results: (PageferryError | undefined)[] = [];
      for (const batch of batchesOf(messages)) {
        const failed = await sendBatch(client, url, batch);
        results.push(...batch.map((_, at) => failed.get(String(at))));
      }
      return results;
    },
    async delay(url, receipts) {
      for (let at = 0; at < receipts.length; at += entriesMax) {
        const Entries = receipts.slice(at, at + entriesMax).map(({ receiptHandle, seconds }, id) => ({
          ...{ Id: String(id), ReceiptHandle: receiptHandle },
          VisibilityTimeout: Math.min(visibilitySecondsMax, Math.max(0, Math.round(seconds))),
        }));
        const change = new ChangeMessageVisibilityBatchCommand({ QueueUrl: url, Entries });
        await client.send(change).catch(() => undefined);
      }
    },
  };
}

/** What SQS counts of a message: its body, and its attributes with their names and types. */
export function messageBytes({ body, attributes }: OutgoingMessage): number {
  return Object.entries(attributes).reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value) + "String".length,
    Buffer.byteLength(body),
  );
}

/** Cuts messages into requests, in order. One that is too large for any request is alone in its own, and refused there. */
export function batchesOf(messages: readonly OutgoingMessage[]): OutgoingMessage[][] {
  const batches: OutgoingMessage[][] = [];
  let bytes = 0;
  for (const message of messages) {
    const batch = batches.at(-1);
    const size = messageBytes(message);
    const isFull = batch === undefined || batch.length >= entriesMax || bytes + size > requestBytesMax;
    if (isFull) batches.push([message]);
    else batch.push(message);
    bytes = isFull ? size : bytes + size;
  }
  return batches;
}

async function sendBatch(
  client: SQSClient,
  url: string,
  batch: readonly OutgoingMessage[],
): Promise<ReadonlyMap<string, PageferryError>> {
  const Entries = batch.map(({ body, attributes }, at): SendMessageBatchRequestEntry => {
    return { Id: String(at), MessageBody: body, MessageAttributes: attributesOf(attributes) };
  });
  const where = `queue ${url.slice(url.lastIndexOf("/") + 1)}`;
  try {
    const { Failed = [] } = await client.send(new SendMessageBatchCommand({ QueueUrl: url, Entries }));
    return new Map(
      Failed.map(({ Id = "", Code = "unknown", Message = "" }) => [
        Id,
        new PageferryError("unavailable", `${where}: ${Code}: ${Message}`.slice(0, 500)),
      ]),
    );
  } catch (cause) {
    const name = cause instanceof Error ? cause.name : "unknown";
    const error = new PageferryError("unavailable", `${where}: does not take messages: ${name}`, { cause });
    return new Map(batch.map((_, at) => [String(at), error]));
  }
}

function attributesOf(attributes: OutgoingMessage["attributes"]): Record<string, MessageAttributeValue> {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [name, { DataType: "String", StringValue: value }]),
  );
}
