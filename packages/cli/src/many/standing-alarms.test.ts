import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createStandingAlarms } from "./standing-alarms.ts";

function open() {
  const told: string[] = [];
  const alarms = createStandingAlarms({
    raised: ({ code, message }) => told.push(`${code}: ${message}`),
    cleared: ({ code }) => told.push(`over: ${code}`),
    letGo() {},
  });
  const keep = (...messages: readonly string[]) =>
    alarms.keep(messages.map((message) => ({ code: "not-found", message, hint: "" })));
  return { told, keep };
}

suite("the alarms of a fleet", () => {
  test("are told when they come, when they say something else, and when they are over", () => {
    const { told, keep } = open();

    keep("a");
    keep("a");
    keep("b");
    keep();

    assert.deepEqual(told, ["not-found: a", "not-found: b", "over: not-found"]);
  });

  test("tell of each directory that is gone, though another one was told of before", () => {
    const { told, keep } = open();

    keep("a is gone");
    keep("a is gone", "b is gone");
    keep("b is gone");
    keep("1", "2", "3", "4", "5", "6", "7");

    assert.deepEqual(told, [
      "not-found: a is gone",
      "not-found: a is gone; b is gone",
      "not-found: b is gone",
      "not-found: 1; 2; 3; 4; 5; and 2 more",
    ]);
  });
});
