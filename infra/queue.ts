// The queues: one that hosts send to, one lane for each replica, and the dead letters of each. All are kept with their stage:
// what was acknowledged is in them.

import { capital, type Deployment } from "./deployment.ts";
import type { ReplicaPlace } from "./storage.ts";

const daySeconds = 24 * 3600;

/** How long a host may rely on what was acknowledged; an alarm comes at half of it. */
export const ingestRetentionSeconds: number = 4 * daySeconds;
/** As long as SQS keeps anything: a lane holds what a replica that is away has yet to take. */
export const laneRetentionSeconds: number = 14 * daySeconds;
const deadLetterRetentionSeconds = 14 * daySeconds;

/** One envelope of 700 KiB in base64. Unless told, the provider asks for 256 KiB. */
const messageBytesMax = 1024 * 1024;

/** How long fan-out waits for more to put into one object. */
export const windowSeconds: number = 20;
export const fanOutTimeoutSeconds: number = 60;
/** A copy that takes longer notes how far it came, and goes on in another message. */
export const laneTimeoutSeconds: number = 5 * 60;

/**
 * Two hours, whether the function answers that it could not (and waits longer each time) or dies each time. AWS asks for at least 5, so
 * that throttling alone makes no dead letters. What a replica refuses goes to its lane.
 */
const ingestReceives = 20;
/**
 * Four to five days of a replica that is away; twelve of a function that dies each time. A dead letter ends 14 days after it was sent, not
 * after it died.
 */
const laneReceives = 560;

export interface Queues {
  readonly ingest: sst.aws.Queue;
  readonly ingestDead: sst.aws.Queue;
  readonly lanes: readonly Lane[];
}

/** Every queue, dead letters and all. */
export function allQueues({ ingest, ingestDead, lanes }: Queues): readonly sst.aws.Queue[] {
  return [ingest, ingestDead, ...lanes.flatMap(({ queue, dead }) => [queue, dead])];
}

export interface Lane {
  readonly place: ReplicaPlace;
  readonly queue: sst.aws.Queue;
  readonly dead: sst.aws.Queue;
}

export function createQueues(deployment: Deployment, replicas: readonly ReplicaPlace[]): Queues {
  const { name } = deployment;
  const ingest = createPair(deployment, {
    ...{ name: `${name}Ingest`, retentionSeconds: ingestRetentionSeconds, receives: ingestReceives },
    visibilitySeconds: visibilityOf(fanOutTimeoutSeconds, windowSeconds),
  });
  return {
    ingest: ingest.queue,
    ingestDead: ingest.dead,
    lanes: replicas.map((place) => ({
      place,
      ...createPair(deployment, {
        ...{ name: `${name}${capital(place.key)}Lane`, retentionSeconds: laneRetentionSeconds },
        receives: laneReceives,
        visibilitySeconds: visibilityOf(laneTimeoutSeconds, 0),
      }),
    })),
  };
}

/** AWS asks for six times the function's timeout, and the window: its retries when throttled are within. */
function visibilityOf(timeoutSeconds: number, batchWindowSeconds: number): number {
  return 6 * timeoutSeconds + batchWindowSeconds;
}

interface PairOptions {
  readonly name: string;
  readonly retentionSeconds: number;
  readonly receives: number;
  readonly visibilitySeconds: number;
}

function createPair({ kept }: Deployment, options: PairOptions): Omit<Lane, "place"> {
  const common = { maxMessageSize: messageBytesMax, sqsManagedSseEnabled: true };
  const dead = new sst.aws.Queue(
    `${options.name}Dead`,
    { transform: { queue: { ...common, messageRetentionSeconds: deadLetterRetentionSeconds } } },
    kept,
  );
  const queue = new sst.aws.Queue(
    options.name,
    {
      visibilityTimeout: `${options.visibilitySeconds} seconds`,
      dlq: { queue: dead.arn, retry: options.receives },
      transform: { queue: { ...common, messageRetentionSeconds: options.retentionSeconds } },
    },
    kept,
  );
  return { queue, dead };
}
