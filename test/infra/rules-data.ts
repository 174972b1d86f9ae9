// Rules for what holds data: queues, dead letters and buckets. Each takes a graph of this repository's own deployment and throws.

import assert from "node:assert/strict";
import { allOf, type Graph, type Inputs, oneOf, statementsOf } from "./graph.ts";

const daySeconds = 86_400;
const lanes = ["BackupMainLane", "BackupVaultLane"];
const queues = ["BackupIngest", ...lanes];
const replicas = ["BackupMainReplica", "BackupVaultReplica"];
const buckets = ["BackupStage", ...replicas];

export const dataRules = {
  "the queue keeps 4 days, lanes and dead letters 14": (graph) => {
    assert.equal(queue(graph, "BackupIngest").messageRetentionSeconds, 4 * daySeconds);
    for (const name of [...lanes, ...queues.map((one) => `${one}Dead`)]) {
      assert.equal(queue(graph, name).messageRetentionSeconds, 14 * daySeconds, name);
    }
  },
  "every queue takes the largest message there is, encrypted": (graph) => {
    assert.equal(allOf(graph, "queue").length, 6);
    for (const { name, inputs } of allOf(graph, "queue")) {
      assert.equal(inputs.maxMessageSize, 1_048_576, name);
      assert.equal(inputs.sqsManagedSseEnabled, true, name);
      assert.equal(inputs.fifoQueue, false, name);
    }
  },
  "a message is hidden for six times its function's timeout, and the window": (graph) => {
    for (const name of queues) {
      const { mapping, consumer, source } = consumption(graph, name);
      const needed = 6 * Number(consumer.timeout) + Number(mapping.maximumBatchingWindowInSeconds);
      assert.ok(Number(source.visibilityTimeoutSeconds) >= needed, `${name}: less than ${needed}`);
    }
  },
  "what fails at least five times goes to the queue's own dead letters, long before it ends": (graph) => {
    for (const name of queues) {
      const source = queue(graph, name);
      const { deadLetterTargetArn, maxReceiveCount } = JSON.parse(String(source.redrivePolicy));
      assert.equal(String(deadLetterTargetArn).split(":").at(-1), queue(graph, `${name}Dead`).name);
      assert.ok(maxReceiveCount >= 5, name);
      // SQS counts a dead letter's age from when the message was sent.
      const spent = maxReceiveCount * Number(source.visibilityTimeoutSeconds);
      assert.ok(spent <= 12 * daySeconds, `${name}: ${spent} s`);
    }
  },
  "fan-out waits 20 s for a batch that ends at 6 MB, and answers for each message": (graph) => {
    const { mapping, consumer } = consumption(graph, "BackupIngest");
    assert.equal(mapping.maximumBatchingWindowInSeconds, 20);
    // More than 6 MB, which AWS hands over at most, has of the smallest messages that are worth one: 8 KiB.
    assert.ok(Number(mapping.batchSize) >= 6_000_000 / 8192);
    assert.ok(Number(consumer.memorySize) >= 512);
    assert.match(String(consumer.name), /BackupFanOut/);
  },
  "every consumer reports partial failures, and no flood runs more than a bound": (graph) => {
    for (const [name, most] of [["BackupIngest", 10], ...lanes.map((lane) => [lane, 2])] as const) {
      const { mapping } = consumption(graph, name as string);
      assert.deepEqual(mapping.functionResponseTypes, ["ReportBatchItemFailures"], String(name));
      assert.deepEqual(mapping.scalingConfig, { maximumConcurrency: most }, String(name));
    }
  },
  "each lane has its own function": (graph) => {
    const consumers = lanes.map((name) => consumption(graph, name).consumer.name);
    assert.equal(new Set(consumers).size, 2);
    assert.match(String(consumers[0]), /BackupMainLaneConsumer/);
  },
  "queues and buckets are kept when the stage is removed": (graph) => {
    const holding = [...allOf(graph, "queue"), ...allOf(graph, "bucket")];
    assert.equal(holding.length, 9);
    for (const { name, options } of holding) assert.equal(options.retainOnDelete, true, name);
  },
  "no bucket is ever emptied": (graph) => {
    for (const { name, inputs } of allOf(graph, "bucket")) assert.equal(inputs.forceDestroy, false, name);
  },
  "replicas are versioned, and what was deleted is kept for a week": (graph) => {
    for (const name of replicas) {
      const { versioningConfiguration } = oneOf(
        graph,
        "aws:s3/bucketVersioning:BucketVersioning",
        name,
      ).inputs;
      assert.deepEqual(versioningConfiguration, { status: "Enabled" });
      const expiry = lifecycle(graph, name).filter((rule) => rule.noncurrentVersionExpiration !== undefined);
      assert.equal(expiry.length, 1, name);
      assert.deepEqual(expiry[0]?.noncurrentVersionExpiration, { noncurrentDays: 7 });
      assert.deepEqual(expiry[0]?.expiration, { expiredObjectDeleteMarker: true });
    }
  },
  "nothing in a replica ends by its age": (graph) => {
    for (const name of replicas) {
      for (const { expiration } of lifecycle(graph, name)) {
        const { days, date } = (expiration ?? {}) as { readonly days?: number; readonly date?: string };
        assert.deepEqual([days, date], [undefined, undefined], name);
      }
    }
  },
  "abandoned uploads are removed from every bucket": (graph) => {
    for (const name of buckets) {
      const aborts = lifecycle(graph, name).flatMap((rule) => rule.abortIncompleteMultipartUpload ?? []);
      assert.deepEqual(aborts, [{ daysAfterInitiation: 2 }], name);
    }
  },
  "staged bodies live 21 days, longer than any message; notes stay": (graph) => {
    const ending = lifecycle(graph, "BackupStage").filter((rule) => rule.expiration !== undefined);
    assert.deepEqual(
      ending.map(({ filter, expiration }) => ({ filter, expiration })),
      [{ filter: { prefix: "stage/" }, expiration: { days: 21 } }],
    );
  },
  "object lock is there where it is asked for": (graph) => {
    const asked = oneOf(graph, "bucket", "BackupVaultReplica").inputs;
    assert.equal(asked.objectLockEnabled, true);
    const lock = oneOf(graph, "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration", "Backup");
    assert.deepEqual(lock.inputs, {
      bucket: asked.bucket,
      rule: { defaultRetention: { mode: "GOVERNANCE", days: 30 } },
    });
    assert.equal(oneOf(graph, "bucket", "BackupMainReplica").inputs.objectLockEnabled, false);
  },
  "no bucket is public, or speaks without TLS, or to another site's pages": (graph) => {
    for (const name of buckets) {
      const { bucket: _, ...access } = oneOf(
        graph,
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        name,
      ).inputs;
      assert.deepEqual(Object.values(access), [true, true, true, true], name);
      const arn = `arn:aws:s3:::${oneOf(graph, "bucket", name).inputs.bucket}`;
      const refusal = bucketPolicy(graph, name).find(
        ({ Condition }) => Condition?.Bool?.["aws:SecureTransport"],
      );
      assert.deepEqual(refusal, {
        ...{ Effect: "Deny", Principal: "*", Action: ["s3:*"], Resource: [arn, `${arn}/*`] },
        Condition: { Bool: { "aws:SecureTransport": ["false"] } },
      });
      assert.ok(
        bucketPolicy(graph, name).every(({ Effect }) => Effect === "Deny"),
        name,
      );
    }
    assert.deepEqual(allOf(graph, "aws:s3/bucketCorsConfiguration:BucketCorsConfiguration"), []);
  },
  "what is staged is never replaced, whoever asks": (graph) => {
    const bucket = oneOf(graph, "bucket", "BackupStage").inputs.bucket;
    const refusal = bucketPolicy(graph, "BackupStage").find(({ Action }) => Action.includes("s3:PutObject"));
    assert.deepEqual(refusal, {
      ...{ Effect: "Deny", Principal: "*", Action: ["s3:PutObject"] },
      Resource: [`arn:aws:s3:::${bucket}/stage/*`],
      Condition: { Null: { "s3:if-none-match": ["true"] }, Bool: { "s3:ObjectCreationOperation": ["true"] } },
    });
  },
} satisfies Readonly<Record<string, (graph: Graph) => void>>;

