import { deepEqual, equal } from "node:assert/strict";
import { suite, test } from "node:test";
import { compactDue, compactLookMs } from "./compact-due.ts";

const finestMs = 30_000;
const at = (newestMs: number, nowMs: number) => ({ newestMs, nowMs, finestMs });

suite("compaction", () => {
  test("is due the first time, when a window ended, and when one went by without", () => {
    const first = compactDue(undefined, at(61_000, 61_500));
    deepEqual(first, { window: 2, atMs: 61_500 });
    equal(compactDue(first, at(89_000, 89_500)), undefined);
    deepEqual(compactDue(first, at(90_000, 90_500)), { window: 3, atMs: 90_500 });
    deepEqual(compactDue(first, at(61_000, 91_500)), { window: 2, atMs: 91_500 });
  });

  test("is due when the clock was set back", () => {
    deepEqual(compactDue({ window: 2, atMs: 99_000 }, at(61_000, 50_000)), { window: 2, atMs: 50_000 });
  });

  test("is looked for six times in a window", () => {
    equal(compactLookMs(finestMs), 5000);
    equal(compactLookMs(3), 1);
  });
});
