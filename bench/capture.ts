// Capture alone: the share of transactions captured singly beside a writer that commits flat out. Also what it costs
// to judge: every run ends with images checked by bbolt.
import { type CaptureScenario, runCapture } from "../test/capture-run.ts";
import { medians } from "./machine.ts";

const scenarios: readonly CaptureScenario[] = [
  { name: "flat out, fsync", seconds: 15, images: 10, application: {} },
  { name: "flat out, fsync, 25 MB", seconds: 15, images: 5, application: { initialMB: 25 } },
  { name: "flat out, NoSync", seconds: 15, images: 10, application: { noSync: true } },
  { name: "flat out, NoFreelistSync", seconds: 15, images: 10, application: { noFreelistSync: true } },
  { name: "etcd, 40 puts/s", seconds: 15, images: 5, application: { etcdPuts: 40 } },
];

/** One line per scenario. */
export async function benchCapture(): Promise<Record<string, Record<string, number>>> {
  const results: Record<string, Record<string, number>> = {};
  for (const scenario of scenarios) {
    results[scenario.name] = await medians(3, async () => {
      const report = await runCapture(scenario);
      return {
        "tx/s": report.perSecond,
        "single share": report.singleShare,
        "widest range": report.widestRange,
        invalid: report.invalid.length,
      };
    });
  }
  return results;
}
