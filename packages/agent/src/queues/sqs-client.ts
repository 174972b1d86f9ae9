// One request to SQS: a batch of messages, and what came of each. The only importer of its client, which is loaded when it is used.
import type { SQSClient } from "@aws-sdk/client-sqs";
import { PageferryError, type SqsAddress } from "@pageferry/format";
import { fromAws, isClockCorrected } from "./aws-errors.ts";
import { notInstalled, silentClient } from "./aws-installed.ts";
import { slowestBytesPerMs } from "./limit.ts";
import { type BatchAnswer, type Outcome, outcomesOf } from "./sqs-batch.ts";

/** How to speak to a queue. */
export interface SqsClientOptions {
  readonly address: SqsAddress;
  /** What errors begin with. */
  readonly name: string;
  /** The deploy stage that messages carry as an attribute. */
  readonly stage: string | undefined;
  /** How long an answer may take, beside what a line of 2 KiB a second needs for the messages, ms. */
  readonly timeoutMs: number;
}

/** Makes a function that sends bodies as one batch. Throws where nothing is known of any of them. */
export function createSqsRequest(options: SqsClientOptions) {
  let loading: Promise<Loaded> | undefined;

  async function load(): Promise<Loaded> {
    loading ??= openSqs(options);
    const opening = loading;
    // What was not there may be installed meanwhile.
    opening.catch(() => {
      if (loading === opening) loading = undefined;
    });
    return opening;
  }

  return async (bodies: readonly string[], signal: AbortSignal): Promise<readonly Outcome[]> => {
    const { sendBatch } = await load();
    const bytes = bodies.reduce((sum, body) => sum + body.length, 0);
    const limitMs = Math.ceil(options.timeoutMs + bytes / slowestBytesPerMs);
    const limit = AbortSignal.timeout(limitMs);
    const either = AbortSignal.any([signal, limit]);
    try {
      let answer: BatchAnswer;
      try {
        answer = await sendBatch(bodies, either);
      } catch (error) {
        if (!isClockCorrected(error)) throw error;
        answer = await sendBatch(bodies, either);
      }
      return outcomesOf(bodies, answer, options.name);
    } catch (cause) {
      signal.throwIfAborted();
      if (!limit.aborted) throw fromAws(cause, options.name);
      throw new PageferryError(
        "unavailable",
        `${options.name}: no answer in ${Math.ceil(limitMs / 1000)} s`,
        {
          cause,
        },
      );
    }
  };
}

interface Loaded {
  sendBatch(bodies: readonly string[], signal: AbortSignal): Promise<BatchAnswer>;
}

async function openSqs({ address, stage, timeoutMs }: SqsClientOptions): Promise<Loaded> {
  const sdk = await import("@aws-sdk/client-sqs").catch((cause: unknown) => {
    throw notInstalled("@aws-sdk/client-sqs", cause);
  });
  const { endpoint, region, queueUrl } = address;
  const client: SQSClient = new sdk.SQSClient({
    region,
    ...(endpoint === undefined ? {} : { endpoint }),
    // Who sends tries again, where somebody sees it; each message is checked by itself.
    maxAttempts: 1,
    logger: silentClient,
    md5: false,
    requestHandler: { connectionTimeout: timeoutMs },
  });
  const attributes =
    stage === undefined
      ? {}
      : { MessageAttributes: { [stageAttribute]: { DataType: "String", StringValue: stage } } };
  return {
    async sendBatch(bodies, signal) {
      const entries = bodies.map((body, at) => ({ Id: String(at), MessageBody: body, ...attributes }));
      const { Successful = [], Failed = [] } = await client.send(
        new sdk.SendMessageBatchCommand({ QueueUrl: queueUrl, Entries: entries }),
        { abortSignal: signal },
      );
      return {
        taken: Successful.map(({ Id = "", MD5OfMessageBody }) => ({ id: Id, md5: MD5OfMessageBody })),
        failed: Failed.map(({ Id = "", Code = "", Message = "", SenderFault = false }) => ({
          ...{ id: Id, code: Code, message: Message, isOurFault: SenderFault },
        })),
      };
    },
  };
}

const stageAttribute = "stage";

/** What the attributes of a message count for in its size: names, types and values. */
export function attributeBytesOf(stage: string | undefined): number {
  return stage === undefined ? 0 : stageAttribute.length + "String".length + Buffer.byteLength(stage);
}
