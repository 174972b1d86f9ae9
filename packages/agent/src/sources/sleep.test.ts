import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { longestSleepMs } from "./sleep.ts";

/** What is wrong with a file is believed when it was seen twice, some seconds apart. */
const looks = 3;

suite("the sleep of sources", () => {
  test("is a second for few, and longer for many, which together cost no more", () => {
    assert.deepEqual(
      [1, 250, 1000, 2000].map((sources) => longestSleepMs(sources)),
      [1000, 1000, 4000, 8000],
    );
  });

  test("lets an alarm come within a minute, however many there are", () => {
    for (const sources of [1, 1000, 10_000, 1_000_000])
      assert.ok(looks * longestSleepMs(sources) < 60_000, `${sources}`);
  });
});
