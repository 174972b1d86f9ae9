import assert from "node:assert/strict";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import type { Generation } from "@pageferry/format";
import { assertAllRestore, movableFile, startBench, temporary, until } from "../testing/agent-bench.ts";
import { startTinyHost } from "../testing/tiny-host.ts";
import { createAgent } from "./agent.ts";
import { createHttpQueue } from "./queues/http.ts";

suite("databases that come and go", () => {
  test("are captured from when they are registered until they are let go, with everything sent", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file);
    const begun = new Map<string, Generation>();
    bench.agent.on("begin", ({ database, generation }) => begun.set(database, generation));

    await bench.agent.register(join(directory.path, "more.db"));
    const more = () => bench.agent.status().databases.find(({ name }) => name === "more");
    await until("it is backed up", () => more()?.acknowledgedTxId === BigInt(file.newest()));
    file.commit(5);
    await bench.agent.unregister("more");

    assert.deepEqual(
      bench.agent.status().databases.map(({ name }) => name),
      ["app"],
    );
    await assertAllRestore(host, begun.get("more") as Generation, file.model, [file.newest()]);
  });

  test("need a name of their own, and may come back under it", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await using bench = await startBench(host, directory.path, movableFile());

    await bench.settled();
    await assert.rejects(bench.agent.register("elsewhere/app.db"), { code: "bad-config" });
    await assert.rejects(bench.agent.unregister("other"), { code: "not-found" });
    await bench.agent.unregister("app");
    await bench.agent.register(join(directory.path, "app.db"));
    await bench.settled();
  });

  test("that come back, and rest, lag behind nothing", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file);
    file.commit(3);
    await bench.settled();
    await bench.agent.unregister("app");

    await bench.agent.register(join(directory.path, "app.db"));
    const seen = () => bench.status().foundTxId === BigInt(file.newest());
    await until("it is looked at", seen);
    await sleep(20);

    assert.equal(bench.status().acknowledgedTxId, BigInt(file.newest()));
    assert.equal(bench.status().lagMs, 0);
  });

  test("asked for at once, twice, come once", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await using bench = await startBench(host, directory.path, movableFile());

    await bench.settled();
    const path = join(directory.path, "more.db");
    const answers = await Promise.allSettled([bench.agent.register(path), bench.agent.register(path)]);

    assert.deepEqual(answers.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
  });

  test("may be none at the start, and are not taken by an agent that ends", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const agent = createAgent({
      databases: [],
      queue: createHttpQueue({ url: host.url }),
      shadowDir: join(directory.path, "shadow"),
    });
    await assert.rejects(agent.register("app.db"), RangeError);
    await agent.start();
    const registering = agent.register(join(directory.path, "late.db"));
    await setImmediate();
    await agent.stop();
    await registering;
    await assert.rejects(agent.register("app.db"), RangeError);

    assert.deepEqual(
      agent.status().databases.map(({ state }) => state),
      ["stopped"],
    );
  });
});
