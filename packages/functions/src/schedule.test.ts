import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PageferryError } from "@pageferry/format";
import { createAlarms } from "./alarms.ts";
import { startSchedule } from "./schedule.ts";

const open = () => {
  const alarms = createAlarms({ now: () => 0 });
  return { alarms, codes: () => alarms.list().map(({ code }) => code), random: () => 0 };
};

test("a task comes again and again, and never twice at a time", async () => {
  const { alarms, random } = open();
  let runs = 0;
  let atOnce = 0;
  let mostAtOnce = 0;
  const run = async () => {
    runs += 1;
    atOnce += 1;
    mostAtOnce = Math.max(mostAtOnce, atOnce);
    await sleep(25);
    atOnce -= 1;
  };
  const schedule = startSchedule([{ name: "slow", intervalMs: 5, run }], { alarms, random });
  await sleep(300);
  await schedule.stop();
  const stopped = runs;
  await sleep(50);

  equal(mostAtOnce, 1);
  equal(runs >= 3, true, `${runs} runs`);
  equal(runs, stopped);
});

test("a task that fails raises an alarm until it succeeds, and stops no other", async () => {
  const { alarms, codes, random } = open();
  let isBroken = true;
  let others = 0;
  const tasks = [
    {
      name: "broken",
      intervalMs: 5,
      run: () => {
        if (isBroken) throw new PageferryError("unavailable", "the store is away");
      },
    },
    {
      name: "other",
      intervalMs: 5,
      run: () => {
        others += 1;
      },
    },
  ];
  await using _ = { [Symbol.asyncDispose]: () => schedule.stop() };
  const schedule = startSchedule(tasks, { alarms, random });
  while (codes().length === 0 || others < 3) await sleep(5);
  deepEqual(codes(), ["maintenance-broken"]);

  isBroken = false;
  while (codes().length > 0) await sleep(5);
});

test("stopping ends what is under way, waits for it, and is no failure", async () => {
  const { alarms, codes, random } = open();
  let isDone = false;
  const run = async (signal: AbortSignal) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    await sleep(20);
    isDone = true;
    signal.throwIfAborted();
  };
  const schedule = startSchedule([{ name: "long", intervalMs: 60_000, firstAfterMs: 0, run }], {
    alarms,
    random,
  });
  await sleep(30);

  await schedule.stop();

  equal(isDone, true);
  deepEqual(codes(), []);
});
