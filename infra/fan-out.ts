// Fan-out: takes what hosts sent, in batches, and puts it to all replicas. What one of them refuses goes to its lane.

import type { Deployment } from "./deployment.ts";
import type { Variables } from "./environment.ts";
import { createFunction } from "./function.ts";
import { canConsume, canKeepNotes, canPut, canReadReplicas, canSend, within } from "./grants.ts";
import { fanOutTimeoutSeconds, type Queues, windowSeconds } from "./queue.ts";
import type { Storage } from "./storage.ts";

/** A batch ends with its window, or at 6 MB, which is what AWS hands to a function at most: never by its number. */
const batchSize = 1000;
const concurrencyDefault = 10;

export interface FanOutOptions {
  readonly storage: Storage;
  readonly queues: Queues;
  readonly variables: Variables;
  /** `{unique id: databases}` of whoever may send. */
  readonly senders: $util.Input<string>;
}

export function createFanOut(deployment: Deployment, options: FanOutOptions): sst.aws.Function {
  const { storage, queues, variables, senders } = options;
  const fanOut = createFunction(deployment, "FanOut", {
    handler: "fan-out",
    description: "pageferry: from the queue to the replicas",
    timeoutSeconds: fanOutTimeoutSeconds,
    memoryMiB: 512,
    variables: {
      ...variables,
      PAGEFERRY_SENDERS: senders,
    },
    grants: [
      ...canConsume([queues.ingest]),
      ...canSend([...queues.lanes.flatMap(({ queue, dead }) => [queue, dead]), queues.ingestDead]),
      ...canKeepNotes(storage),
      ...canReadReplicas(storage.replicas),
      ...canPut(within(storage.replicas, ["*"])),
    ],
  });
  queues.ingest.subscribe(
    fanOut.arn,
    {
      batch: { size: batchSize, window: `${windowSeconds} seconds`, partialResponses: true },
      transform: {
        eventSourceMapping: {
          scalingConfig: {
            maximumConcurrency: deployment.args.concurrency?.fanOut ?? concurrencyDefault,
          },
        },
      },
    },
    deployment.child,
  );
  return fanOut;
}
