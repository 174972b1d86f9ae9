import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parseDatabaseName, parseObjectName } from "@pageferry/format";
import { historyOf } from "../testing/history.ts";
import { createAlarms } from "./alarms.ts";
import { createRepairs } from "./behind.ts";
import { ingestLane, startConsumer } from "./consumer.ts";
import { openQueue } from "./queue.ts";
import { createRelief, type LaneBounds } from "./relief.ts";
import { replicaSetOf } from "./replicas.ts";
import type { Store } from "./store.ts";
import { type FaultyOptions, faulty, seeded } from "./stores/faulty.ts";
import { memoryStore } from "./stores/memory.ts";
import { retrying } from "./stores/retrying.ts";
import { createTarget } from "./targets.ts";

const history = historyOf("a1");
const app = parseDatabaseName("app");
const wide: LaneBounds = { messagesMax: 10_000, bytesMax: 1e8, stagedBytesMax: 1e9 };

interface WorldOptions {
  readonly bounds?: LaneBounds;
  readonly queueBytesMax?: number;
  readonly deadlineMs?: number;
}

/** A queue, the loops over it, and a replica over each store. */
async function startWorld(t: TestContext, stores: readonly Store[], options: WorldOptions = {}) {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-consumer-"));
  const bytesMax = options.queueBytesMax ?? 1e9;
  const queue = openQueue({ path: join(directory, "queue.db"), now: Date.now, bytesMax });
  const alarms = createAlarms({ now: Date.now });
  const targets = stores.map((store) =>
    createTarget(replicaSetOf(store), {
      stagedBody: () => Promise.reject(new Error("nothing is staged")),
      alarms,
      now: () => performance.now(),
      random: () => 0,
      waiting: (lane) => queue.load(lane).messages,
    }),
  );
  const repairs = createRepairs({ queue, targets, alarms });
  const bounds = options.bounds ?? wide;
  const errors: unknown[] = [];
  const onError = (error: unknown) => errors.push(error);
  const relief = createRelief({ queue, targets, bounds, onShed: repairs.refresh, onError });
  const { deadlineMs = 5000 } = options;
  const consumer = startConsumer({ queue, targets, alarms, relief, random: () => 0, deadlineMs });
  t.after(async () => {
    await consumer.stop();
    await relief.stop();
    await queue.close();
    await rm(directory, { recursive: true, force: true });
    assert.deepEqual(errors, []);
  });
  const send = (at: number, bytes?: number) => {
    const body = history.envelope([history.segment(at, at + 1, bytes)]);
    return queue.send(ingestLane, { database: app, body, receivedAtMs: Date.now() });
  };
  return { queue, alarms, targets, repairs, relief, send };
}

async function until(what: string, condition: () => boolean | Promise<boolean>, ms = 30_000): Promise<void> {
  for (const end = performance.now() + ms; !(await condition()); await sleep(5)) {
    assert.ok(performance.now() < end, `it did not come in time: ${what}`);
  }
}

/** Transactions from `first` to `last` that a store does not hold. */
async function missingIn(store: Store, first: number, last: number): Promise<number[]> {
  const held = new Set<number>();
  for await (const { name } of store.list("")) {
    const parsed = parseObjectName(name.slice(name.indexOf("/") + 1));
    if (parsed?.kind !== "segment" && parsed?.kind !== "pack") continue;
    for (let txId = parsed.firstTxId; txId <= parsed.lastTxId; txId++) held.add(Number(txId));
  }
  return Array.from({ length: last - first + 1 }, (_, at) => first + at).filter((txId) => !held.has(txId));
}

/** A replica that can be frozen or dead, behind the retries that a remote one has. */
function openTroubled(faults: Partial<FaultyOptions>) {
  const inside = memoryStore({ name: "troubled:" });
  const given: FaultyOptions = { random: seeded(1), ...faults };
  return { inside, faults: given, store: retrying(faulty(inside, given), { idleMs: 300, attempts: 1 }) };
}

suite("a replica that is frozen", () => {
  test("delays no other by even one deadline, and has everything when it thaws", async (t) => {
    const good = memoryStore({ name: "good:" });
    const { store, inside, faults } = openTroubled({ stallShare: 1 });
    const { send, targets, queue } = await startWorld(t, [good, store]);
    let slowestMs = 0;

    for (let at = 4; at < 34; at++) {
      const startedMs = performance.now();
      await send(at);
      await until("the good one has it", async () => (await missingIn(good, at + 1, at + 1)).length === 0);
      slowestMs = Math.max(slowestMs, performance.now() - startedMs);
    }

    assert.ok(slowestMs < 3000, `one took ${Math.round(slowestMs)} ms`);
    await until("it is left alone", () => targets[1]?.health().state !== "closed");
    faults.stallShare = 0;
    await until("it caught up", async () => (await missingIn(inside, 5, 34)).length === 0);
    await until("nothing waits", () => queue.bytes() === 0);
    assert.equal(targets[1]?.health().state, "closed");
  });
});

