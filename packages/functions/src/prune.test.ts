import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseGeneration, type TxId, txId } from "@pageferry/format";
import {
  firstLine,
  holdsState,
  type ModelLine,
  restoreImage,
  segmentItem,
  snapshotItem,
} from "../testing/bolt-archive.ts";
import { createBoltModel } from "../testing/bolt-model.ts";
import { dyingStore } from "../testing/dying-store.ts";
import { goPolicy } from "../testing/policy.ts";
import { createReplica, type Replica } from "./replica.ts";
import type { RetentionPolicy } from "./retention.ts";
import { memoryStore } from "./stores/memory.ts";
import { addLease, addPin, listPins, removePin } from "./wanted-points.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const beginMs = Date.UTC(2026, 5, 1);
const generation = parseGeneration("00000000000000a1");

/** A commit an hour, each sent at once; snapshots of the transactions named. */
async function open(commits: number, snapshots: readonly number[], store = memoryStore()) {
  const model = createBoltModel({ hasFreelist: true });
  for (let at = 1; at < commits; at += 1) model.commit([{ key: at % 6, letter: at % 5, overflow: at % 3 }]);
  const line = firstLine(model, "a1", (id) => beginMs + id * hourMs);
  const clock = { nowMs: beginMs + commits * hourMs };
  const replica = createReplica(store, { root: "app", now: () => clock.nowMs });
  await replica.begin(line.begin, beginMs);
  for (const id of snapshots) await replica.putAll(generation, [await snapshotItem(line, id)]);
  for (let id = 2; id <= commits; id += 1) {
    const item = { ...segmentItem(line, id - 1, id), receivedAtMs: beginMs + id * hourMs };
    await replica.putAll(generation, [item]);
  }
  return { store, replica, line, clock };
}

const namesOf = async (replica: Replica) =>
  (await Array.fromAsync(replica.reader.list()))
    .map(({ name }) => name)
    .filter((name) => !name.startsWith("marks/"));

const point = (id: number) => ({ generation, txId: txId(id) });

async function assertRestores(
  replica: Replica,
  line: ModelLine,
  ids: readonly (number | TxId)[],
): Promise<void> {
  for (const id of ids) {
    const image = await restoreImage(replica, { txId: txId(Number(id)) });
    assert.ok(holdsState(image, line.model, Number(id)), `transaction ${id}`);
  }
}

