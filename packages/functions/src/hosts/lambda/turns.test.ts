import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type DatabaseName, PageferryError, parseDatabaseName } from "@pageferry/format";
import { openObjectNotes } from "../../object-notes.ts";
import { memoryStore } from "../../stores/memory.ts";
import { createTelemetry } from "./telemetry.ts";
import { databaseIn, inTurn, takeTurns } from "./turns.ts";

const [a, b, c] = ["a", "b", "c"].map(parseDatabaseName) as [DatabaseName, DatabaseName, DatabaseName];

async function open() {
  const notes = await openObjectNotes({ store: memoryStore(), prefixes: ["turns/", "alarm/"] });
  const clock = { nowMs: 1000 };
  const now = () => ++clock.nowMs;
  const telemetry = createTelemetry({ name: "test", deployStage: "test", now, notes });
  const worked: DatabaseName[] = [];
  const run = (
    work: (database: DatabaseName, signal: AbortSignal) => Promise<void> = async () => undefined,
    remainingMs = 60_000,
  ) =>
    takeTurns([a, b, c], {
      ...{ task: "compact", notes, telemetry, now, remainingMs: () => remainingMs },
      work: async (database, signal) => {
        worked.push(database);
        await work(database, signal);
      },
    });
  return { notes, telemetry, worked, run };
}

suite("databases in turns", () => {
  test("begin with those that were never tried, then with who waited longest", () => {
    assert.deepEqual(
      inTurn(
        [a, b, c],
        new Map([
          [a, 5],
          [c, 3],
        ]),
      ),
      [b, c, a],
    );
  });

  test("that take too long are left, and come after those that waited", async () => {
    const { worked, run } = await open();
    const hang = (database: DatabaseName, signal: AbortSignal) =>
      database === a
        ? new Promise<void>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
        : Promise.resolve();

    const first = await run(hang, 50);
    const second = await run();

    assert.deepEqual(first, { done: [], failed: [], left: [a, b, c] });
    assert.deepEqual(second.done, [b, c, a], "who was tried is not first again");
    assert.deepEqual(worked, [a, b, c, a]);
  });

  test("that fail hold up no other, and are told of until they succeed", async () => {
    const { telemetry, run } = await open();
    const size = "disk-full: /tmp: 9000000000 bytes are needed, 400000000 are free";
    const fail = async (database: DatabaseName) => {
      if (database === b) throw new PageferryError("disk-full", size.slice(11));
    };

    const { done, failed } = await run(fail);

    assert.deepEqual([done, failed], [[a, c], [{ database: b, why: size }]]);
    const [alarm, ...others] = telemetry.alarms.list();
    assert.deepEqual([alarm?.code, alarm?.database, others], ["maintenance-compact", b, []]);
    assert.match(alarm?.message ?? "", /9000000000 bytes are needed/);
    await run();
    assert.deepEqual(telemetry.alarms.list(), []);
  });

  test("are one where the event names it", () => {
    assert.equal(databaseIn({ database: "app" }), "app");
    for (const event of [{}, { source: "aws.events", detail: {} }, null, "x"])
      assert.equal(databaseIn(event), undefined);
  });
});
