import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { createEventLog } from "./event-log.ts";

const of = (database: string, message = "it is there") => ({ kind: "snapshot", database, message }) as const;

suite("the log of what happened", () => {
  test("gives ascending ids that are times, where nothing happened at the same moment", () => {
    const log = createEventLog();

    const ids = [1000, 1000, 1500, 900].map((atMs) => log.add(of("app"), atMs).id);

    assert.deepEqual(ids, [1000, 1001, 1500, 1501]);
    assert.deepEqual(
      log.since(1001).map(({ id, atMs }) => [id, atMs]),
      [
        [1500, 1500],
        [1501, 900],
      ],
    );
    assert.deepEqual(log.since(1501), []);
    assert.equal(log.since(0).length, 4);
  });

  test("keeps the newest of each database, however loud another is", () => {
    const log = createEventLog();
    log.add(of("quiet"), 1);
    for (let at = 2; at < 1000; at++) log.add(of("loud"), at);

    const kept = log.since(0);

    assert.equal(kept.filter(({ database }) => database === "loud").length, 200);
    assert.equal(kept[0]?.database, "quiet");
    assert.equal(kept.at(-1)?.id, 999);
  });

  test("is bounded over all databases, and in its words", () => {
    const log = createEventLog();
    for (let at = 1; at <= 6000; at++) log.add(of(`db${at}`, "x".repeat(9000)), at);

    const kept = log.since(0);

    assert.deepEqual([kept.length, kept[0]?.id, kept[0]?.message.length], [5000, 1001, 500]);
  });
});
