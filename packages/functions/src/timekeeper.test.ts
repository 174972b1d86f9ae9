import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { PageferryError, parseConfig, parseDatabaseName } from "@pageferry/format";
import { firstLine, segmentItem, snapshotItem } from "../testing/bolt-archive.ts";
import { createBoltModel } from "../testing/bolt-model.ts";
import { createAlarms } from "./alarms.ts";
import { replicaSetOf } from "./replicas.ts";
import type { Store } from "./store.ts";
import { memoryStore } from "./stores/memory.ts";
import { createTarget } from "./targets.ts";
import { createTimekeeper } from "./timekeeper.ts";

const minuteMs = 60_000;
const app = parseDatabaseName("app");
const beginMs = Date.UTC(2026, 5, 1);

/** Eight hours of a commit a minute, in each of the stores. */
async function open(t: TestContext, stores: readonly Store[] = [memoryStore()]) {
  const scratchDir = await mkdtemp(join(tmpdir(), "pageferry-timekeeper-"));
  t.after(() => rm(scratchDir, { recursive: true, force: true }));
  const alarms = createAlarms({ now: () => 0 });
  const clock = { nowMs: beginMs + 481 * minuteMs };
  const now = () => clock.nowMs;
  const noBody = () => Promise.reject(new Error("nothing is staged"));
  const targets = stores.map((store) =>
    createTarget(replicaSetOf(store, { now }), { stagedBody: noBody, alarms, now: () => 0, random: () => 0 }),
  );
  const model = createBoltModel({ hasFreelist: true });
  const line = firstLine(model, "a1", (id) => beginMs + id * minuteMs);
  for (let id = 2; id <= 480; id += 1) model.commit([{ key: id % 6, letter: id % 4, overflow: 0 }]);
  for (const { set } of targets) {
    const replica = await set.of(app);
    await replica.begin(line.begin, beginMs);
    await replica.putAll(line.generation, [await snapshotItem(line, 1)]);
    for (let id = 2; id <= 480; id += 1) {
      const item = { ...segmentItem(line, id - 1, id), receivedAtMs: line.stampMs(id) };
      await replica.putAll(line.generation, [item]);
    }
  }
  const config = parseConfig({ databases: ["app.db"] });
  const timekeeper = createTimekeeper({ targets, alarms, config, scratchDir, holder: "me", now });
  const task = (name: string) => {
    const found = timekeeper.tasks.find((one) => one.name === name);
    assert.ok(found !== undefined, name);
    return found.run(new AbortController().signal);
  };
  const names = async (at = 0) =>
    (await Array.fromAsync((stores[at] as Store).list("app/")))
      .map(({ name }) => name)
      .filter((name) => !name.startsWith("app/marks/"));
  return { alarms, clock, targets, timekeeper, task, names };
}

suite("a host, as time goes by,", () => {
  test("merges windows, builds a snapshot, and lets go of what is fine and old", async (t) => {
    const { task, names, clock } = await open(t);
    const before = (await names()).length;

    await task("compact");
    await task("snapshot");
    const full = await names();
    assert.ok(full.length > before);
    assert.equal(full.filter((name) => name.includes("/snapshots/")).length, 2);
    await task("prune");
    assert.deepEqual(
      (await names()).filter((name) => !name.includes("/marks/")),
      full,
      "nothing goes at once",
    );
    clock.nowMs += 16 * minuteMs;
    await task("prune");

    assert.ok((await names()).length < before / 2);
  });

  test("leaves work to another host that says it is at it", async (t) => {
    const { task, names, targets, clock } = await open(t);
    const replica = await targets[0]?.set.of(app);
    const lease = { version: 1, holder: "another", expiresAtMs: clock.nowMs + 5 * minuteMs };
    for (const name of ["snapshot", "prune"])
      await replica?.objects.replace(`marks/work-${name}.json`, Buffer.from(JSON.stringify(lease)));
    const before = await names();

    await task("snapshot");
    await task("prune");
    assert.deepEqual(await names(), before);
    clock.nowMs += 5 * minuteMs;
    await task("snapshot");

    assert.equal((await names()).filter((name) => name.includes("/snapshots/")).length, 2);
  });
});

suite("by hand", () => {
  test("all replicas are worked on, and one that fails stops no other", async (t) => {
    const broken: Store = {
      ...memoryStore(),
      name: "memory:2",
      replace: () => Promise.reject(new PageferryError("unavailable", "away")),
    };
    const { timekeeper } = await open(t, [memoryStore(), broken]);

    assert.equal((await timekeeper.compact(app)).replicas.length, 2);
    const { replicas, failures } = await timekeeper.prune(app);

    assert.equal(replicas.length, 1);
    assert.ok((replicas[0]?.marked ?? 0) > 0);
    assert.deepEqual(failures, [{ replica: "memory:2", why: "unavailable: away" }]);
  });

  test("a dry run changes nothing, and a replica that is not there is named", async (t) => {
    const { timekeeper, names } = await open(t);
    const before = await names();
    assert.ok(((await timekeeper.compact(app, { dryRun: true })).replicas[0]?.merged.length ?? 0) > 0);
    assert.deepEqual(await names(), before);
    await timekeeper.compact(app);
    const compacted = await names();
    const { replicas } = await timekeeper.prune(app, { dryRun: true });
    assert.ok((replicas[0]?.planned.length ?? 0) > 0);
    assert.deepEqual(await names(), compacted);
    await assert.rejects(timekeeper.compact(app, { replica: "s3://nobody" }), { code: "not-found" });
  });
});

test("an object that does not hold raises an alarm, which is over when it does", async (t) => {
  const store = memoryStore();
  const { task, names, alarms, targets, clock } = await open(t, [store]);
  const victim = (await names()).find((name) => name.includes("/segments/0000000000000010-")) ?? "";
  const bytes = Buffer.concat(await Array.fromAsync(await store.get(victim)));
  const broken = Buffer.from(bytes);
  broken[broken.length >> 1] = (broken[broken.length >> 1] ?? 0) ^ 1;
  const put = async (body: Uint8Array) => {
    await store.remove([victim]);
    await store.put(victim, body);
    await targets[0]?.set.opened().get(app)?.refresh();
  };
  await put(broken);

  await task("compact");
  assert.deepEqual(
    alarms.list().map(({ code }) => code),
    ["compact"],
  );
  await put(bytes);
  clock.nowMs += minuteMs;
  await task("compact");

  assert.deepEqual(alarms.list(), []);
});
