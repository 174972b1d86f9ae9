// A day and a year of one archive under the default policies, by the real decisions over names and sizes: see simulation.ts.
// The day is simulated whole, a commit and an object each second. The year has a commit every five minutes, so that the two finer windows hold one
// object each and are not merged; hours, snapshots, retention and prune are the same as the day's, and a snapshot is looked for once an hour.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type Config, parseConfig } from "@pageferry/format";
import { chance } from "../temporary.ts";
import { createSimulation, objectsOf } from "./simulation.ts";

const secondMs = 1000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** One snapshot, and so many segments: what a restore of any point fetches at most. */
const objectsMax = 1 + 64;

const config = parseConfig({ databases: [{ name: "app", path: "/var/lib/app/app.db" }] }) as Config;
const beginMs = Date.UTC(2026, 0, 1, 0, 7, 11);

suite("a day of a commit a second", () => {
  test("keeps every point within a snapshot and 64 objects, whenever it is asked", (t) => {
    const { seed, below, pick } = chance();
    const phaseMs = below(5) * secondMs;
    const day = createSimulation({
      ...{ config, beginMs, phaseMs },
      ...{ commitEveryMs: secondMs, snapshotLookMs: 5 * minuteMs },
    });
    // A day, and what came before it: prune has found its pace after three turns.
    const from = beginMs + 3 * hourMs;
    const moments = Array.from({ length: 1000 }, () => from + below(dayMs)).sort((a, b) => a - b);
    day.runUntil(from);
    const before = { ...day.requests };
    let [worst, worstOlder] = [0, 0];
    for (const moment of moments) {
      day.runUntil(moment);
      worst = Math.max(worst, objectsOf(day.listing()));
      const { txId } = pick(day.kept());
      worstOlder = Math.max(worstOlder, objectsOf(day.listing(), { txId }));
    }
    day.runUntil(from + dayMs);
    const requests = Object.fromEntries(
      Object.entries(day.requests).map(([what, count]) => [
        what,
        count - before[what as keyof typeof before],
      ]),
    );
    const held = `${day.objects()} objects, ${Math.round(day.bytes() / 1e6)} MB`;
    t.diagnostic(`the newest point: at most ${worst} objects; an older one: ${worstOlder}; ${held}`);
    t.diagnostic(`requests of the day: ${JSON.stringify(requests)}`);

    assert.ok(worst <= objectsMax, `${worst} objects lead to the newest point (seed ${seed})`);
    assert.ok(worstOlder <= objectsMax, `${worstOlder} objects lead to an older point (seed ${seed})`);
    assert.ok(day.due() <= 1, "windows that are over are merged");
    // What docs/operations.md says a day costs.
    assert.ok((requests.puts ?? 0) < 91_000, `${requests.puts} puts`);
    assert.ok((requests.gets ?? 0) < 110_000, `${requests.gets} gets`);
    assert.ok((requests.lists ?? 0) < 1000, `${requests.lists} lists`);
    assert.ok((requests.deletes ?? 0) < 500, `${requests.deletes} deletes`);
  });
});

suite("a year", () => {
  test("grows no archive, and keeps its days and weeks", (t) => {
    const year = createSimulation({
      ...{ config, beginMs },
      ...{ commitEveryMs: 5 * minuteMs, snapshotLookMs: hourMs },
    });
    const most = [
      { objects: 0, bytes: 0 },
      { objects: 0, bytes: 0 },
    ];
    for (let hour = 1; hour <= 365 * 24; hour += 1) {
      year.runUntil(beginMs + hour * hourMs);
      const half = most[hour <= (365 * 24) / 2 ? 0 : 1] as (typeof most)[number];
      half.objects = Math.max(half.objects, year.objects());
      half.bytes = Math.max(half.bytes, year.bytes());
    }
    const [first, second] = most as [(typeof most)[number], (typeof most)[number]];
    t.diagnostic(
      `at most ${JSON.stringify(first)} in the first half, ${JSON.stringify(second)} in the second`,
    );
    assert.ok(second.objects <= first.objects * 1.05, `${second.objects} objects, ${first.objects} before`);
    assert.ok(second.bytes <= first.bytes * 1.05, `${second.bytes} bytes, ${first.bytes} before`);

    const kept = (reason: "daily" | "weekly") =>
      year.kept().filter(({ reasons }) => reasons.includes(reason));
    assert.equal(kept("daily").length, config.retention.keepDaily);
    assert.equal(kept("weekly").length, config.retention.keepWeekly);
    for (const { txId } of year.kept()) assert.ok(objectsOf(year.listing(), { txId }) <= objectsMax);
  });
});
