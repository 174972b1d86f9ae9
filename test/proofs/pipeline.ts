// The long form of pipeline.test.ts, run by hand: `node -C @pageferry/source test/proofs/pipeline.ts [NAME…]`. Prints
// one JSON line per run. Ends with 1 if a restore was bad.
import { type PipelineScenario, runPipeline } from "../pipeline-run.ts";

const transaction = ["--sync-interval", "1s", "--granularity", "transaction"];
const scenarios: readonly PipelineScenario[] = [
  { name: "fsync", seconds: 60, restores: 100, application: {}, upArguments: transaction },
  {
    name: "fsync-interval",
    seconds: 60,
    restores: 100,
    application: {},
    upArguments: ["--sync-interval", "500ms"],
  },
  { name: "fsync-300", seconds: 60, restores: 100, application: { rate: 300 }, upArguments: transaction },
  { name: "nosync", seconds: 60, restores: 100, application: { noSync: true }, upArguments: transaction },
  {
    name: "nofreelistsync",
    seconds: 60,
    restores: 100,
    application: { noFreelistSync: true },
    upArguments: transaction,
  },
  {
    name: "fsync-25MB",
    seconds: 60,
    restores: 100,
    application: { initialMB: 25 },
    upArguments: transaction,
  },
  { name: "etcd", seconds: 60, restores: 100, application: { etcdPuts: 40 }, upArguments: transaction },
];

const wanted = process.argv.slice(2);
for (const scenario of scenarios) {
  if (wanted.length > 0 && !wanted.includes(scenario.name)) {
    continue;
  }
  const report = await runPipeline(scenario);
  console.log(JSON.stringify(report));
  if (report.bad.length > 0 || !report.newestEqualsLive || report.exitCode !== 0) {
    process.exitCode = 1;
  }
}
