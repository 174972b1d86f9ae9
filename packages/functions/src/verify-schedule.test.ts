import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDatabaseName } from "@pageferry/format";
import type { Target } from "./targets.ts";
import type { VerifiedStatus } from "./verified.ts";
import { verifyTask } from "./verify-schedule.ts";

const dayMs = 86_400_000;
const app = parseDatabaseName("app");

function open() {
  const clock = { nowMs: 100 * dayMs, monotonicMs: 0 };
  const last = new Map<string, number>();
  const asked: string[] = [];
  const targets = [{ name: "a" }, { name: "b" }] as unknown as Target[];
  const task = verifyTask({
    ...{ intervalMs: dayMs, targets, now: () => clock.nowMs, monotonic: () => clock.monotonicMs },
    databases: async () => [app],
    verified: {
      of({ name }) {
        const atMs = last.get(name);
        return atMs === undefined ? null : ({ time: new Date(atMs).toISOString() } as VerifiedStatus);
      },
    },
    async verify(database) {
      asked.push(database);
    },
  });
  const look = async () => {
    await task.run(new AbortController().signal);
    return asked.splice(0).length;
  };
  const pass = (ms: number) => {
    clock.nowMs += ms;
    clock.monotonicMs += ms;
  };
  return { clock, last, look, pass };
}

test("a database is verified a day after it was verified last, by evidence, and when it never was", async () => {
  const { clock, last, look, pass } = open();
  assert.equal(await look(), 0, "evidence is only asked for");
  assert.equal(await look(), 1, "it never was");
  for (const name of ["a", "b"]) last.set(name, clock.nowMs);
  pass(dayMs - 1);
  assert.equal(await look(), 0);
  pass(1);
  assert.equal(await look(), 1);
});

test("a replica that could not be verified is tried again after an hour, and not before", async () => {
  const { clock, last, look, pass } = open();
  last.set("a", clock.nowMs);
  await look();
  assert.equal(await look(), 1);
  last.set("a", clock.nowMs);
  pass(60 * 60_000 - 1);
  assert.equal(await look(), 0);
  pass(1);
  assert.equal(await look(), 1);
});

test("evidence from a time to come proves nothing", async () => {
  const { clock, last, look } = open();
  for (const name of ["a", "b"]) last.set(name, clock.nowMs + 1000);
  await look();
  assert.equal(await look(), 1);
});
