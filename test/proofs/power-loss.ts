// The long form of power-loss.test.ts, run by hand: `node -C @pageferry/source test/proofs/power-loss.ts [CRASHES] [SECONDS] [RATE]`. Prints its
// figures as JSON; ends with 1 if anything acknowledged was lost or bad.
import { runPowerLoss } from "../power-loss-run.ts";

const [crashes = "300", seconds = "30", rate = "100"] = process.argv.slice(2);
const report = await runPowerLoss({
  crashes: Number(crashes),
  seconds: Number(seconds),
  rate: Number(rate),
  onCrash: (crash, victim) => console.error(`${new Date().toISOString()} crash ${crash}: ${victim}`),
});
console.log(JSON.stringify(report));
process.exitCode = report.bad.length + report.lost.length > 0 ? 1 : 0;
