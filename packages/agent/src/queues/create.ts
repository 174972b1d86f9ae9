// The queue that a configuration names: a host over HTTP, or one at SQS.
import { PageferryError, parseQueueUrl, type QueueConfig } from "@pageferry/format";
import type { Queue } from "../queue.ts";
import { createHttpQueue } from "./http.ts";
import { createSqsQueue } from "./sqs.ts";

/** `queue` of a configuration, and what is known beside it. */
export interface CreateQueueOptions extends QueueConfig {
  /** How long a message waits for those of other databases to share its request, ms; for SQS. Default 100. */
  readonly gatherMs?: number;
  /** How long an answer may take, ms. Default 30 s. */
  readonly timeoutMs?: number;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/** Makes the queue for `url`. Throws `bad-config` for one it cannot use. */
export function createQueue(options: CreateQueueOptions): Queue {
  const { url, staging } = options;
  if (parseQueueUrl(url) === undefined) return createHttpQueue(options);
  if (staging !== undefined) return createSqsQueue({ ...options, staging });
  throw new PageferryError("bad-config", "an SQS queue needs `staging`, a bucket for what no message holds", {
    hint: "Add `staging: s3://BUCKET` to `queue`.",
  });
}
