// The buckets: one for staged bodies and for what the functions note down, and one for each replica that names none.

import { capital, type Deployment } from "./deployment.ts";
import { type Replica, replicaEntry, replicaLabel, type S3Replica } from "./replicas.ts";

/** A staged body that nobody has fetched for so long belongs to a message that is gone: dead letters live 14 days. */
const stagedDays = 21;
/** Parts of an upload that was given up. */
const abandonedUploadDays = 2;
/** How long prune can be undone unless told. */
const deletedVersionDays = 7;

/** A replica and where it is on AWS; `arn` is absent for one that is elsewhere. */
export interface ReplicaPlace {
  readonly key: string;
  readonly replica: Replica;
  readonly label: $util.Output<string>;
  /** For the functions' configuration. */
  readonly entry: $util.Input<object>;
  readonly bucketName?: $util.Output<string>;
  readonly bucketArn?: $util.Output<string>;
  /** The ARN that all keys of the replica begin with, up to a slash. */
  readonly rootArn?: $util.Output<string>;
}

export interface Storage {
  readonly stage: sst.aws.Bucket;
  readonly replicas: readonly ReplicaPlace[];
}

export function createStorage(deployment: Deployment): Storage {
  return {
    stage: createStageBucket(deployment),
    replicas: Object.entries(deployment.args.replicas).map(([key, replica]) =>
      placeOf(deployment, key, replica),
    ),
  };
}

function createStageBucket({ name, kept }: Deployment): sst.aws.Bucket {
  return new sst.aws.Bucket(
    `${name}Stage`,
    {
      cors: false,
      // What was staged is never replaced: its key is its digest, and a rooted host has no other way to harm it. The
      // requests that begin and fill a multipart upload carry no condition; the one that completes it does.
      policy: [
        {
          effect: "deny",
          principals: "*",
          actions: ["s3:PutObject"],
          paths: ["stage/*"],
          conditions: [
            { test: "Null", variable: "s3:if-none-match", values: ["true"] },
            { test: "Bool", variable: "s3:ObjectCreationOperation", values: ["true"] },
          ],
        },
      ],
      lifecycle: [{ id: "staged", prefix: "stage/", expiresIn: `${stagedDays} days` }],
      transform: {
        bucket: neverEmptied,
        lifecycle: (args) => {
          args.rules = $output(args.rules ?? []).apply((rules) => [...rules, abandonedUploads]);
        },
      },
    },
    kept,
  );
}

const abandonedUploads = {
  id: "abandoned-uploads",
  status: "Enabled",
  filter: { prefix: "" },
  abortIncompleteMultipartUpload: { daysAfterInitiation: abandonedUploadDays },
};

/** SST empties a bucket before it removes it. */
const neverEmptied = { forceDestroy: false };

function placeOf(deployment: Deployment, key: string, replica: Replica): ReplicaPlace {
  if (replica.type !== "s3" || replica.endpoint !== undefined) {
    return { key, replica, label: $output(replicaLabel(replica)), entry: replicaEntry(replica) };
  }
  const made = replica.bucket === undefined ? createReplicaBucket(deployment, key, replica) : undefined;
  const { partition } = aws.getPartitionOutput({}, deployment.child);
  const bucketName = made?.name ?? $output(replica.bucket ?? "");
  const bucketArn = made?.arn ?? $interpolate`arn:${partition}:s3:::${bucketName}`;
  return {
    ...{ key, replica, bucketName, bucketArn },
    label: bucketName.apply((bucket) => replicaLabel(replica, bucket)),
    entry: bucketName.apply((bucket): object => replicaEntry(replica, bucket)),
    rootArn: replica.prefix ? $interpolate`${bucketArn}/${replica.prefix}/` : $interpolate`${bucketArn}/`,
  };
}

function createReplicaBucket({ name, kept }: Deployment, key: string, replica: S3Replica): sst.aws.Bucket {
  const locked = replica.objectLock !== undefined;
  const bucket = new sst.aws.Bucket(
    `${name}${capital(key)}Replica`,
    {
      cors: false,
      versioning: true,
      // Rules come from the transform; SST makes a configuration only if there is one.
      lifecycle: [{ id: "deleted-versions" }],
      transform: {
        bucket: { ...neverEmptied, objectLockEnabled: locked },
        lifecycle: { rules: [abandonedUploads, deletedVersions(replica)] },
      },
    },
    kept,
  );
  if (replica.objectLock !== undefined) {
    const { mode, days } = replica.objectLock;
    new aws.s3.BucketObjectLockConfiguration(
      `${name}${capital(key)}ReplicaLock`,
      { bucket: bucket.name, rule: { defaultRetention: { mode, days } } },
      kept,
    );
  }
  return bucket;
}

/** What prune deleted is an older version for a while, and then gone; so is the marker that said so. */
function deletedVersions(replica: S3Replica) {
  return {
    id: "deleted-versions",
    status: "Enabled",
    filter: { prefix: "" },
    noncurrentVersionExpiration: { noncurrentDays: replica.deletedVersionDays ?? deletedVersionDays },
    expiration: { expiredObjectDeleteMarker: true },
  };
}
