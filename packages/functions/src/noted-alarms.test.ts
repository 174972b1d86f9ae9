import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createNotedAlarms } from "./noted-alarms.ts";
import { openObjectNotes } from "./object-notes.ts";
import { memoryStore } from "./stores/memory.ts";

const store = memoryStore();

/** A function of its own, with what it was told. */
async function open(nowMs: number) {
  const notes = await openObjectNotes({ store, prefixes: ["alarm/"] });
  const told: string[] = [];
  const alarms = createNotedAlarms({
    ...{ notes, now: () => nowMs },
    onRaised: ({ code }) => told.push(`raised ${code}`),
    onCleared: ({ code }) => told.push(`over ${code}`),
  });
  return { notes, alarms, told };
}

const lag = { code: "lag", database: "app", replica: "s3://a/b" };

suite("an alarm of functions", () => {
  test("is told once, known to all, and keeps its time", async () => {
    const first = await open(1000);
    first.alarms.raise({ ...lag, message: "5 s", hint: "look" });
    await first.notes.save();

    const second = await open(2000);
    second.alarms.raise({ ...lag, message: "6 s", hint: "look" });

    assert.deepEqual([first.told, second.told], [["raised lag"], []]);
    assert.deepEqual(second.alarms.list("app"), [{ ...lag, message: "6 s", hint: "look", sinceMs: 1000 }]);
    assert.deepEqual(second.alarms.list("other"), []);
  });

  test("is ended by another than raised it, and that is told once, too", async () => {
    const first = await open(1000);
    first.alarms.raise({ ...lag, message: "5 s", hint: "look" });
    await first.notes.save();
    const second = await open(2000);

    second.alarms.clear(lag);
    second.alarms.clear(lag);
    await second.notes.save();

    assert.deepEqual(second.told, ["over lag"]);
    await first.notes.refresh();
    assert.deepEqual(first.alarms.list(), []);
  });
});
