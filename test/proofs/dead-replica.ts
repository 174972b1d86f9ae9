// The long form of dead-replica.test.ts, run by hand on a quiet machine: `node -C @pageferry/source test/proofs/dead-replica.ts
// [SECONDS [ROUNDS [RATE]]]`. Absent, dead and frozen take turns; prints one JSON line per run, and the medians at the end. Ends
// with 1 if the file replica's median with a dead or frozen one is more than 10 % above that without.
import { type LatencyReport, measureLatency, type Trouble } from "../dead-replica-run.ts";
import { quantile } from "../temporary.ts";

const [seconds = 20, rounds = 3, rate = 100] = process.argv.slice(2).map(Number);
const troubles: readonly Trouble[] = ["absent", "dead", "frozen"];
const reports: LatencyReport[] = [];
for (let round = 0; round < rounds; round++) {
  for (const trouble of troubles) {
    const report = await measureLatency({ trouble, seconds, rate });
    console.log(JSON.stringify(report));
    reports.push(report);
  }
}
const medianOf = (trouble: Trouble, key: "p50Ms" | "p99Ms") =>
  quantile(
    reports.filter((report) => report.trouble === trouble).map((report) => report[key]),
    0.5,
  );
const absentMs = medianOf("absent", "p50Ms");
for (const trouble of troubles) {
  const [p50Ms, p99Ms] = [medianOf(trouble, "p50Ms"), medianOf(trouble, "p99Ms")];
  console.log(
    JSON.stringify({ trouble, p50Ms, p99Ms, ofAbsent: Math.round((p50Ms / absentMs) * 100) / 100 }),
  );
  if (p50Ms > absentMs * 1.1) {
    process.exitCode = 1;
  }
}
