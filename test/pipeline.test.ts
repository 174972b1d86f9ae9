// The promise in short: what an application committed is restored as it was, or not at all. proofs/pipeline.ts is the
// long form with the figures.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type PipelineScenario, runPipeline } from "./pipeline-run.ts";

const transaction = ["--sync-interval", "100ms", "--granularity", "transaction"];
const interval = ["--sync-interval", "300ms"];

const scenarios: readonly PipelineScenario[] = [
  { name: "flat out with fsync", seconds: 4, restores: 8, application: {}, upArguments: transaction },
  {
    name: "flat out with NoSync",
    seconds: 2,
    restores: 5,
    application: { noSync: true },
    upArguments: interval,
  },
  {
    name: "with NoFreelistSync at 200 commits a second",
    seconds: 4,
    restores: 6,
    application: { noFreelistSync: true, rate: 200 },
    upArguments: transaction,
  },
  {
    name: "with 16 KiB pages and compressible values",
    seconds: 3,
    restores: 5,
    application: { pageSize: 16_384, rate: 300, compressible: true, overflow: 0.2 },
    upArguments: interval,
  },
  { name: "of a live etcd", seconds: 4, restores: 6, application: { etcdPuts: 40 }, upArguments: interval },
];

suite("the whole way", () => {
  for (const scenario of scenarios) {
    test(`brings every restored point home sound, ${scenario.name}`, async (t) => {
      const report = await runPipeline(scenario);

      t.diagnostic(JSON.stringify({ ...report, bad: report.bad.slice(0, 5) }));
      assert.deepEqual(report.bad, []);
      assert.equal(report.newestEqualsLive, true);
      assert.equal(report.generations, 1);
      assert.equal(report.exitCode, 0);
    });
  }
});
