import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createAlarms } from "./alarms.ts";
import { watchQueue } from "./maintenance.ts";

const dayMs = 86_400_000;

function open() {
  const alarms = createAlarms({ now: () => 0 });
  const options = { alarms, now: () => 20 * dayMs, config: { queueRetentionMs: 14 * dayMs } };
  const codes = () => alarms.list().map(({ code, replica }) => `${code} ${replica}`);
  return { codes, watch: (depths: Parameters<typeof watchQueue>[0]) => watchQueue(depths, options) };
}

const depth = { lane: "replica:b", database: "app", messages: 1, bytes: 9, dead: 0 };

suite("what waits in the queue", () => {
  test("is told when it has waited for half of the time that it is kept", () => {
    const { codes, watch } = open();

    watch([{ ...depth, oldestMs: 13.5 * dayMs }]);
    assert.deepEqual(codes(), []);
    watch([{ ...depth, oldestMs: 12.5 * dayMs }]);

    assert.deepEqual(codes(), ["queue-age replica:b"]);
  });

  test("is no alarm any more when its lane is empty, nor are dead letters that were replayed", () => {
    const { codes, watch } = open();
    watch([{ ...depth, dead: 2, oldestMs: 0 }]);
    assert.deepEqual(codes(), ["dead-letter replica:b", "queue-age replica:b"]);

    watch([]);

    assert.deepEqual(codes(), []);
  });
});
