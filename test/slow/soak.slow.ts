// The long form of soak.test.ts: an hour, with troubles of up to half a minute, and a restore every 30 seconds of each database. PAGEFERRY_SOAK_MINUTES
// says another length, PAGEFERRY_SOAK_SEED the chance.
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertSoaked, tellTroubles } from "../soak/assert-soaked.ts";
import { runSoak } from "../soak-run.ts";
import { chance } from "../temporary.ts";

const minutes = Number(process.env.PAGEFERRY_SOAK_MINUTES ?? 60);
const seed = Number(process.env.PAGEFERRY_SOAK_SEED ?? chance().seed);

test(`a soak of ${minutes} minutes (seed ${seed}): no bad restore, nothing lost`, async (t) => {
  const report = await runSoak({
    ...{ seconds: minutes * 60, troubleMsMax: 15_000, restoreEveryMs: 10_000, recoverMsMax: 120_000, seed },
    onTrouble: tellTroubles(t),
  });
  t.diagnostic(JSON.stringify(report));

  assertSoaked(report);
  assert.ok(report.restores >= minutes * 2, `${report.restores} restores`);
});
