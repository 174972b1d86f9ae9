// Queues of SQS as the API looks at them: how much waits in one, and taking from dead letters, which goes on only once it is safe elsewhere.

import {
  ChangeMessageVisibilityCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { PageferryError } from "@pageferry/format";
import type { CallOptions } from "../../store.ts";
import type { OutgoingMessage } from "./sqs.ts";

/** SQS gives no more at a time. */
const takenMax = 10;

/** A queue is many machines, and a look that does not wait asks only some of them. */
const waitSeconds = 1;

/** A message that was taken, with who sent it as AWS names them. */
export interface Letter extends OutgoingMessage {
  readonly senderId: string;
  /** When it came into this queue; one that SQS itself moved keeps the time of the queue before. */
  readonly sentAtMs: number;
  readonly receiptHandle: string;
}

/** How much waits, about: SQS says no more. */
export interface QueueDepth {
  /** Nobody has taken it yet. */
  readonly visible: number;
  /** Taken and not done, or to come later. */
  readonly hidden: number;
}

/** Errors of all: `unavailable`, `unauthorized`. */
export interface Letters {
  /** Some messages, which nobody else is given for so long; none where there are none. */
  take(url: string, hiddenSeconds: number, call?: CallOptions): Promise<readonly Letter[]>;
  remove(url: string, letter: Pick<Letter, "receiptHandle">): Promise<void>;
  /** Gives a message back that was taken. */
  release(url: string, letter: Pick<Letter, "receiptHandle">): Promise<void>;
  depth(url: string, call?: CallOptions): Promise<QueueDepth>;
}

export interface LettersOptions {
  /** Default the SDK's: AWS, or `AWS_ENDPOINT_URL`. */
  readonly client?: SQSClient;
}

export function openLetters({ client = new SQSClient({ maxAttempts: 3 }) }: LettersOptions = {}): Letters {
  return {
    take: (QueueUrl, hiddenSeconds, { signal } = {}) =>
      asked(QueueUrl, async () => {
        const command = new ReceiveMessageCommand({
          ...{ QueueUrl, MaxNumberOfMessages: takenMax, WaitTimeSeconds: waitSeconds },
          ...{ VisibilityTimeout: hiddenSeconds, MessageAttributeNames: ["All"] },
          MessageSystemAttributeNames: ["SenderId", "SentTimestamp"],
        });
        const { Messages = [] } = await client.send(command, signal && { abortSignal: signal });
        return Messages.map(({ Body = "", MessageAttributes = {}, Attributes, ReceiptHandle = "" }) => ({
          ...{ body: Body, receiptHandle: ReceiptHandle, senderId: Attributes?.SenderId ?? "" },
          sentAtMs: Number(Attributes?.SentTimestamp ?? 0),
          attributes: Object.fromEntries(
            Object.entries(MessageAttributes).map(([name, { StringValue = "" }]) => [name, StringValue]),
          ),
        }));
      }),
    remove: (QueueUrl, { receiptHandle: ReceiptHandle }) =>
      asked(QueueUrl, async () => {
        await client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle }));
      }),
    release: (QueueUrl, { receiptHandle: ReceiptHandle }) =>
      asked(QueueUrl, async () => {
        const input = { QueueUrl, ReceiptHandle, VisibilityTimeout: 0 };
        await client.send(new ChangeMessageVisibilityCommand(input));
      }),
    depth: (QueueUrl, { signal } = {}) =>
      asked(QueueUrl, async () => {
        const command = new GetQueueAttributesCommand({
          QueueUrl,
          AttributeNames: [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
          ],
        });
        const { Attributes = {} } = await client.send(command, signal && { abortSignal: signal });
        const {
          ApproximateNumberOfMessages: visible = 0,
          ApproximateNumberOfMessagesNotVisible: taken = 0,
          ApproximateNumberOfMessagesDelayed: delayed = 0,
        } = Attributes;
        return { visible: Number(visible), hidden: Number(taken) + Number(delayed) };
      }),
  };
}

async function asked<Output>(url: string, ask: () => Promise<Output>): Promise<Output> {
  try {
    return await ask();
  } catch (cause) {
    const name = cause instanceof Error ? cause.name : "unknown";
    const code = /AccessDenied|InvalidClientTokenId|SignatureDoesNotMatch/.test(name)
      ? "unauthorized"
      : "unavailable";
    throw new PageferryError(code, `queue ${url.slice(url.lastIndexOf("/") + 1)}: ${name}`, { cause });
  }
}
