import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { movableFile, startBench, temporary, until } from "../testing/agent-bench.ts";
import { startTinyHost, type TinyHost } from "../testing/tiny-host.ts";
import { createAgent } from "./agent.ts";
import { createHttpQueue } from "./queues/http.ts";

const farewellsOf = ({ envelopes }: TinyHost) => envelopes.map(({ farewell }) => farewell ?? null);
const versionsOf = ({ objects }: TinyHost) => [...objects.keys()].filter((name) => name.startsWith("files/"));
const isAnySaid = (host: TinyHost) => farewellsOf(host).some((one) => one !== null);

suite("a farewell", () => {
  test("is the last that is sent of a database, after its commits and its companion files", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    const [app, key] = [join(directory.path, "app.db"), join(directory.path, "app.key")];
    await mkdir(directory.path, { recursive: true });
    await writeFile(app, "");
    await writeFile(key, "first");
    const databases = [{ path: app, name: "app", files: [key] }];
    await using bench = await startBench(host, directory.path, file, {
      databases,
      syncIntervalMs: 3_600_000,
    });
    file.commit(3);
    bench.agent.hasten("app");
    await bench.settled();
    await until("the first version of its files is there", () => versionsOf(host).length === 1);
    file.commit(2);
    await writeFile(key, "second");

    const { isTold } = await bench.agent.unregister("app", { farewell: "unregistered" });

    const last = host.envelopes.at(-1);
    assert.equal(isTold, true);
    assert.deepEqual([last?.farewell, last?.items.length], ["unregistered", 0]);
    assert.equal(last?.newestTxId, BigInt(file.newest()));
    assert.equal(farewellsOf(host).filter((one) => one !== null).length, 1);
    assert.equal(versionsOf(host).length, 2);
  });

  test("is said by nobody who merely ends, nor by one that lets a database go for a while", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file);
    await bench.settled();
    await bench.agent.unregister("app");
    await bench.agent.register({ path: join(directory.path, "app.db"), name: "app" });
    file.commit(1);
    await bench.settled();

    await bench.agent.stop();

    assert.equal(isAnySaid(host), false);
  });

  test("that a host did not take is said later, with what waited, by an agent that captures nothing", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    await using bench = await startBench(host, directory.path, file);
    await bench.settled();
    host.intercept = () => ({ status: 503 });
    file.commit(2);
    await until("it is in the shadow", () => bench.status().shadowedTxId === BigInt(file.newest()));
    const beganMs = performance.now();

    const away = await bench.agent.unregister("app", { farewell: "unregistered", deadlineMs: 300 });
    const tookMs = performance.now() - beganMs;
    host.intercept = () => undefined;
    const name = "app";
    await using speaker = createAgent({
      databases: [{ name, path: join(directory.path, "nowhere") }],
      queue: createHttpQueue({ url: host.url }),
      shadowDir: join(directory.path, "shadow"),
      host: "here",
      openSource: null,
    });
    await speaker.start();
    const back = await speaker.unregister(name, { farewell: "unconfigured" });

    assert.deepEqual([away.isTold, back.isTold], [false, true]);
    assert.ok(tookMs < 10_000, String(tookMs));
    assert.equal(host.envelopes.at(-1)?.farewell, "unconfigured");
    assert.equal(host.envelopes.at(-1)?.newestTxId, BigInt(file.newest()));
    const stored = host.envelopes.flatMap(({ items }) => items).length;
    assert.ok(stored >= 2, String(stored));
  });

  test("that the host refuses is not said; of what was never sent there is nothing to say", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await using bench = await startBench(host, directory.path, movableFile());
    await bench.settled();
    host.intercept = () => ({ status: 403 });

    const refused = await bench.agent.unregister("app", { farewell: "unregistered" });
    await bench.agent.register(join(directory.path, "never.db"));
    const never = await bench.agent.unregister("never", { farewell: "unregistered", deadlineMs: 100 });

    assert.deepEqual([refused.isTold, never.isTold], [false, true]);
    assert.equal(isAnySaid(host), false);
  });
});
