import assert from "node:assert/strict";
import { test } from "node:test";
import { PageferryError } from "@pageferry/format";
import type { SQSRecord } from "aws-lambda";
import { answer, sendAll, waitSeconds } from "./settled.ts";
import type { OutgoingMessage, TakenReceipt } from "./sqs.ts";

const recordOf = (id: string, count = 1) =>
  ({
    ...{ messageId: id, receiptHandle: `receipt of ${id}` },
    attributes: { ApproximateReceiveCount: String(count) },
  }) as unknown as SQSRecord;

const message: OutgoingMessage = { body: "AAAA", attributes: {} };

test("a record of which one queue did not take its message comes again, and no other does", async () => {
  const [one, two, three] = [recordOf("1"), recordOf("2"), recordOf("3")];
  const unsent = await sendAll(
    [
      ...[one, two].map((record) => ({ record, url: "https://lane", message })),
      ...[two, three].map((record) => ({ record, url: "https://dead", message })),
    ],
    {
      send: async (url, messages) =>
        messages.map((_, at) =>
          url === "https://lane" && at === 1 ? new PageferryError("unavailable", "throttled") : undefined,
        ),
    },
  );
  assert.deepEqual([...unsent.keys()], [two]);
});

test("a record for a queue that the deployment does not have comes again", async () => {
  const record = recordOf("1");
  const unsent = await sendAll([{ record, url: undefined, message }], { send: async () => [] });
  assert.deepEqual([...unsent.keys()], [record]);
});

test("a record is left alone for longer with every turn, up to a quarter of an hour", () => {
  const waits = [1, 2, 3, 8, 9, 10, 11, 1000].map((count) => waitSeconds(recordOf("1", count), 1));
  assert.deepEqual(waits, [2, 4, 8, 256, 512, 900, 900, 900]);
  assert.equal(waitSeconds(recordOf("1", 1), 0), 1);
});

test("the answer names each record once, and tells the queue how long to wait", async () => {
  const delayed: TakenReceipt[] = [];
  const queues = {
    send: async () => [],
    delay: async (_: string, receipts: readonly TakenReceipt[]) => void delayed.push(...receipts),
  };
  const record = recordOf("1", 3);
  const response = await answer([record, record], { queues, url: "https://ingest", random: () => 1 });
  assert.deepEqual(response, { batchItemFailures: [{ itemIdentifier: "1" }] });
  assert.deepEqual(delayed, [{ receiptHandle: "receipt of 1", seconds: 8 }]);
});
