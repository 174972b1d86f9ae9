import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  assertAllRestore,
  movableFile,
  pointsOf,
  startBench,
  temporary,
  until,
} from "../testing/agent-bench.ts";
import { createModel } from "../testing/model-database.ts";
import { assertRestores, startTinyHost } from "../testing/tiny-host.ts";
import { type AgentOptions, createAgent } from "./agent.ts";
import { createHttpQueue } from "./queues/http.ts";

suite("an agent", () => {
  test("sends a snapshot first, and then every commit so that each acknowledged point restores", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file);
    await bench.settled();

    for (let round = 0; round < 10; round += 1) {
      file.commit(7);
      await bench.settled();
    }

    const generation = bench.generation();
    assert.match([...host.objects.keys()][0] ?? "", /\/snapshots\//);
    const points = pointsOf(host, generation);
    assert.equal(points.at(-1), 71);
    await assertAllRestore(host, generation, file.model, [1, ...points]);
    assert.deepEqual(bench.status().alarms, []);
    assert.equal(bench.status().lagMs, 0);
    assert.deepEqual(
      [...host.begins.values()].map(({ epoch, reason, parent }) => [epoch, reason, parent]),
      [[1, "first", null]],
    );
  });

  test("with granularity transaction sends every captured commit as a point", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file, { granularity: "transaction" });

    file.commit(50);
    await bench.settled();

    const generation = bench.generation();
    assert.deepEqual(
      pointsOf(host, generation),
      Array.from({ length: 50 }, (_, index) => index + 2),
    );
    await assertAllRestore(host, generation, file.model, pointsOf(host, generation));
  });

  test("goes on with the same generation after a restart, with one range for what was missed", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const generations = new Set<string>();
    for (let start = 0; start < 4; start += 1) {
      await using bench = await startBench(host, directory.path, file);
      file.commit(5);
      await bench.settled();
      generations.add(bench.generation());
      await bench.agent.stop();
      file.set(file.newest() + 5);
    }

    await using bench = await startBench(host, directory.path, file);
    await bench.settled();

    assert.deepEqual([...generations], [bench.generation()]);
    await assertAllRestore(host, bench.generation(), file.model, pointsOf(host, bench.generation()));
    assert.equal([...host.objects.keys()].filter((name) => name.includes("/snapshots/")).length, 1);
  });

  test("sends what is committed while it is stopped", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const bench = await startBench(host, directory.path, file, { syncIntervalMs: 60_000 });
    await bench.settled();
    file.commit(3);
    file.set(file.newest() + 2);

    await bench.agent.stop();

    assert.equal(bench.status().acknowledgedTxId, BigInt(file.newest()));
    await assertRestores(host, bench.generation(), file.model.at(file.newest()));
  });

  test("sends what is captured at once when it is told to, whatever its interval is", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file, { syncIntervalMs: 60_000 });
    await bench.settled();
    // The first batch is not waited for.
    file.commit(1);
    await bench.settled();
    file.commit(3);
    const newest = BigInt(file.newest());
    await until("it is captured", () => bench.status().shadowedTxId === newest);
    assert.notEqual(bench.status().acknowledgedTxId, newest);

    bench.agent.hasten("app");
    bench.agent.hasten("another");

    await until("it is sent", () => bench.status().acknowledgedTxId === newest, 10_000);
  });

  test("whose host is down at start captures into its shadow, and begins when it answers", async () => {
    await using first = await startTinyHost();
    const { port } = first;
    await first[Symbol.asyncDispose]();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(first, directory.path, file);
    file.commit(20);
    await until("an alarm", () => bench.status().alarms.some(({ code }) => code === "unavailable"));
    await until("the shadow", () => bench.status().shadowedTxId === 21n);
    assert.equal(bench.status().epoch, null);

    await using host = await startTinyHost(port);
    await bench.settled();

    await assertRestores(host, bench.generation(), file.model.at(21));
    assert.equal(bench.status().epoch, 1);
    assert.deepEqual(bench.status().alarms, []);
  });

  test("loses nothing and repeats nothing that matters when answers are lost", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    let calls = 0;
    host.intercept = () => {
      calls += 1;
      return calls % 3 === 0 ? "lose" : undefined;
    };
    await using bench = await startBench(host, directory.path, file, { random: () => 0 });

    for (let round = 0; round < 5; round += 1) {
      file.commit(3);
      await bench.settled();
    }

    await assertAllRestore(host, bench.generation(), file.model, pointsOf(host, bench.generation()));
  });

  test("begins a bridged generation when the file is replaced by a later one, and names its parent", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file);
    file.commit(10);
    await bench.settled();
    const before = bench.generation();

    file.inode = "2";
    file.model = createModel(2);
    file.commit(4, "at once");
    await until("another generation", () => bench.generation() !== before);
    await bench.settled();

    const begin = host.begins.get(bench.generation());
    assert.deepEqual(
      [begin?.reason, begin?.parent, begin?.epoch],
      ["replaced", { generation: before, txId: 11n }, 2],
    );
    assert.equal([...host.objects.keys()].filter((name) => name.includes("/snapshots/")).length, 1);
    await assertRestores(host, bench.generation(), file.model.at(15));
    await assertRestores(host, before, createModel(1).at(11));
  });

  test("begins a generation with a snapshot when the file went back in time", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file);
    file.commit(10);
    await bench.settled();
    const before = bench.generation();

    file.inode = "2";
    file.set(5);
    file.source?.capture();
    await until("another generation", () => bench.generation() !== before);
    file.commit(3);
    await bench.settled();

    await assertRestores(host, bench.generation(), file.model.at(8));
    await assertRestores(host, before, file.model.at(11));
    assert.equal([...host.objects.keys()].filter((name) => name.includes("/snapshots/")).length, 2);
  });

  test("is refused where another one has the database, and disturbs it in nothing", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file);

    await assert.rejects(startBench(host, directory.path, movableFile()), { code: "locked" });

    file.commit(3);
    await bench.settled();
  });

  test("gives stamps that never fall, when the clock goes back", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    let nowMs = 1_800_000_000_000;
    const options = { granularity: "transaction", now: () => nowMs } as const;
    const bench = await startBench(host, directory.path, file, options);
    file.commit(2);
    await bench.settled();
    nowMs -= 3_600_000;
    file.commit(2);
    await bench.settled();
    await bench.agent.stop();
    nowMs -= 3_600_000;
    await using again = await startBench(host, directory.path, file, options);
    file.commit(2);
    await again.settled();

    const stamps = [...host.objects.keys()].flatMap(
      (name) => /-([0-9a-f]{12})\.segment/.exec(name)?.[1] ?? [],
    );

    assert.equal(stamps.length, 6);
    assert.deepEqual(stamps, stamps.toSorted());
  });

  test("tells the host that it lives, with the newest transaction it has seen", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file);
    file.commit(2);
    await bench.settled();
    const before = host.envelopes.length;

    await until("two heartbeats", () => host.envelopes.length >= before + 2);

    const heartbeat = host.envelopes.at(-1);
    assert.deepEqual([heartbeat?.items, heartbeat?.newestTxId], [[], 3n]);
  });

  test("is refused for databases of one name, or with a name that is none", () => {
    const queue = createHttpQueue({ url: "http://127.0.0.1:1" });
    const make = (databases: AgentOptions["databases"]) => () =>
      createAgent({ databases, queue, shadowDir: "shadow" });

    assert.throws(make(["a/app.db", "b/app.db"]), { code: "bad-config" });
    assert.throws(make([{ path: "a.db", name: "../a" }]), { code: "bad-name" });
  });

  test("tells what happens as events, and is not disturbed by who listens", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file);
    const told: bigint[] = [];
    bench.agent.on("acknowledged", () => {
      throw new RangeError("a listener's own mistake");
    });
    const off = bench.agent.on("acknowledged", ({ txId, kind }) => {
      if (kind === "segment") told.push(txId);
    });

    file.commit(1);
    await bench.settled();
    off();
    file.commit(1);
    await bench.settled();

    assert.deepEqual(told, [2n]);
  });
});
