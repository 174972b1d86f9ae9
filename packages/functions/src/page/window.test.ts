import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type Point, parseGeneration, txId } from "@pageferry/format";
import fc from "fast-check";
import { sparkline } from "./sparkline.ts";
import { slicesOf, waysFrom, wholeWindow, windowOf } from "./window.ts";

const generation = parseGeneration("a100000000000000");

const point = (id: number, stampMs: number | null, kind: Point["kind"] = "segment"): Point => ({
  ...{ generation, txId: txId(id), stampMs, receivedMs: null, kind, name: `x${id}`, size: 10 },
});

const newestFirst = [point(9, 90_000), point(5, 50_000, "snapshot"), point(4, null), point(1, 1000)];

suite("a window of a timeline", () => {
  test("is a little wider than all that has a time, unless something else was asked for", () => {
    const whole = wholeWindow(newestFirst, 1e9);

    assert.deepEqual(wholeWindow(newestFirst, 90_100).toMs, 91_000);
    assert.deepEqual(whole, { fromMs: -780, toMs: 91_780 });
    assert.deepEqual(windowOf({}, whole), whole);
    assert.deepEqual(windowOf({ fromMs: 5000, toMs: 40_000 }, whole), { fromMs: 5000, toMs: 40_000 });
  });

  test("is never without width, whatever is asked for", () => {
    const whole = wholeWindow(newestFirst, 0);

    assert.deepEqual(windowOf({ fromMs: 5000, toMs: 4000 }, whole), { fromMs: 5000, toMs: 6000 });
    assert.deepEqual(windowOf({ fromMs: 1e12 }, whole), { fromMs: 1e12, toMs: 1e12 + 1000 });
  });

  test("is cut at round times, and each point with a time is in exactly one slice", () => {
    const slices = slicesOf({ fromMs: 0, toMs: 91_780 }, newestFirst);

    assert.deepEqual(
      slices.map(({ fromMs, points, snapshots }) => [fromMs, points, snapshots]),
      [0, 10, 20, 30, 40, 50, 60, 70, 80, 90].map((s) => [
        s * 1000,
        s === 0 || s === 50 || s === 90 ? 1 : 0,
        s === 50 ? 1 : 0,
      ]),
    );
    assert.equal(slices[9]?.last?.txId, 9n);
  });

  test("has few slices, however long it is", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2e12 }),
        fc.integer({ min: 1000, max: 1e12 }),
        (fromMs, widthMs) => {
          const { length } = slicesOf({ fromMs, toMs: fromMs + widthMs }, []);

          assert.ok(length >= 1 && length <= 13);
        },
      ),
    );
  });

  test("leads to what is before it, after it and around it", () => {
    const whole = { fromMs: 0, toMs: 1000 };

    assert.deepEqual(waysFrom({ fromMs: 400, toMs: 600 }, whole), {
      earlier: { fromMs: 300, toMs: 500 },
      later: { fromMs: 500, toMs: 700 },
      wider: { fromMs: 300, toMs: 700 },
    });
    assert.equal(waysFrom(whole, whole).wider, undefined);
  });
});

suite("a sparkline", () => {
  test("is broken where the lag was not known, and says in words what it shows", () => {
    const made = sparkline({ everyMs: 1000, lagMs: [0, 4000, null, 0] }, 60_000)?.toString() ?? "";

    assert.equal(made.match(/M/g)?.length, 2);
    assert.match(made, /<title>lag over the last 3\.0 s: at most 4\.0 s<\/title>/);
    assert.doesNotMatch(made, /high/);
  });

  test("stands out where the lag was more than it may be, and keeps its worst when it is thinned", () => {
    const lagMs = Array.from({ length: 600 }, (_, at) => (at === 301 ? 70_000 : 0));

    const made = sparkline({ everyMs: 1000, lagMs }, 60_000)?.toString() ?? "";

    assert.match(made, /class="spark high"/);
    assert.ok(made.length < 700, `${made.length} characters`);
  });

  test("is nothing where there is nothing to draw", () => {
    assert.equal(sparkline(undefined, 1), undefined);
    assert.equal(sparkline({ everyMs: 1000, lagMs: [0] }, 1), undefined);
    assert.equal(sparkline({ everyMs: 1000, lagMs: [null, null] }, 1), undefined);
  });
});
