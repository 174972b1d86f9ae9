import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createLagHistories } from "./lag-history.ts";

suite("the history of a lag", () => {
  test("is the last hour, oldest first, with what was not known as null", () => {
    const histories = createLagHistories();
    for (let at = 0; at < 70; at++) histories.sample("app", "one", at === 30 ? null : at + 0.4);

    const { everyMs, lagMs } = histories.of("app", "one");

    assert.equal(everyMs, 60_000);
    assert.deepEqual([lagMs.length, lagMs[0], lagMs[20], lagMs.at(-1)], [60, 10, null, 69]);
    assert.deepEqual(histories.of("app", "two").lagMs, []);
  });
});
