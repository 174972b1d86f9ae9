import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { txId } from "@pageferry/format";
import { createAlarms } from "./alarms.ts";
import { createLag } from "./lag.ts";
import { watchLag } from "./watch-lag.ts";

function open(thresholdMs: number) {
  const told: string[] = [];
  const lag = createLag();
  const alarms = createAlarms(() => 0, {
    raised: ({ code, message }) => told.push(`${code}: ${message}`),
    cleared: ({ code }) => told.push(`over: ${code}`),
  });
  return { told, lag, at: (nowMs: number) => watchLag({ lag, alarms, nowMs, thresholdMs }) };
}

suite("the agent warns of the data-loss window", () => {
  test("when a commit is not acknowledged for longer than the threshold, until it is", () => {
    const { told, lag, at } = open(30_000);
    lag.seen(txId(5), 1000);

    at(31_000);
    assert.deepEqual(told, []);
    at(31_001);
    at(40_000);
    lag.safe(txId(5));
    at(41_000);

    assert.deepEqual(told, ["lag: commits that are 30 s old are not at the host yet", "over: lag"]);
  });

  test("within a minute where no threshold is set, and never while nothing is committed", () => {
    const { told, lag, at } = open(0);

    at(10_000_000);
    assert.deepEqual(told, []);
    lag.seen(txId(5), 10_000_000);
    at(10_059_000);

    assert.equal(told.length, 1);
  });
});