function queue(graph: Graph, name: string): Inputs {
  return oneOf(graph, "queue", `${name}Queue`).inputs;
}

/** A queue, what takes from it, and how. */
function consumption(
  graph: Graph,
  name: string,
): Readonly<Record<"source" | "mapping" | "consumer", Inputs>> {
  const source = queue(graph, name);
  const mappings = allOf(graph, "aws:lambda/eventSourceMapping:EventSourceMapping").filter(({ inputs }) =>
    String(inputs.eventSourceArn).endsWith(`:${source.name}`),
  );
  assert.equal(mappings.length, 1, `consumers of ${name}`);
  const mapping = mappings[0]?.inputs ?? {};
  const consumer = allOf(graph, "function").find(({ inputs }) =>
    String(mapping.functionName).endsWith(`:${inputs.name}`),
  );
  assert.ok(consumer, `the function of ${name}`);
  return { source, mapping, consumer: consumer.inputs };
}

function lifecycle(graph: Graph, name: string): readonly Inputs[] {
  const { rules } = oneOf(
    graph,
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    name,
  ).inputs;
  for (const rule of rules as readonly Inputs[]) assert.equal(rule.status, "Enabled");
  return rules as readonly Inputs[];
}

function bucketPolicy(graph: Graph, name: string) {
  return statementsOf(oneOf(graph, "aws:s3/bucketPolicy:BucketPolicy", name).inputs.policy);
}
