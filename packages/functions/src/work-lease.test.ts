import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { PageferryError } from "@pageferry/format";
import { rootedStore } from "./rooted-store.ts";
import { memoryStore } from "./stores/memory.ts";
import { withWorkLease } from "./work-lease.ts";

function open() {
  const store = rootedStore(memoryStore(), "app");
  const clock = { nowMs: 1_000_000 };
  const now = () => clock.nowMs;
  const as = (holder: string, work: () => Promise<string> = async () => holder) =>
    withWorkLease(store, { task: "compact", holder, now }, work);
  return { store, clock, as };
}

test("work that another does is left to them, until they are done", async () => {
  const { as } = open();
  const inside = await as("a", async () => String(await as("b")));
  equal(inside, "undefined");
  equal(await as("b"), "b");
});

test("who has died is waited for ten minutes, whoever has a wrong clock not at all", async () => {
  const { store, clock, as } = open();
  const lease = (expiresAtMs: number) =>
    store.replace(
      "marks/work-compact.json",
      Buffer.from(JSON.stringify({ version: 1, holder: "dead", expiresAtMs })),
    );
  await lease(clock.nowMs + 600_000);
  equal(await as("b"), undefined);
  clock.nowMs += 600_000;
  equal(await as("b"), "b");
  await lease(clock.nowMs + 365 * 86_400_000);
  equal(await as("b"), "b");
});

test("a lease that cannot be read keeps nobody away, and the same host goes on after a crash", async () => {
  const { store, as } = open();
  await store.replace("marks/work-compact.json", Buffer.from("{"));
  equal(await as("a"), "a");
  await rejects(
    as("a", () => Promise.reject(new PageferryError("unavailable", "the store is away"))),
    { code: "unavailable" },
  );
  deepEqual([await as("a"), await as("b")], ["a", "b"]);
});
