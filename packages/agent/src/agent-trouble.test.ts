import assert from "node:assert/strict";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { type TxId, txId } from "@pageferry/format";
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

function snapshotsIn(names: Iterable<string>): number {
  return [...names].filter((name) => name.includes("/snapshots/")).length;
}

suite("an agent whose host", () => {
  test("is at its limit comes again when it was asked to", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file, { heartbeatMs: 60_000 });
    await bench.settled();
    const askedAtMs: number[] = [];
    host.intercept = (_, path) => {
      if (path !== "/v1/ingest") return;
      askedAtMs.push(performance.now());
      return askedAtMs.length === 1 ? { status: 429, headers: { "retry-after": "1" } } : undefined;
    };

    file.commit(1);
    await bench.settled();

    const [first = 0, second = 0] = askedAtMs;
    assert.ok(second - first >= 1000, `${second - first} ms`);
  });

  test("refuses its token stops sending, says what to do, and goes on from the shadow after a restart", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const token = "a-very-secret-token";
    const bench = await startBench(host, directory.path, file, { token });
    await bench.settled();
    host.intercept = () => ({
      status: 401,
      body: JSON.stringify({ code: "unauthorized", detail: `not ${token}`, hint: "Set it." }),
    });
    file.commit(3);
    await until("halted", () => bench.status().state === "halted");
    file.commit(3);
    await until("the shadow", () => bench.status().shadowedTxId === 7n);
    const { alarms } = bench.status();
    await bench.agent.stop({ deadlineMs: 500 });

    host.intercept = () => undefined;
    await using again = await startBench(host, directory.path, file, { token });
    await again.settled();

    assert.deepEqual(
      alarms.map(({ code, hint }) => [code, hint]),
      [["unauthorized", "Set it."]],
    );
    assert.ok(!JSON.stringify(alarms).includes(token));
    await assertRestores(host, again.generation(), file.model.at(7));
    assert.equal(host.begins.size, 1);
  });

  test("holds another history gets a new generation at the next start, on nothing of the old", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const bench = await startBench(host, directory.path, file);
    file.commit(3);
    await bench.settled();
    const before = bench.generation();
    host.intercept = (_, path) =>
      path === "/v1/ingest" ? { status: 409, body: '{"code":"fork"}' } : undefined;
    file.commit(1);
    await until("an alarm", () => bench.status().alarms.some(({ code }) => code === "fork"));
    await bench.agent.stop();

    host.intercept = () => undefined;
    await using again = await startBench(host, directory.path, file);
    await until("another generation", () => again.generation() !== before);
    await again.settled();

    assert.equal(host.begins.get(again.generation())?.reason, "fork");
    assert.equal(snapshotsIn(host.objects.keys()), 2);
    await assertRestores(host, again.generation(), file.model.at(5));
  });

  test("lost a staged body gets it again", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const puts = () => host.requests.filter((request) => request.startsWith("PUT ")).length;
    host.intercept = (method) => {
      if (method === "POST" && puts() === 1) host.forgetStaged();
      return undefined;
    };

    await using bench = await startBench(host, directory.path, file);
    await bench.settled();

    assert.equal(puts(), 2);
    await assertRestores(host, bench.generation(), file.model.at(1));
  });

  test("misses a range gets it again from the shadow", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file, { granularity: "transaction" });
    file.commit(9);
    await bench.settled();
    const generation = bench.generation();
    const lost = new Set([4, 5, 6]);
    // Not trimmed yet: the checkpoint lies before them.
    host.forget((name) =>
      [...lost].some((id) => name.includes(`-000000000000000${id}-`) && name.includes("segment")),
    );
    assert.deepEqual(pointsOf(host, generation), [2, 3, 7, 8, 9, 10]);

    host.needs = { missing: [[txId(3), txId(6)]] };
    await until("the range", () => pointsOf(host, generation).length === 9);

    host.needs = {};
    await assertAllRestore(host, generation, file.model, pointsOf(host, generation));
    assert.equal(snapshotsIn(host.objects.keys()), 1);
  });

  test("misses a range that the shadow has no more gets a snapshot", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file);
    file.commit(3);
    await bench.settled();

    host.needs = { missing: [[0n as TxId, txId(2)]] };
    await until("a snapshot", () => snapshotsIn(host.objects.keys()) === 2);

    await assertRestores(host, bench.generation(), file.model.at(4));
  });

  test("asks for a snapshot gets one", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file);
    file.commit(3);
    await bench.settled();

    host.needs = { snapshot: true };

    await until("a snapshot", () => snapshotsIn(host.objects.keys()) === 2);
  });

  test("is away for long finds a shadow that stayed within its bound, and every point it had acknowledged", async () => {
    await using first = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(first, directory.path, file, {
      shadowBytesMax: 60_000,
      granularity: "transaction",
    });
    file.commit(30);
    await bench.settled();
    const { port, objects, begins } = first;
    const acknowledged = pointsOf(first, bench.generation());
    await first[Symbol.asyncDispose]();

    for (let round = 0; round < 60; round += 1) {
      file.commit(10);
      await until("the shadow", () => bench.status().shadowedTxId === BigInt(file.newest()));
    }
    await until("its bound", () => bench.status().shadowBytes <= 80_000);
    await using host = await startTinyHost(port);
    for (const [name, bytes] of objects) (host.objects as Map<string, Uint8Array>).set(name, bytes);
    for (const [name, begin] of begins) (host.begins as Map<typeof name, typeof begin>).set(name, begin);
    await bench.settled();

    await assertAllRestore(host, bench.generation(), file.model, acknowledged);
    await assertRestores(host, bench.generation(), file.model.at(file.newest()));
  });

  test("is known to be away is not waited for: a shadow over its bound is merged at once", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const [file, shadowBytesMax, silentMs] = [movableFile(), 30_000, 4000];
    const settings = { shadowBytesMax, silentMs, granularity: "transaction" } as const;
    await using bench = await startBench(host, directory.path, file, settings);
    file.commit(3);
    await bench.settled();
    host.intercept = () => ({ status: 503 });
    file.commit(1);
    await until("it is known", () => bench.status().alarms.some(({ code }) => code === "unavailable"));

    while (bench.status().shadowBytes <= shadowBytesMax) {
      file.commit(10);
      await until("the shadow", () => bench.status().shadowedTxId === BigInt(file.newest()));
    }

    await until("its bound", () => bench.status().shadowBytes <= shadowBytesMax, 0.9 * silentMs);
  });

  test("is away until not even the merged shadow has room gets a snapshot when it is back", async () => {
    await using first = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(first, directory.path, file, {
      shadowBytesMax: 2000,
      checkpointMs: 200,
    });
    file.commit(10);
    await bench.settled();
    const { port } = first;
    await first[Symbol.asyncDispose]();
    for (let round = 0; round < 20; round += 1) {
      file.commit(10);
      await until("the shadow", () => (bench.status().shadowedTxId ?? 0n) >= BigInt(file.newest()));
      await setTimeout(20);
    }
    await until("an alarm", () => bench.status().alarms.some(({ code }) => code === "gap"));

    await using host = await startTinyHost(port);
    await until("a snapshot", () => snapshotsIn(host.objects.keys()) === 1);
    file.commit(5);
    await bench.settled();

    await assertRestores(host, bench.generation(), file.model.at(file.newest()));
    assert.deepEqual(bench.status().alarms, []);
  });
});

