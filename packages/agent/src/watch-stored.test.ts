import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type TxId, txId } from "@pageferry/format";
import { createAlarms } from "./alarms.ts";
import { createStoredWatch, type StoredFacts } from "./watch-stored.ts";

const hourMs = 3_600_000;

function open() {
  const told: string[] = [];
  const watch = createStoredWatch();
  const alarms = createAlarms(() => 0, {
    raised: ({ code, message }) => told.push(`${code}: ${message}`),
    cleared: ({ code }) => told.push(`over: ${code}`),
  });
  return {
    told,
    at: (hours: number, ...chapters: StoredFacts["chapters"]) =>
      watch({ chapters, alarms, nowMs: hours * hourMs }),
  };
}

/** A commit each hour, from the first on; `acknowledged` and `stored` are how far the host and a replica are. */
function chapter(acknowledged: number, stored: number | null, isAbandoned = false) {
  const entries = [1, 2, 3].map((id) => ({ txId: txId(id), stampMs: id * hourMs }));
  const cursor = { acknowledgedTxId: txId(acknowledged) as TxId | null, isAbandoned };
  return {
    cursor: () => cursor,
    shadow: { entries: () => entries },
    storedTxId: stored === null ? null : txId(stored),
  } as unknown as StoredFacts["chapters"][number];
}

suite("the agent warns of what only a queue has", () => {
  test("when that is two days old, until a replica has what is", () => {
    const { told, at } = open();

    at(40, chapter(3, null));
    at(49, chapter(3, null));
    assert.deepEqual(told, []);
    at(50, chapter(3, null));
    at(51, chapter(3, 2));
    at(60, chapter(3, 3));

    assert.deepEqual(told, [
      "lag: the host acknowledged commits that are 49 h old, and no replica has them yet",
      "over: lag",
    ]);
  });

  test("and not at once where a host that was away takes what is that old: its replicas have an hour", () => {
    const { told, at } = open();

    at(100, chapter(1, 1));
    at(100.5, chapter(3, 1));
    at(101.4, chapter(3, 1));
    assert.deepEqual(told, []);
    at(101.5, chapter(3, 1));

    assert.equal(told.length, 1);
  });

  test("and not of what was never acknowledged, nor of a history that is given up", () => {
    const { told, at } = open();

    at(100, chapter(1, 1), chapter(0, null), chapter(3, null, true));

    assert.deepEqual(told, []);
  });
});
