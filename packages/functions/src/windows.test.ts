import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { txId } from "@pageferry/format";
import { endsWindow, compactionLevelsDefault as levels } from "./windows.ts";

const at = (id: number, stampMs: number | null) => ({ txId: txId(id), stampMs });

test("a window ends where the next begins by the clock, a coarser one at fewer places", () => {
  const ends = (beforeMs: number, afterMs: number) =>
    [0, 1, 2].map((level) => endsWindow(at(1, beforeMs), at(2, afterMs), level, levels));
  deepEqual(ends(29_000, 29_999), [false, false, false]);
  deepEqual(ends(29_999, 30_000), [true, false, false]);
  deepEqual(ends(299_999, 300_000), [true, true, false]);
  deepEqual(ends(3_599_999, 3_600_000), [true, true, true]);
  deepEqual(ends(0, 86_400_000), [true, true, true]);
});

test("where the clock stands still, or nothing tells it, transactions are counted instead", () => {
  for (const stampMs of [5_000_000, null]) {
    const ends = (before: number) =>
      [0, 1, 2].map((level) => endsWindow(at(before, stampMs), at(before + 1, stampMs), level, levels));
    deepEqual(ends(62), [false, false, false]);
    deepEqual(ends(63), [true, false, false]);
    deepEqual(ends(4095), [true, true, false]);
    deepEqual(ends(262_143), [true, true, true]);
  }
});

test("a level that is not configured ends nowhere", () => {
  equal(endsWindow(at(1, 0), at(2, 86_400_000), 3, levels), false);
});
