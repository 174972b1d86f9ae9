// Replicas that take connections and never answer: the file replica is as quick as without them, and a stop waits for nobody.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { measureLatency } from "./dead-replica-run.ts";

/** Less than one deadline of fan-out, and more than a busy machine takes. */
const quickMs = 4000;

suite("a replica that cannot be reached", () => {
  for (const trouble of ["frozen", "dead"] as const) {
    test(`because it is ${trouble} holds up no commit on its way to another replica, and no stop`, async (t) => {
      const report = await measureLatency({ trouble, seconds: 6, rate: 50 });
      t.diagnostic(JSON.stringify(report));

      assert.equal(report.missing, 0);
      assert.ok(report.commits > 30, `${report.commits} commits`);
      assert.ok(report.maxMs < quickMs, `one commit took ${report.maxMs} ms`);
      assert.equal(report.breakers.includes("closed"), false);
      assert.equal(report.exitCode, 0);
      assert.ok(report.stopMs < 30_000, `the stop took ${report.stopMs} ms`);
    });
  }
});
