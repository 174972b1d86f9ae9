// A lane per replica: what the replica could not take, and what is too large for fan-out. A replica that is away fills its own
// lane and delays no other.

import { capital, type Deployment } from "./deployment.ts";
import type { Variables } from "./environment.ts";
import { createFunction, type Functions } from "./function.ts";
import { canConsume, canKeepNotes, canPut, canReadReplicas, canSend, within } from "./grants.ts";
import { type Lane, laneTimeoutSeconds, type Queues } from "./queue.ts";
import type { Storage } from "./storage.ts";

/** Few at a time: each may be a large copy, and what fails goes back alone. */
const batchSize = 10;
const concurrencyDefault = 2;

export interface LanesOptions {
  readonly storage: Storage;
  readonly queues: Queues;
  readonly variables: Variables;
}

export function createLanes(deployment: Deployment, options: LanesOptions): Functions {
  return Object.fromEntries(
    options.queues.lanes.map((lane) => [`${lane.place.key}Lane`, createLane(deployment, lane, options)]),
  );
}

function createLane(deployment: Deployment, lane: Lane, options: LanesOptions): sst.aws.Function {
  const { storage, variables } = options;
  const { place, queue, dead } = lane;
  const consumer = createFunction(deployment, `${capital(place.key)}LaneConsumer`, {
    handler: "lane",
    description: `pageferry: what the replica ${place.key} has yet to take`,
    timeoutSeconds: laneTimeoutSeconds,
    memoryMiB: 1024,
    variables,
    grants: [
      ...canConsume([queue]),
      // A large copy goes on in another message of the same lane.
      ...canSend([queue, dead]),
      ...canKeepNotes(storage),
      ...canReadReplicas([place]),
      ...canPut(within([place], ["*"])),
    ],
  });
  queue.subscribe(
    consumer.arn,
    {
      batch: { size: batchSize, partialResponses: true },
      transform: {
        eventSourceMapping: {
          scalingConfig: { maximumConcurrency: deployment.args.concurrency?.lane ?? concurrencyDefault },
        },
      },
    },
    deployment.child,
  );
  return consumer;
}
