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
function chapter(
  acknowledged: number | null,
  stored: number | null,
  {
    isAbandoned = false,
    generation = "aaaaaaaaaaaaaaaa",
    kept = [1, 2, 3] as readonly number[],
  }: { readonly isAbandoned?: boolean; readonly generation?: string; readonly kept?: readonly number[] } = {},
) {
  const entries = kept.map((id) => ({ txId: txId(id), stampMs: id * hourMs }));
  const acknowledgedTxId: TxId | null = acknowledged === null ? null : txId(acknowledged);
  const cursor = { acknowledgedTxId, isAbandoned };
  return {
    generation,
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

    for (const hours of [100, 200]) {
      at(
        hours,
        chapter(1, 1, { generation: "aaaaaaaaaaaaaaaa" }),
        chapter(null, null, { generation: "bbbbbbbbbbbbbbbb" }),
        chapter(3, null, { generation: "cccccccccccccccc", isAbandoned: true }),
      );
    }

    assert.deepEqual(told, []);
  });

  test("also when the shadow let go of it: then nobody else has it at all", () => {
    const { told, at } = open();

    at(3, chapter(3, null));
    at(50, chapter(3, null));
    at(51, chapter(3, null, { kept: [] }));
    at(52, chapter(3, 2, { kept: [4] }));
    at(98, chapter(3, 2, { kept: [4] }));
    at(101, chapter(3, 2, { kept: [4] }));
    at(102, chapter(3, 3, { kept: [4] }));

    assert.deepEqual(told, [
      "lag: the host acknowledged commits that are 49 h old, and no replica has them yet",
      "over: lag",
    ]);
  });

  test("also after a start, at which nobody knows any more how old it is", () => {
    const { told, at } = open();

    for (const hours of [1000, 1047]) at(hours, chapter(3, null, { kept: [] }));
    assert.deepEqual(told, []);
    at(1049, chapter(3, null, { kept: [] }));

    assert.equal(told.length, 1);
  });

  test("also while replicas go on, days behind", () => {
    const { told, at } = open();
    const kept = Array.from({ length: 200 }, (_, index) => index + 1);

    for (let hour = 60; hour < 80; hour += 0.5)
      at(hour, chapter(Math.floor(hour), Math.floor(hour) - 55, { kept }));

    assert.equal(
      told[0],
      "lag: the host acknowledged commits that are 54 h old, and no replica has them yet",
    );
  });
});
