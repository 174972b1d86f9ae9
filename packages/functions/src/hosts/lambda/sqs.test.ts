import assert from "node:assert/strict";
import { test } from "node:test";
import { SQSClient } from "@aws-sdk/client-sqs";
import { batchesOf, openQueues } from "./sqs.ts";

const messageOf = (bytes: number) => ({ body: "A".repeat(bytes), attributes: {} });

test("messages share requests of at most ten, and at most 1 MiB", () => {
  const sizes = (messages: readonly { readonly body: string }[]) =>
    batchesOf(messages.map(({ body }) => ({ body, attributes: {} }))).map((batch) => batch.length);
  assert.deepEqual(sizes(Array.from({ length: 21 }, () => messageOf(1))), [10, 10, 1]);
  assert.deepEqual(sizes([messageOf(600_000), messageOf(400_000), messageOf(100_000)]), [2, 1]);
  assert.deepEqual(sizes([messageOf(1), messageOf(2_000_000), messageOf(1)]), [1, 1, 1]);
  assert.deepEqual(sizes([]), []);
});

test("what attributes say counts, too", () => {
  const half = { body: "A".repeat(500_000), attributes: { reason: "B".repeat(30_000) } };
  assert.deepEqual(
    batchesOf([half, half]).map((batch) => batch.length),
    [1, 1],
  );
});

test("a queue that cannot be reached takes nothing, and says so of each message", async () => {
  const credentials = { accessKeyId: "a", secretAccessKey: "b" };
  const client = new SQSClient({
    endpoint: "http://127.0.0.1:1",
    region: "us-east-1",
    credentials,
    maxAttempts: 1,
  });
  const { send, delay } = openQueues({ client });
  const results = await send("http://127.0.0.1:1/0/lane", [messageOf(1), messageOf(2)]);
  assert.deepEqual(
    results.map((error) => error?.code),
    ["unavailable", "unavailable"],
  );
  await delay("http://127.0.0.1:1/0/lane", [{ receiptHandle: "r", seconds: 1 }]);
});
