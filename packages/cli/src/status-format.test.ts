import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { AnswerOf, databasesRoute } from "@pageferry/functions/routes";
import { formatStatus } from "./status-format.ts";

type Replica = AnswerOf<typeof databasesRoute>["databases"][number]["replicas"][number];

const replica: Replica = {
  ...{ name: "s3://b", txid: "1", time: null, lagMs: 0, waiting: 0, waitingBytes: 0, deadLetters: 0 },
  ...{ quarantined: 0, breaker: "closed", failures: 0, error: null, needsRepair: false, verified: null },
};

const database = {
  ...{ name: "app", generation: null, host: null, epoch: null, txid: "1", time: null, lastHeard: null },
  ...{ lagMs: 0, waiting: 0, alarms: [] },
};

const lastLine = (more: Partial<Replica>): string => {
  const answer = { databases: [{ ...database, replicas: [{ ...replica, ...more }] }], alarms: [] };
  return formatStatus(answer).trimEnd().split("\n").at(-1) ?? "";
};

suite("a replica in the status", () => {
  test("is ok, or away, or being asked, as its circuit breaker has it", () => {
    assert.match(lastLine({ breaker: "closed" }), /- +ok$/);
    assert.match(lastLine({ breaker: "open" }), /- +away$/);
    assert.match(lastLine({ breaker: "half-open" }), /- +being asked$/);
  });

  test("tells what else is to be done about it", () => {
    const line = lastLine({
      breaker: "open",
      needsRepair: true,
      deadLetters: 3,
      waiting: 2,
      waitingBytes: 2048,
    });

    assert.match(line, /2 \(2\.0 KiB\) +- +away, needs repair, 3 set aside$/);
  });

  test("tells what was verified last, and its verdict where it is not FOUND", () => {
    const verified = { generation: "a1", txid: "7", time: "2026-01-02T03:04:05.000Z" };

    assert.match(
      lastLine({ verified: { ...verified, verdict: "FOUND" } }),
      / 7 at 2026-01-02T03:04:05.000Z +ok$/,
    );
    assert.match(lastLine({ verified: { ...verified, verdict: "CORRUPT" } }), /CORRUPT 7 at/);
  });
});
