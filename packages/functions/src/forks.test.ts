import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseDatabaseName, parseGeneration } from "@pageferry/format";
import { createAlarms } from "./alarms.ts";
import { createForks } from "./forks.ts";
import { openQueue } from "./queue.ts";

const app = parseDatabaseName("app");
const generation = (word: string) => parseGeneration(word.repeat(16));

function open() {
  const notes = openQueue({ path: ":memory:", now: () => 0 });
  const alarms = createAlarms({ now: () => 0 });
  const forks = createForks({ alarms, notes });
  /** What a replica does that finds one: it raises its alarm, and tells. */
  const found = (word: string, epoch: number, replica: string) => {
    alarms.raise({ code: "fork", database: app, replica, message: "two histories", hint: "" });
    const which = { database: app, generation: generation(word), epoch, replica };
    forks.found({ ...which, why: "it differs", isUnreadable: false });
  };
  const raised = () => alarms.list("app").map(({ replica }) => replica);
  return { notes, forks, found, raised };
}

suite("the alarm of a fork", () => {
  test("ends when a newer generation takes its place, at each replica that told of it", async () => {
    const { notes, forks, found, raised } = open();
    await using _ = notes;
    found("a", 1, "one");
    found("a", 1, "two");
    assert.throws(() => forks.check(app, { generation: generation("a"), epoch: 1 }), { code: "fork" });
    assert.deepEqual(raised(), ["one", "two"]);

    forks.check(app, { generation: generation("b"), epoch: 2 });

    assert.deepEqual(raised(), []);
  });

  test("stays for as long as another of the same database and replica is left", async () => {
    const { notes, forks, found, raised } = open();
    await using _ = notes;
    found("a", 1, "one");
    found("a", 1, "two");
    found("b", 2, "one");

    forks.check(app, { generation: generation("c"), epoch: 2 });
    assert.deepEqual(raised(), ["one"]);
    assert.equal(forks.forgive(app), 1);

    assert.deepEqual(raised(), []);
  });

  test("ends also when it was found before a restart", async () => {
    const { notes, found } = open();
    await using _ = notes;
    found("a", 1, "one");
    const alarms = createAlarms({ now: () => 0 });
    const again = createForks({ alarms, notes });
    assert.equal(alarms.list().length, 1);

    again.forgive();

    assert.deepEqual(alarms.list(), []);
  });
});
