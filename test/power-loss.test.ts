// The power fails while agent and host are at work, in the short form; proofs/power-loss.ts is the long one.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { runPowerLoss } from "./power-loss-run.ts";

suite("a power failure", () => {
  test("loses nothing that was acknowledged, and is recovered from without help", async (t) => {
    const report = await runPowerLoss({ seconds: 4, rate: 100, crashes: 6 });
    t.diagnostic(JSON.stringify(report));

    assert.deepEqual([report.bad, report.lost], [[], []]);
    assert.ok(report.acknowledged > 6, `${report.acknowledged} acknowledged points`);
    // A crash so early that little was acknowledged has fewer to choose from.
    assert.ok(report.restores >= 12, `${report.restores} restores`);
  });

  test("loses what was acknowledged where an fsync does nothing: the proof above can fail", async (t) => {
    const report = await runPowerLoss({ seconds: 3, rate: 100, crashes: 2, dropsFsyncs: true });
    t.diagnostic(JSON.stringify(report));

    assert.ok(report.lost.length > 0);
  });
});
