// Capture alone beside real writers, in seconds; proofs/capture.ts is the long form with the figures.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type CaptureReport, type CaptureScenario, runCapture } from "./capture-run.ts";

/** Shares here only tell capture from a chain of diffs; how large they can be on a quiet machine is bench's to say. */
const scenarios: readonly (CaptureScenario & { readonly singleShareMin: number })[] = [
  { name: "flat out with fsync", seconds: 6, images: 30, application: {}, singleShareMin: 0.02 },
  { name: "flat out with NoSync", seconds: 4, images: 30, application: { noSync: true }, singleShareMin: 0 },
  {
    name: "with NoFreelistSync",
    seconds: 6,
    images: 30,
    application: { noFreelistSync: true },
    singleShareMin: 0.02,
  },
  {
    name: "with 16 KiB pages and large values",
    seconds: 4,
    images: 15,
    application: { pageSize: 16_384, overflow: 0.3, mapFreelist: true, rate: 200 },
    singleShareMin: 0.02,
  },
  {
    name: "at 100 commits a second on 25 MB, with bases in between",
    seconds: 5,
    images: 10,
    application: { initialMB: 25, rate: 100 },
    baseEveryMs: 1500,
    singleShareMin: 0.1,
  },
  { name: "of a live etcd", seconds: 6, images: 12, application: { etcdPuts: 40 }, singleShareMin: 0.5 },
];

function describe(report: CaptureReport): string {
  return JSON.stringify({ ...report, invalid: report.invalid.slice(0, 5) });
}

suite("capture", () => {
  for (const scenario of scenarios) {
    test(`gives committed states only, ${scenario.name}`, async (t) => {
      const report = await runCapture(scenario);

      t.diagnostic(describe(report));
      assert.deepEqual(report.invalid, []);
      assert.deepEqual(report.gaps, []);
      assert.ok(report.imagesJudged >= scenario.images / 3, describe(report));
      assert.ok(report.equalsLiveFile, describe(report));
      assert.ok(report.singleShare >= scenario.singleShareMin, describe(report));
    });
  }
});