test("a driver that hangs for ever is left alone after one deadline, and is no end of anything", async (t) => {
  const good = memoryStore({ name: "good:" });
  const never = () => new Promise<never>(() => undefined);
  const hung: Store = {
    ...memoryStore({ name: "hung:" }),
    put: never,
    list: () => ({ [Symbol.asyncIterator]: () => ({ next: never }) }),
  };
  const { send, targets, queue } = await startWorld(t, [good, hung], { deadlineMs: 100 });

  for (let at = 4; at < 14; at++) await send(at);
  await until("the good one has all", async () => (await missingIn(good, 5, 14)).length === 0);
  await until("the other is left alone", () => targets[1]?.health().failures === 1);

  await until("all wait for it", () => queue.load(targets[1]?.lane ?? "").messages === 10);
});

suite("a replica that is dead", () => {
  test("is asked by one message whether it is back, then gets the rest in packs", async (t) => {
    const good = memoryStore({ name: "good:" });
    const { store, inside, faults } = openTroubled({ unavailableShare: 1 });
    const { send, queue, targets } = await startWorld(t, [good, store]);
    for (let at = 4; at < 44; at++) await send(at);
    await until("all wait for it", () => queue.load(targets[1]?.lane ?? "").messages === 40);
    const stored: string[] = [];
    const put = inside.put;
    inside.put = (name, body, call) => {
      stored.push(name);
      return put(name, body, call);
    };

    faults.unavailableShare = 0;
    await until("it caught up", async () => (await missingIn(inside, 5, 44)).length === 0);

    const objects = stored.map((name) => parseObjectName(name.slice(4))).filter((name) => name !== undefined);
    const states = objects.flatMap((name) =>
      "lastTxId" in name ? [Number(name.lastTxId - name.firstTxId) + 1] : [],
    );
    assert.equal(states[0], 1);
    assert.ok(states.length < 20, `${states.length} objects`);
  });

  test("fills no queue: its lane lets go of what another has, says so, and is brought up by a repair", async (t) => {
    const good = memoryStore({ name: "good:" });
    const { store, inside, faults } = openTroubled({ unavailableShare: 1 });
    const bounds = { messagesMax: 20, bytesMax: 30_000, stagedBytesMax: 1e9 };
    const world = await startWorld(t, [good, store], { bounds, queueBytesMax: 100_000 });
    const { send, queue, targets, repairs, alarms } = world;
    const lane = targets[1]?.lane ?? "";

    for (let at = 4; at < 204; at++) await send(at, 1024);
    await until("the good one has all", async () => (await missingIn(good, 5, 204)).length === 0);
    await until("the lane is within its bound", () => queue.load(lane).messages <= 20);

    const need = repairs.needsRepair("troubled:", "app");
    assert.ok(need !== undefined);
    assert.deepEqual(
      alarms.list("app").map(({ code, replica }) => [code, replica]),
      [["behind", "troubled:"]],
    );
    assert.equal(repairs.needsRepair("good:", "app"), undefined);
    faults.unavailableShare = 0;
    await until("what waited is there", () => queue.load(lane).messages === 0);
    assert.deepEqual(await missingIn(inside, 204, 204), []);
    assert.notDeepEqual(await missingIn(inside, 5, 204), []);
    assert.equal(repairs.repaired(need), true);
    assert.deepEqual(alarms.list("app"), []);
  });

  test("together with all others loses nothing: what is acknowledged waits, and a full queue says so", async (t) => {
    const [one, two] = [openTroubled({ unavailableShare: 1 }), openTroubled({ unavailableShare: 1 })];
    const other = { ...two.store, name: "other:" };
    const bounds = { messagesMax: 5, bytesMax: 4000, stagedBytesMax: 1e9 };
    const world = await startWorld(t, [one.store, other], { bounds, queueBytesMax: 20_000 });
    const acknowledged: number[] = [];
    let refused = 0;

    for (let at = 4; at < 64; at++) {
      const outcome = await world.send(at, 1024).then(
        () => acknowledged.push(at + 1),
        (error: { code: string }) => error.code,
      );
      if (outcome === "unavailable") refused += 1;
      world.relief.relieve();
    }

    assert.ok(refused > 0 && acknowledged.length > 5, `${refused} refused, ${acknowledged.length} taken`);
    await until("lanes", () => world.queue.load(ingestLane).messages === 0);
    assert.deepEqual(world.repairs.all(), []);
    for (const { faults } of [one, two]) faults.unavailableShare = 0;
    for (const { inside } of [one, two]) {
      await until("it caught up", async () => {
        const missing = new Set(await missingIn(inside, 5, 64));
        return acknowledged.every((txId) => !missing.has(txId));
      });
    }
  });
});
