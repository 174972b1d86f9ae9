// What has to be true of every soak, the short and the long.
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import type { SoakReport } from "../soak-run.ts";
import type { Trouble } from "./troubles.ts";

/** Nothing was bad, nothing is lost, all kinds of trouble were there, and no trouble ended a history. */
export function assertSoaked(report: SoakReport): void {
  assert.deepEqual([report.bad, report.lost], [[], []]);
  assert.deepEqual(Object.keys(report.troubles).toSorted(), [
    ...["cut", "freeze", "kill", "restart", "shift", "silence", "slow"],
  ]);
  assert.equal(Object.keys(report.befell).length, 8, Object.keys(report.befell).join(", "));
  assert.ok(Object.values(report.commits).every((commits) => commits > 100));
  assert.ok(report.acknowledged > 30, `${report.acknowledged} acknowledged`);
  assert.ok(report.compared > 0);
  // Same files, same boot: the history goes on.
  for (const generations of Object.values(report.generations)) assert.equal(generations.length, 1);
  assert.deepEqual(report.exitCodes, [0, 0]);
}

/** Says what happens when, for whoever has to find out. */
export function tellTroubles(t: TestContext): (trouble: Trouble) => void {
  const begunMs = performance.now();
  return ({ kind, who }) =>
    t.diagnostic(`${((performance.now() - begunMs) / 1000).toFixed(1)} s: ${kind} ${who}`);
}
