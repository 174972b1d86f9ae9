// What becomes of a batch of records: lanes and dead letters are filled first, and only what is in them is done here. Whatever could
// not be sent, or is to be tried again, is reported to the queue, which gives it out later; nothing stops its neighbours.

import type { SQSBatchResponse, SQSRecord } from "aws-lambda";
import type { OutgoingMessage, Queues } from "./sqs.ts";

/** A message that goes on: into which queue, from which record. */
export interface Sending {
  readonly record: SQSRecord;
  /** `undefined`: there is no such queue, and the record comes again. */
  readonly url: string | undefined;
  readonly message: OutgoingMessage;
}

/** A replica that is away for days is asked every few minutes; the queue counts at most a thousand turns. */
const longestSeconds = 15 * 60;

/** Sends what goes on. Returns the records of which something could not be sent, each with why. */
export async function sendAll(
  sendings: readonly Sending[],
  queues: Pick<Queues, "send">,
): Promise<ReadonlyMap<SQSRecord, unknown>> {
  const failed = new Map<SQSRecord, unknown>();
  for (const [url, group] of Map.groupBy(sendings, (sending) => sending.url)) {
    const results =
      url === undefined
        ? group.map(() => new Error("this deployment has no such queue"))
        : await queues.send(
            url,
            group.map(({ message }) => message),
          );
    for (const [at, { record }] of group.entries()) {
      if (results[at] !== undefined) failed.set(record, results[at]);
    }
  }
  return failed;
}

/** How long a record is left alone after it failed: doubling from two seconds, spread by a random number below 1. */
export function waitSeconds(record: SQSRecord, random: number): number {
  const count = Number(record.attributes.ApproximateReceiveCount) || 1;
  return Math.min(longestSeconds, 2 ** Math.min(count, 16)) * (0.5 + random / 2);
}

/** The answer to the queue; what comes again comes after its wait. */
export async function answer(
  again: Iterable<SQSRecord>,
  {
    queues,
    url,
    random,
  }: { readonly queues: Queues; readonly url: string | undefined; readonly random: () => number },
): Promise<SQSBatchResponse> {
  const records = [...new Set(again)];
  const receipts = records.map((record) => ({
    receiptHandle: record.receiptHandle,
    seconds: waitSeconds(record, random()),
  }));
  if (url !== undefined && receipts.length > 0) await queues.delay(url, receipts);
  return { batchItemFailures: records.map(({ messageId }) => ({ itemIdentifier: messageId })) };
}
