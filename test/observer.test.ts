// An application tells its commits from sixteen places, shuffled, late and twice: one history, and every restore exact. The long form:
// PAGEFERRY_OBSERVER_FLUSHES=2000000 node -C @pageferry/source --test test/observer.test.ts
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { runObserver } from "./observer-run.ts";

const flushes = Number(process.env.PAGEFERRY_OBSERVER_FLUSHES ?? 100_000);

suite("an observer under sixteen concurrent producers", () => {
  for (const hasFreelist of [true, false]) {
    const count = hasFreelist ? flushes : flushes / 10;
    const how = hasFreelist ? "with a freelist" : "without one";
    test(`makes one exact history of ${count} shuffled flushes, ${how}`, async (t) => {
      const report = await runObserver({ flushes: count, producers: 16, restores: 30, hasFreelist });
      t.diagnostic(JSON.stringify(report));

      assert.ok(report.outOfOrder > count / 10, `${report.outOfOrder} came out of order`);
      assert.ok(report.told > count);
      assert.equal(report.generations.length, 1);
      assert.ok(report.points > 5, `${report.points} points`);
      assert.deepEqual(report.bad, []);
      assert.equal(report.lagMs, 0);
      assert.deepEqual(report.alarms, []);
    });
  }
});
