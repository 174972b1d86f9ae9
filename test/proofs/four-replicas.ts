// The long form of four-replicas.test.ts, run by hand: five minutes, each remote server away for thirty seconds of them.
// Prints one JSON line. Ends with 1 if a restore was bad.
import { runFourReplicas } from "../four-replicas-run.ts";

const report = await runFourReplicas({
  awaySeconds: 30,
  togetherSeconds: 52,
  rate: 100,
  points: 20,
  removedShare: 0.5,
  upArguments: ["--sync-interval", "500ms"],
});
console.log(JSON.stringify(report));
process.exitCode = report.bad.length > 0 || report.exitCode !== 0 ? 1 : 0;
