// A host that is away for a day: what its agent keeps meanwhile is bounded, and so is what the return costs.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { runAwayDay } from "./away-day-run.ts";

const mb = 2 ** 20;

/** Some 5 MB of live pages, nearly all of which are written again. */
const application = { initialMB: 4, keyspace: 5000, noSync: true };

/** What is committed between two looks at the bound, a second each, and while what is there is merged. */
const betweenLooks = 16 * mb;

/** The longest pause of an agent that tries again, and what sending takes. */
const caughtUpMsMax = 60_000;

suite("a host that was away for a day", () => {
  test("gets what the shadow was squashed to, and every point it then claims is one", async (t) => {
    const shadowBytesMax = 16 * mb;
    const report = await runAwayDay({
      commits: 20_000,
      rate: 1500,
      shadowBytesMax,
      restores: 20,
      application,
    });
    t.diagnostic(JSON.stringify(report));

    assert.ok(report.commits >= 20_000 && report.hoursAway >= 24);
    assert.deepEqual([report.bad, report.alarmsLeft, report.generations], [[], [], 1]);
    assert.ok(report.pointsAway > 0);
    assert.ok(report.shadowBytesPeak <= shadowBytesMax + betweenLooks, `${report.shadowBytesPeak} bytes`);
    // Old and merged files are there together for a moment.
    assert.ok(report.diskBytesPeak <= 2 * (shadowBytesMax + betweenLooks), `${report.diskBytesPeak} bytes`);
    assert.ok(report.sentBytes <= shadowBytesMax + betweenLooks, `${report.sentBytes} bytes`);
    assert.ok(report.caughtUpMs <= caughtUpMsMax, `${report.caughtUpMs} ms`);
    // Nothing that was in the shadow is given up: only points are.
    assert.equal(report.alarms.includes("gap"), false);
  });

  test("gets a snapshot where the shadow may not hold even the database once", async (t) => {
    const report = await runAwayDay({
      commits: 3000,
      rate: 1500,
      shadowBytesMax: mb,
      restores: 10,
      untilAlarm: "gap",
      application,
    });
    t.diagnostic(JSON.stringify(report));

    assert.ok(report.hoursAway >= 24 && report.alarms.includes("gap"));
    assert.deepEqual([report.bad, report.alarmsLeft, report.generations], [[], [], 1]);
    assert.ok(report.shadowBytesPeak <= 2 * report.databaseBytes, `${report.shadowBytesPeak} bytes`);
    assert.ok(report.sentBytes <= 2 * report.databaseBytes, `${report.sentBytes} bytes`);
    assert.ok(report.caughtUpMs <= caughtUpMsMax, `${report.caughtUpMs} ms`);
  });
});