suite("an agent that is stopped", () => {
  test("while its host is away ends with its deadline, and sends the rest after the next start", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const bench = await startBench(host, directory.path, file);
    await bench.settled();
    host.intercept = () => ({ status: 503 });
    file.commit(5);
    const startMs = performance.now();

    await bench.agent.stop({ deadlineMs: 300 });

    assert.ok(performance.now() - startMs < 20_000);
    host.intercept = () => undefined;
    await using again = await startBench(host, directory.path, file);
    await again.settled();
    assert.equal(again.generation(), bench.generation());
    await assertRestores(host, again.generation(), file.model.at(6));
  });

  test("while it waits to ask again does not wait for that", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const bench = await startBench(host, directory.path, file);
    await bench.settled();
    let refused = 0;
    host.intercept = (method) => {
      if (method !== "POST" || refused > 0) return;
      refused += 1;
      return { status: 503, headers: { "retry-after": "600" } };
    };
    file.commit(5);
    await until("a refusal", () => refused > 0);

    await bench.agent.stop({ deadlineMs: 5000 });

    assert.equal(bench.status().acknowledgedTxId, 6n);
  });
});

suite("an agent whose own things are", () => {
  test("lost begins a new generation that names why", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const bench = await startBench(host, directory.path, file);
    file.commit(3);
    await bench.settled();
    const before = bench.generation();
    await bench.agent.stop();
    const own = join(directory.path, "shadow", "app");
    for (const name of await readdir(own)) {
      if (name.endsWith(".table")) await rm(join(own, name));
    }

    await using again = await startBench(host, directory.path, file);
    await until("another generation", () => again.generation() !== before);
    await again.settled();

    const begin = host.begins.get(again.generation());
    assert.deepEqual([begin?.reason, begin?.parent], ["unprovable", { generation: before, txId: 4n }]);
    await assertRestores(host, again.generation(), file.model.at(4));
  });

  test("older than what was acknowledged are not gone on from", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const bench = await startBench(host, directory.path, file);
    await bench.settled();
    await until("a checkpoint", () => bench.status().snapshotTxId !== null);
    file.commit(3);
    await bench.settled();
    const before = bench.generation();
    // No final checkpoint: the shadow alone knows of the last commits, and is lost.
    await bench.agent.stop({ deadlineMs: 1 });
    await rm(join(directory.path, "shadow", "app", before), { recursive: true });
    file.model = createModel(1);

    await using again = await startBench(host, directory.path, file);
    await until("another generation", () => again.generation() !== before);
    file.commit(1);
    await again.settled();

    assert.equal(
      await host.restore(again.generation(), txId(file.newest())),
      file.model.at(file.newest()).stateHash,
    );
    await assertRestores(host, again.generation(), file.model.at(file.newest()));
  });
});
