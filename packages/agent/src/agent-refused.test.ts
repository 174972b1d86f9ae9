import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { txId } from "@pageferry/format";
import { movableFile, startBench, temporary, until } from "../testing/agent-bench.ts";
import { openModelSource } from "../testing/model-database.ts";
import { assertRestores, startTinyHost } from "../testing/tiny-host.ts";

const refusal = (code: string, status: number) => ({ status, body: JSON.stringify({ code }) });

suite("an agent that is refused", () => {
  test("goes on by itself when its token is accepted again, with all that was captured meanwhile", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file, { refusedMs: 100 });
    await bench.settled();
    const { length } = host.requests;
    host.intercept = () => refusal("unauthorized", 401);
    file.commit(3);
    await until("halted", () => bench.status().state === "halted");
    const raised: string[] = [];
    bench.agent.on("cleared", ({ alarm }) => raised.push(`cleared ${alarm.code}`));
    bench.agent.on("alarm", ({ alarm }) => raised.push(alarm.code));
    file.commit(3);
    await setTimeout(500);
    const asked = host.requests.slice(length).filter((request) => request.startsWith("POST")).length;
    const { state, alarms, shadowedTxId } = bench.status();

    host.intercept = () => undefined;
    await bench.settled();

    assert.deepEqual([state, alarms.map(({ code }) => code), shadowedTxId], ["halted", ["unauthorized"], 7n]);
    assert.ok(asked >= 2 && asked < 20, `${asked} in half a second`);
    assert.deepEqual(raised, ["cleared unauthorized"], "it was told once, and was over once");
    assert.deepEqual([bench.status().state, bench.status().alarms], ["running", []]);
    assert.equal(host.begins.size, 1);
    await assertRestores(host, bench.generation(), file.model.at(7));
  });

  test("from its first call on begins when it is let in", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    host.intercept = () => refusal("unauthorized", 403);
    await using bench = await startBench(host, directory.path, file, { refusedMs: 100 });
    await until("halted", () => bench.status().state === "halted");
    file.commit(3);
    await setTimeout(300);

    host.intercept = () => undefined;
    await bench.settled();

    await assertRestores(host, bench.generation(), file.model.at(4));
  });

  test("only its snapshot sends on what does not wait for it, and brings the same snapshot again", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file, { refusedMs: 100 });
    file.commit(2);
    await bench.settled();
    const puts = () => new Set(host.requests.filter((request) => request.startsWith("PUT ")));
    const before = puts().size;
    host.intercept = (method) => (method === "PUT" ? refusal("too-large", 413) : undefined);
    host.needs = { snapshot: true };
    await until("an alarm", () => bench.status().alarms.some(({ code }) => code === "too-large"));
    file.commit(2);
    await bench.settled();
    await setTimeout(300);
    const { state } = bench.status();

    host.intercept = () => undefined;
    await until("no alarm", () => bench.status().alarms.length === 0);

    assert.equal(state, "running");
    assert.equal(puts().size, before + 1, "the database was read once");
  });

  test("because of a fork sends nothing until its history is taken again, and then goes on with it", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const bench = await startBench(host, directory.path, file, { refusedMs: 50 });
    await bench.settled();
    const generation = bench.generation();
    host.intercept = (method) => (method === "POST" ? refusal("fork", 409) : undefined);
    file.commit(1);
    await until("halted", () => bench.status().state === "halted");
    file.commit(3);
    await setTimeout(300);
    const { state, alarms, acknowledgedTxId, shadowedTxId } = bench.status();

    host.intercept = () => undefined;
    await bench.settled();
    await bench.agent.stop();
    await using again = await startBench(host, directory.path, file);
    file.commit(1);
    await again.settled();

    assert.deepEqual([state, acknowledgedTxId, shadowedTxId], ["halted", 1n, 5n]);
    assert.deepEqual(
      alarms.map(({ code }) => code),
      ["fork"],
    );
    assert.equal(again.generation(), generation);
    await assertRestores(host, generation, file.model.at(6));
  });

  test("nothing but finds the host ahead of it sends nothing more, however long it waits", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file, { refusedMs: 20 });
    await bench.settled();
    const own = { storedTxId: "00000000000000ff", missing: [], snapshot: false };
    const needs = { version: 1, newestEpoch: 1, generations: { [bench.generation()]: own } };
    host.intercept = (method) =>
      method === "GET" ? { status: 200, body: JSON.stringify(needs) } : undefined;
    await until("halted", () => bench.status().state === "halted");
    host.intercept = () => undefined;
    const { length } = host.requests;

    file.commit(3);
    await until("the shadow", () => bench.status().shadowedTxId === 4n);
    await setTimeout(300);

    assert.equal(host.requests.length, length);
    assert.deepEqual(
      bench.status().alarms.map(({ code }) => code),
      ["fork"],
    );
  });

  test("is stopped at once", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const bench = await startBench(host, directory.path, file);
    await bench.settled();
    host.intercept = () => refusal("unauthorized", 401);
    host.needs = { snapshot: true };
    file.commit(1);
    await until("halted", () => bench.status().state === "halted");
    const startMs = performance.now();

    await bench.agent.stop({ deadlineMs: 30_000 });

    assert.ok(performance.now() - startMs < 10_000);
  });
});

