import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { predictRestore } from "./restore-prediction.ts";

const mb = 1_000_000;

suite("a prediction", () => {
  const cases: Record<string, { sizes: number[]; speed?: [number, number]; seconds: number }> = {
    "of one small object from an unknown reader": { sizes: [1000], seconds: 0.1 },
    "of 100 MB at the assumed 10 MB/s": { sizes: [100 * mb], seconds: 10.1 },
    "of 100 MB at measured 50 MB/s": { sizes: [100 * mb], speed: [10, 50_000], seconds: 2.1 },
    "of 100 MB from a local disk, which is as fast as it is applied": {
      ...{ sizes: [100 * mb], speed: [0.5, 500_000], seconds: 1 },
    },
    "of 800 small objects, eight at a time": {
      sizes: Array(800).fill(10),
      speed: [100, 10_000],
      seconds: 10.1,
    },
  };
  for (const [name, { sizes, speed, seconds }] of Object.entries(cases)) {
    test(name, () => {
      const [latencyMs, bytesPerMs] = speed ?? [];
      const known =
        latencyMs === undefined || bytesPerMs === undefined ? undefined : { latencyMs, bytesPerMs };

      const bytes = sizes.reduce((sum, size) => sum + size, 0);

      assert.equal(predictRestore({ bytes, objects: sizes.length }, known), seconds);
    });
  }
});
