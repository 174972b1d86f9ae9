// Everybody has troubles, one after the other, and what is restored meanwhile is right. slow/soak.slow.ts is the long form.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { assertSoaked, tellTroubles } from "./soak/assert-soaked.ts";
import { loseSegment, spoilPage } from "./soak/spoil.ts";
import { runSoak } from "./soak-run.ts";
import { chance } from "./temporary.ts";

const seed = Number(process.env.PAGEFERRY_SOAK_SEED ?? chance().seed);

suite(`a soak of three live databases (seed ${seed})`, () => {
  test("gives no bad restore, and recovers from every trouble", async (t) => {
    const report = await runSoak({
      ...{ seconds: 45, troubleMsMax: 3000, restoreEveryMs: 1500, recoverMsMax: 60_000, seed },
      onTrouble: tellTroubles(t),
    });
    t.diagnostic(JSON.stringify(report));

    assertSoaked(report);
    assert.ok(report.restores > 15, `${report.restores} restores`);
  });

  test("sees a changed page, and a segment that is gone: the proof above can fail", async (t) => {
    let spoiled = 0;
    const report = await runSoak({
      ...{ seconds: 1, troubleMsMax: 100, restoreEveryMs: 1500, recoverMsMax: 60_000, seed },
      async onRestored(path) {
        spoiled += 1;
        if (spoiled % 2 === 0) await spoilPage(path);
      },
      onCalm: async ([database]) => loseSegment(database?.root ?? ""),
    });
    t.diagnostic(JSON.stringify(report));

    assert.ok(spoiled > 3, `${spoiled} restores`);
    assert.equal(new Set(report.bad.flatMap((what) => what.match(/restored-\d+/) ?? [])).size, spoiled >> 1);
    assert.ok(report.lost.length > 0);
  });
});
