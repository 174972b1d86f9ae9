// The long form of crash.test.ts, run by hand: `node -C @pageferry/source test/proofs/crash.ts [KILLS] [RATE]`. Prints
// its figures as JSON; ends with 1 if anything acknowledged was lost or bad.
import { runCrashes } from "../crash-run.ts";

const [kills = "200", rate = "0"] = process.argv.slice(2);
const report = await runCrashes({
  kills: Number(kills),
  pointsPerKill: 5,
  pointsAtEnd: Number.POSITIVE_INFINITY,
  aliveMsMax: 2500,
  application: { rate: Number(rate) },
  syncInterval: "250ms",
  snapshotInterval: "60s",
  onKill: (kill, victim) => console.error(`${new Date().toISOString()} kill ${kill}: ${victim}`),
});
console.log(JSON.stringify(report));
const isBad = report.bad.length + report.lost.length + report.nameless.length > 0 || !report.newestEqualsLive;
process.exitCode = isBad ? 1 : 0;
