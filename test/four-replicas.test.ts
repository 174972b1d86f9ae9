// Four replicas that fail one after the other, in the short form; proofs/four-replicas.ts is the long one.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { runFourReplicas } from "./four-replicas-run.ts";
import { natsMissing } from "./servers/nats.ts";
import { withoutS3Server } from "./servers/s3.ts";
import { withoutSshd } from "./servers/sshd.ts";

const skip = withoutS3Server || natsMissing || withoutSshd();

suite("four replicas", { skip }, () => {
  test("hold the same points after each was away, are verified, and restore alone and from what is left of them", async (t) => {
    const report = await runFourReplicas({
      awaySeconds: 4,
      togetherSeconds: 2,
      rate: 50,
      points: 3,
      removedShare: 0.5,
      upArguments: ["--sync-interval", "200ms"],
    });
    t.diagnostic(JSON.stringify(report));

    assert.deepEqual(report.bad, []);
    assert.equal(report.exitCode, 0);
    assert.equal(report.restores, 24);
  });
});
