// The long form of capture.test.ts, run by hand: `node -C @pageferry/source test/proofs/capture.ts [NAME…]`.
// Prints one JSON line per run. Ends with 1 if an image was invalid.
import { type CaptureScenario, runCapture } from "../capture-run.ts";

const large = { noFreelistSync: true, initialMB: 2000, value: 1024, keys: 10 };
const scenarios: readonly CaptureScenario[] = [
  { name: "fsync", seconds: 60, images: 1150, application: {} },
  { name: "fsync-25MB", seconds: 60, images: 150, application: { initialMB: 25 } },
  { name: "nosync", seconds: 60, images: 300, application: { noSync: true } },
  { name: "nofreelistsync", seconds: 60, images: 300, application: { noFreelistSync: true } },
  {
    name: "nofreelistsync-25MB-100",
    seconds: 60,
    images: 100,
    application: { noFreelistSync: true, initialMB: 25, rate: 100 },
  },
  { name: "etcd", seconds: 60, images: 60, application: { etcdPuts: 40 } },
  { name: "2GB-nofreelistsync-20", seconds: 30, images: 3, application: { ...large, rate: 20 } },
  { name: "2GB-nofreelistsync-100", seconds: 30, images: 3, application: { ...large, rate: 100 } },
];

const wanted = process.argv.slice(2);
for (const scenario of scenarios) {
  if (wanted.length > 0 && !wanted.includes(scenario.name)) {
    continue;
  }
  const report = await runCapture(scenario);
  console.log(JSON.stringify(report));
  if (report.invalid.length > 0 || report.gaps.length > 0 || !report.equalsLiveFile) {
    process.exitCode = 1;
  }
}