suite("an agent that something answers which is no host", () => {
  for (const [what, odd] of Object.entries({
    "a page to sign in at": { status: 200, body: "<html>sign in</html>" },
    "an empty success": { status: 204 },
  })) {
    test(`takes ${what} for no acknowledgement`, async () => {
      await using host = await startTinyHost();
      await using directory = await temporary();
      const file = movableFile();
      await using bench = await startBench(host, directory.path, file);
      await bench.settled();
      host.intercept = () => odd;
      file.commit(3);
      await until("an alarm", () => bench.status().alarms.some(({ code }) => code === "unavailable"));
      const acknowledged = bench.status().acknowledgedTxId;

      host.intercept = () => undefined;
      await bench.settled();

      assert.equal(acknowledged, 1n);
      await assertRestores(host, bench.generation(), file.model.at(4));
    });
  }

  test("follows no redirect with its token, says where it points, and goes on when it is gone", async () => {
    await using other = await startTinyHost();
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file, { refusedMs: 100, token: "secret" });
    await bench.settled();
    host.intercept = () => ({ status: 307, headers: { location: `${other.url}/v1/ingest?secret` } });
    file.commit(3);
    await until("an alarm", () => bench.status().alarms.some(({ code }) => code === "bad-config"));
    const [alarm] = bench.status().alarms;

    host.intercept = () => undefined;
    await bench.settled();

    assert.match(alarm?.message ?? "", new RegExp(`points to ${other.url}/v1/ingest`));
    assert.doesNotMatch(JSON.stringify(alarm), /secret/);
    assert.deepEqual(other.requests, []);
    assert.deepEqual(bench.status().alarms, []);
  });

  test("hears needs of generations it does not know, and of holes that are none, and goes on", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file);
    file.commit(3);
    await bench.settled();
    const own = bench.generation();
    const odd = (missing: unknown) => ({ storedTxId: "0000000000000001", missing, snapshot: false });
    const far = "00000000ffffffff";
    const answers = [
      { version: 1, newestEpoch: 1, generations: { "0123456789abcdef": odd([["0000000000000001", far]]) } },
      { version: 1, newestEpoch: 1, generations: { [own]: odd([[far, "0000000000000002"]]) } },
      { version: 1, newestEpoch: 1, generations: { [own]: odd(Array(10_000).fill([far, far])) } },
      { version: 7 },
      [],
      "x".repeat(100_000),
    ].map((answer) => ({ status: 200, body: JSON.stringify(answer) }));
    let heard = 0;
    host.intercept = (method) => (method === "GET" ? answers[heard++] : undefined);
    await until("all of them", () => heard > answers.length);

    file.commit(3);
    await bench.settled();

    assert.equal(bench.generation(), own);
    await assertRestores(host, own, file.model.at(7));
  });
});

suite("the first page table", () => {
  test("is durable before the snapshot of its generation is staged", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const checkpoints: unknown[] = [];
    host.intercept = (method) => {
      if (method === "PUT") {
        const cursor = JSON.parse(readFileSync(join(directory.path, "shadow", "app", "cursor.json"), "utf8"));
        checkpoints.push(cursor.checkpoint?.txId);
      }
      return undefined;
    };

    await using bench = await startBench(host, directory.path, file, {
      openSource(options) {
        const source = openModelSource(options, () => file);
        // A disk that takes its time.
        const checkpoint = (path: string) => void setTimeout(300).then(() => source.checkpoint(path));
        return { ...source, checkpoint };
      },
    });
    await bench.settled();

    assert.deepEqual(checkpoints, ["0000000000000001"]);
  });

  test("after a base is asked for also while an older one is being written", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const asked: string[] = [];
    await using bench = await startBench(host, directory.path, file, {
      checkpointMs: 50,
      openSource(options) {
        const source = openModelSource(options, () => file);
        file.source = source;
        const checkpoint = (path: string) => {
          asked.push(path);
          // The second one never comes.
          if (asked.length !== 2) source.checkpoint(path);
        };
        return { ...source, checkpoint };
      },
    });
    await bench.settled();
    file.commit(1);
    await until("the second", () => asked.length === 2);

    host.needs = { snapshot: true };
    await until("a table after it", () => asked.length === 3, 5000);
    await until("a snapshot", () => bench.status().snapshotTxId === txId(2));
  });
});
