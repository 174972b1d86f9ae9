// Rights, each of it for named resources. Nobody is given a service's whole (`s3:*`, which SST's links do), and nobody but prune
// may delete: its deletions make versions, which it cannot delete either.

import type { ReplicaPlace, Storage } from "./storage.ts";

export interface Grant {
  actions: string[];
  resources: $util.Input<string>[];
}

/** Without `ListBucket` S3 calls an object that is not there forbidden, and nobody could tell the two apart. */
function canList(bucketArns: readonly $util.Input<string>[]): readonly Grant[] {
  return one(["s3:ListBucket"], bucketArns);
}

function canGet(arns: readonly $util.Input<string>[]): readonly Grant[] {
  return one(["s3:GetObject"], arns);
}

/** To store an object, also in parts, and to leave no parts behind. */
export function canPut(arns: readonly $util.Input<string>[]): readonly Grant[] {
  return one(["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"], arns);
}

export function canDelete(arns: readonly $util.Input<string>[]): readonly Grant[] {
  return one(["s3:DeleteObject"], arns);
}

export function canSend(queues: readonly sst.aws.Queue[]): readonly Grant[] {
  return one(["sqs:SendMessage"], queues.map(arnOf));
}

/** To receive, to put back, and to be done with a message. */
export function canConsume(queues: readonly sst.aws.Queue[]): readonly Grant[] {
  return one(
    ["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
    queues.map(arnOf),
  );
}

/** To see how much is in a queue, and how old it is. */
export function canCount(queues: readonly sst.aws.Queue[]): readonly Grant[] {
  return one(["sqs:GetQueueAttributes"], queues.map(arnOf));
}

/** To list and read all replicas that are on AWS. */
export function canReadReplicas(replicas: readonly ReplicaPlace[]): readonly Grant[] {
  return [...canList(replicas.flatMap((place) => place.bucketArn ?? [])), ...canGet(within(replicas, ["*"]))];
}

/** What every function has: to read staged bodies, and to keep its notes under `state/`. */
export function canKeepNotes({ stage }: Storage): readonly Grant[] {
  return [
    ...canList([stage.arn]),
    ...canGet([$interpolate`${stage.arn}/stage/*`, $interpolate`${stage.arn}/state/*`]),
    ...canPut([$interpolate`${stage.arn}/state/*`]),
  ];
}

/** ARNs of keys in the replicas that are on AWS: `*` is all of them, `leases/*` those of every database. */
export function within(replicas: readonly ReplicaPlace[], keys: readonly string[]): $util.Output<string>[] {
  return replicas.flatMap(({ rootArn }) =>
    rootArn === undefined
      ? []
      : keys.map((key) => (key === "*" ? $interpolate`${rootArn}*` : $interpolate`${rootArn}*/${key}`)),
  );
}

/** A policy without a resource is refused, and one for `*` is what nobody gets. */
function one(actions: string[], resources: readonly $util.Input<string>[]): readonly Grant[] {
  return resources.length === 0 ? [] : [{ actions, resources: [...resources] }];
}

function arnOf(queue: sst.aws.Queue): $util.Output<string> {
  return queue.arn;
}
