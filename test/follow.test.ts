// A standby is a sound file at every moment at which it may be opened, whatever happens to its follower, its archive and its database.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { runFollow } from "./follow-run.ts";

suite("a warm standby", () => {
  test("its follower killed at random, it is sound and newer each time", async (t) => {
    const report = await runFollow({ seconds: 12, rate: 50, aliveMsMax: 6000 });

    t.diagnostic(JSON.stringify(report));
    assert.deepEqual(report.bad, []);
    assert.ok(report.kills >= 3 && report.states >= 6 && report.published.delta >= 4);
    assert.ok(report.generations >= 2, "the replaced database was followed");
    assert.equal(report.equalsLive, true);
    assert.equal(report.endedWith, 0);
  });
});
