// Processes die at any moment; what was acknowledged restores all the same. proofs/crash.ts is the long form.
import assert from "node:assert/strict";
import { test } from "node:test";
import { runCrashes } from "./crash-run.ts";

test("what was acknowledged restores after agent, host, writer and all are killed at random moments", async (t) => {
  const report = await runCrashes({
    kills: 12,
    pointsPerKill: 2,
    pointsAtEnd: 20,
    aliveMsMax: 1200,
    application: { rate: 300 },
    syncInterval: "100ms",
  });

  t.diagnostic(JSON.stringify(report));
  assert.ok(report.acknowledgedSegments > 2);
  assert.deepEqual(report.bad, []);
  assert.deepEqual(report.lost, []);
  assert.deepEqual(report.nameless, []);
  assert.equal(report.newestEqualsLive, true);
  // Same file, same boot: whatever died, the history goes on.
  assert.equal(report.generations.length, 1, report.generations.join(", "));
});
