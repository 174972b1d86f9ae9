// The arithmetic of the bill, against sums done by hand. What is counted is in docs/aws.md.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { awsMonth, putPerSegmentMonth } from "../../bench/aws-cost.ts";

const nothing = {
  ...{
    queues: 0,
    alarms: 0,
    metrics: 0,
    scheduledADay: 0,
    scheduledMs: 0,
    scheduledS3Puts: 0,
    scheduledS3Gets: 0,
  },
  ...{ fanOutMemoryGib: 0.5, scheduledMemoryGib: 2, storedGib: 0 },
};
const idle = { sqsRequests: 0, invocations: 0, invocationMs: 0, s3Puts: 0, s3Gets: 0, logBytes: 0 };

describe("the bill of a month", () => {
  it("is 13.13 USD for a PUT per segment at one a second, as in the issue", () => {
    assert.equal(putPerSegmentMonth(1).toFixed(2), "13.13");
    assert.equal(putPerSegmentMonth(10).toFixed(2), "131.33");
  });

  it("counts each thing once", () => {
    // 2,626,560 seconds are 2,626.56 thousands of transactions at one a second.
    const month = (change: object, deployment = {}) =>
      awsMonth(1, { ...idle, ...change }, { ...nothing, ...deployment });
    assert.equal(month({ sqsRequests: 1000 }).sqs.toFixed(4), (2.62656 * 0.4).toFixed(4));
    assert.equal(month({ s3Puts: 50 }).s3Requests.toFixed(4), (131.328 * 0.005).toFixed(4));
    assert.equal(month({ invocations: 50, invocationMs: 0 }).lambda.toFixed(5), (0.131328 * 0.2).toFixed(5));
    assert.equal(month({}, { queues: 2 }).idleQueues.toFixed(4), (1.31328 * 0.4).toFixed(4));
    assert.equal(month({}, { alarms: 12, metrics: 3 }).watching.toFixed(2), "2.10");
    assert.equal(month({}).total, 0);
  });

  it("is the sum of its parts", () => {
    const counted = {
      ...idle,
      sqsRequests: 1000,
      invocations: 50,
      invocationMs: 7500,
      s3Puts: 55,
      s3Gets: 10,
    };
    const { total, ...parts } = awsMonth(10, counted, {
      ...nothing,
      queues: 2,
      alarms: 12,
      scheduledADay: 317,
    });
    assert.equal(
      total,
      Object.values(parts).reduce((sum, part) => sum + part, 0),
    );
    assert.ok(total < putPerSegmentMonth(10));
  });
});
