// A host that is away for a day: what its agent keeps meanwhile is bounded, and so is what the return costs.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { runAwayDay } from "./away-day-run.ts";

const mb = 2 ** 20;

suite("a host that was away for a day", () => {
  test("gets what the shadow was squashed to, and every point it then claims is one", async (t) => {
    const report = await runAwayDay({ commits: 20_000, rate: 1000, shadowBytesMax: 16 * mb, restores: 20 });
    t.diagnostic(JSON.stringify(report));

    assert.deepEqual(report.bad, []);
    assert.ok(report.hoursAway >= 24, `${report.hoursAway} h`);
  });

  test("gets a snapshot where the shadow may not hold even the database once", async (t) => {
    const report = await runAwayDay({ commits: 3000, rate: 1000, shadowBytesMax: mb, restores: 10 });
    t.diagnostic(JSON.stringify(report));

    assert.deepEqual(report.bad, []);
    assert.ok(report.alarms.includes("gap"));
  });
});
