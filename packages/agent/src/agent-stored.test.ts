import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { movableFile, startBench, temporary, until } from "../testing/agent-bench.ts";
import { startTinyHost } from "../testing/tiny-host.ts";

const hourMs = 3_600_000;

suite("an agent whose host acknowledged what no replica has", () => {
  test("warns before a queue lets go of it, until it is stored", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const file = movableFile();
    let aheadMs = 0;
    await using bench = await startBench(host, directory.path, file, { now: () => Date.now() + aheadMs });
    const told = () => bench.status().alarms.map(({ message }) => message);
    file.commit(3);
    await until("a replica has it", () => bench.status().storedTxId === BigInt(file.newest()));
    const before = await (await fetch(`${host.url}/v1/databases/app/needs`)).text();

    host.intercept = (_, path) => (path.endsWith("/needs") ? { status: 200, body: before } : undefined);
    file.commit(1);
    await bench.settled();
    aheadMs = 47 * hourMs;
    const asked = host.requests.length;
    await until("it was asked again", () => host.requests.length > asked + 3);
    assert.deepEqual(told(), []);
    aheadMs = 49 * hourMs;
    await until("the alarm", () =>
      told().some((message) => /49 h old, and no replica has them/.test(message)),
    );

    host.intercept = () => undefined;
    await until("it is over", () => told().length === 0);
  });
});