suite("a prune", () => {
  test("says what would go, why, and what remains, and changes nothing", async () => {
    const { replica } = await open(20, [1, 10]);
    const before = await Array.fromAsync(replica.reader.list());

    const report = await replica.prune(undefined, goPolicy(5 * hourMs), { dryRun: true });

    assert.deepEqual(await Array.fromAsync(replica.reader.list()), before);
    // The segment that ends at the snapshot stays: it alone says when that was received.
    assert.equal(report.planned.length, 9);
    assert.ok(report.planned.every(({ why, size }) => why.startsWith("older than") && size > 0));
    assert.equal(report.kept[0]?.txId, 20n);
    assert.deepEqual([report.marked, report.removed, report.bytesFreed], [0, [], 0]);
  });

  test("marks, waits, and deletes only then; what is kept restores all the time", async () => {
    const { replica, line, clock } = await open(20, [1, 10]);
    const all = await namesOf(replica);

    const first = await replica.prune(undefined, goPolicy(5 * hourMs));
    assert.deepEqual([first.marked, first.removed], [9, []]);
    assert.deepEqual(await namesOf(replica), all);
    clock.nowMs += 14 * minuteMs;
    assert.deepEqual((await replica.prune(undefined, goPolicy(5 * hourMs))).removed, []);
    clock.nowMs += minuteMs;

    const last = await replica.prune(undefined, goPolicy(5 * hourMs));

    assert.equal(last.removed.length, 9);
    assert.ok(last.bytesFreed > 0);
    assert.equal((await namesOf(replica)).length, all.length - 9);
    await assertRestores(
      replica,
      line,
      last.kept.map(({ txId: id }) => id),
    );
  });

  test("spares what somebody began to read after it was marked, until the lease is over", async () => {
    const { replica, line, clock } = await open(20, [1, 10]);
    await replica.prune(undefined, goPolicy(5 * hourMs));
    await addLease(replica.objects, point(5), "restore", clock.nowMs);
    clock.nowMs += 16 * minuteMs;

    const during = await replica.prune(undefined, goPolicy(5 * hourMs));
    await assertRestores(replica, line, [5]);
    clock.nowMs += hourMs;
    await replica.prune(undefined, goPolicy(5 * hourMs));
    clock.nowMs += 16 * minuteMs;
    const after = await replica.prune(undefined, goPolicy(5 * hourMs));

    assert.equal(during.removed.length, 4);
    assert.ok(after.removed.length >= 5);
    assert.ok(!(await namesOf(replica)).some((name) => name.startsWith("leases/")));
  });

  test("spares what is pinned, until it is let go", async () => {
    const { replica, line, clock } = await open(20, [1, 10]);
    assert.equal(await addPin(replica.objects, { ...point(4), note: "before" }, clock.nowMs), "stored");
    assert.equal(await addPin(replica.objects, point(4), clock.nowMs + 1), "present");
    assert.deepEqual(await listPins(replica.objects), [
      { ...point(4), createdAtMs: clock.nowMs, note: "before" },
    ]);

    const { kept } = await replica.prune(undefined, goPolicy(hourMs), { graceMs: 0 });
    assert.deepEqual(kept.find(({ txId: id }) => id === 4n)?.reasons, ["pinned"]);
    await assertRestores(replica, line, [4, 20]);
    await removePin(replica.objects, point(4));

    const { removed } = await replica.prune(undefined, goPolicy(hourMs), { graceMs: 0 });
    assert.ok(removed.length >= 4);
  });

  test("goes by receipt: a host whose clock is a year ahead, or behind, ages nothing out", async () => {
    for (const wrongMs of [365 * dayMs, -365 * dayMs]) {
      const { replica, line, clock } = await open(10, [1]);
      const wrong: ModelLine = { ...line, stampMs: (id) => line.stampMs(id) + wrongMs };
      for (let id = 11; id <= 30; id += 1) {
        line.model.commit([{ key: id % 6, letter: id % 5, overflow: 0 }]);
        clock.nowMs += minuteMs;
        await replica.putAll(generation, [{ ...segmentItem(wrong, id - 1, id), receivedAtMs: clock.nowMs }]);
      }
      const policy: RetentionPolicy = { ...goPolicy(2 * hourMs), keepDaily: 3 };
      const { kept } = await replica.prune(undefined, policy, { graceMs: 0 });
      assert.ok(kept.some(({ txId: id }) => id === 30n));
      assert.ok(
        kept.filter(({ reasons }) => reasons.includes("fine")).length >= 20,
        `${kept.length} are kept`,
      );
      await assertRestores(
        replica,
        line,
        kept.map(({ txId: id }) => id),
      );
    }
  });

  test("keeps a point of each of the last days, however many points one day has", async () => {
    const { replica, line, clock } = await open(5 * 24, [1]);
    for (let id = 5 * 24 + 1; id <= 5 * 24 + 200; id += 1) {
      line.model.commit([{ key: id % 6, letter: id % 7, overflow: 0 }]);
      clock.nowMs += 1000;
      await replica.putAll(generation, [{ ...segmentItem(line, id - 1, id), receivedAtMs: clock.nowMs }]);
    }
    const { kept } = await replica.prune(undefined, { ...goPolicy(minuteMs), keepDaily: 4 }, { graceMs: 0 });
    const days = kept.filter(({ reasons }) => reasons.includes("daily"));
    const numbers = new Set(days.map(({ receivedMs }) => Math.floor(receivedMs / dayMs)));
    assert.equal(numbers.size, 4);
    await assertRestores(
      replica,
      line,
      days.map(({ txId: id }) => id),
    );
  });

  test("twice at once, or after a death at any call, loses nothing and is done in the end", async () => {
    for (let calls = 0; calls < 40; calls += 1) {
      const dying = dyingStore(memoryStore());
      const { replica, line, clock } = await open(12, [1, 6], dying.store);
      const again = () => createReplica(dying.store, { root: "app", now: () => clock.nowMs });
      const policy = goPolicy(3 * hourMs);
      await replica.prune(undefined, policy);
      clock.nowMs += 16 * minuteMs;
      dying.dieAfter(calls, calls % 2 === 0);
      await replica.prune(undefined, policy).catch(() => undefined);
      dying.revive();
      await assertRestores(again(), line, [9, 10, 11, 12]);
      await Promise.all([again().prune(undefined, policy), again().prune(undefined, policy)]);
      clock.nowMs += 16 * minuteMs;
      const { planned } = await again().prune(undefined, policy);
      assert.deepEqual(planned, []);
      await assertRestores(again(), line, [9, 10, 11, 12]);
    }
  });

  test("takes a mark that is broken for none, and one from the future for new", async () => {
    const { replica, clock } = await open(12, [1, 6]);
    const policy = goPolicy(3 * hourMs);
    const doomed = (await replica.prune(undefined, policy, { dryRun: true })).planned.map(({ name }) => name);
    await replica.objects.replace("marks/prune-1.json", Buffer.from("{"));
    const ahead = { version: 1, markedAtMs: clock.nowMs + dayMs, names: doomed };
    await replica.objects.replace("marks/prune-2.json", Buffer.from(JSON.stringify(ahead)));
    assert.deepEqual((await replica.prune(undefined, policy)).removed, []);
    clock.nowMs += 16 * minuteMs;
    assert.equal((await replica.prune(undefined, policy)).removed.length, doomed.length);
  });

  test("forgets a mark when its object is wanted again", async () => {
    const { replica, line, clock } = await open(12, [1, 6]);
    await replica.prune(undefined, goPolicy(3 * hourMs));
    clock.nowMs += 16 * minuteMs;
    assert.deepEqual((await replica.prune(undefined, goPolicy(99 * hourMs))).removed, []);
    assert.deepEqual((await replica.prune(undefined, goPolicy(3 * hourMs))).removed, []);
    await assertRestores(replica, line, [2, 12]);
  });
});
