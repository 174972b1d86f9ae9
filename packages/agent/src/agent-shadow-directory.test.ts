import assert from "node:assert/strict";
import { copyFileSync, cpSync, mkdirSync, readdirSync, utimesSync } from "node:fs";
import { dirname, join } from "node:path";
import { suite, test } from "node:test";
import { decodeSegment, formatStateHash, txId } from "@pageferry/format";
import { pointsOf, temporary, until } from "../testing/agent-bench.ts";
import { generationNamed, goController } from "../testing/go-controller.ts";
import { startTinyHost, type TinyHost } from "../testing/tiny-host.ts";
import { type Agent, createAgent } from "./agent.ts";
import type { DatabaseStatus } from "./database-status.ts";
import { createHttpQueue } from "./queues/http.ts";
import { recordedHistory, withOtherData } from "./sources/simulated-file.ts";

const history = await recordedHistory("replica", "0862e0be1cb6d5ca");
const golden = new URL("../../../test/golden/", import.meta.url);

async function startShadowAgent(host: TinyHost, directory: string): Promise<Agent> {
  const agent = createAgent({
    databases: [{ path: join(directory, "app.db"), shadowDirectory: join(directory, "stream") }],
    queue: createHttpQueue({ url: host.url, timeoutMs: 2000 }),
    shadowDir: join(directory, "shadow"),
    granularity: "transaction",
    ...{ syncIntervalMs: 20, heartbeatMs: 150, needsMs: 100, silentMs: 1000, checkpointMs: 200 },
  });
  await agent.start();
  return agent;
}

const statusOf = (agent: Agent) => agent.status().databases[0] as DatabaseStatus;

const stored = (agent: Agent, id: number) =>
  until(`transaction ${id} stored`, () => (statusOf(agent).storedTxId ?? 0n) >= BigInt(id));

/** Files whose names end with this, below a directory. */
function filesIn(directory: string, end: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(end));
}

suite("an agent with a shadow directory", { concurrency: 4 }, () => {
  test("sends each transaction as a point that says where it is from, and trims what is stored", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const stream = join(directory.path, "stream");
    const go = goController(history, stream);
    const generation = generationNamed(1);
    go.writeSnapshot(generation, 2);
    go.write(generation, 3, 60);
    await using agent = await startShadowAgent(host, directory.path);
    await stored(agent, 60);
    assert.equal(filesIn(stream, ".segment.cbor").length, 58);

    go.writeSnapshot(generation, 50);

    await until("the trimming", () => filesIn(stream, ".segment.cbor").length === 10);
    assert.deepEqual(filesIn(stream, ".snapshot.cbor").length, 1);
    const ours = statusOf(agent).generation ?? assert.fail();
    assert.deepEqual(
      pointsOf(host, ours),
      Array.from({ length: 58 }, (_, index) => index + 3),
    );
    for (const [name, bytes] of host.objects) {
      if (name.includes("/segments/")) assert.equal(decodeSegment(bytes).header.attrs.source, "shadow");
    }
    for (const id of [2, 3, 30, 60]) await assertRestores(host, id);
  });

  test("that is stopped and started at any time goes on with one generation, also with a host that is away", async () => {
    await using directory = await temporary();
    const stream = join(directory.path, "stream");
    const go = goController(history, stream);
    go.writeSnapshot(generationNamed(1), 2);
    await using host = await startTinyHost();
    for (let id = 3; id <= 40; id += 1) {
      if (id % 7 === 0) host.intercept = () => ({ status: 503 });
      const agent = await startShadowAgent(host, directory.path);
      go.write(generationNamed(id), id);
      if (id % 3 === 0) {
        await until("a capture", () => (statusOf(agent).shadowedTxId ?? 0n) >= BigInt(id));
      }
      await agent.stop({ deadlineMs: id % 4 === 0 ? 1 : 300 });
      host.intercept = () => undefined;
    }
    await using agent = await startShadowAgent(host, directory.path);
    await stored(agent, 40);

    assert.equal(host.begins.size, 1);
    for (const id of pointsOf(host, statusOf(agent).generation ?? assert.fail()))
      await assertRestores(host, id);
    await assertRestores(host, 40);
  });

  test("keeps two histories apart, and names the parent of the second", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const stream = join(directory.path, "stream");
    const go = goController(history, stream);
    go.writeSnapshot(generationNamed(1), 2);
    go.write(generationNamed(1), 3, 60);
    await using agent = await startShadowAgent(host, directory.path);
    await stored(agent, 60);
    const remade = withOtherData(history, 44);
    const again = goController(remade, stream, { beganMs: Date.now() - 600_000 });

    again.writeSnapshot(generationNamed(2), 44);
    again.write(generationNamed(2), 45, 70);

    await stored(agent, 70);
    const [old, young] = [...host.begins.values()];
    assert.deepEqual(
      [young?.reason, young?.parent],
      ["replaced", { generation: old?.generation, txId: txId(60) }],
    );
    assert.equal(
      await host.restore(old?.generation ?? assert.fail(), txId(60)),
      history.states.get(60)?.stateHash,
    );
    assert.equal(
      await host.restore(young?.generation ?? assert.fail(), txId(60)),
      remade.states.get(60)?.stateHash,
    );
    await until("the trimming", () => filesIn(join(stream, generationNamed(1)), ".cbor").length === 0);
  });

  test("gives one generation for what an observer that is registered twice wrote", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const stream = join(directory.path, "stream");
    const data = new URL("replica-observer-bug/data/", golden).pathname;
    // In the order in which they were written: each transaction in two generations.
    const files = filesIn(data, ".cbor").sort((a, b) => idOf(a) - idOf(b));
    await using agent = await startShadowAgent(host, directory.path);
    for (const file of files) {
      const to = join(stream, file);
      mkdirSync(dirname(to), { recursive: true });
      copyFileSync(join(data, file), to);
      utimesSync(to, 1_795_352_876, 1_795_352_876);
    }

    await stored(agent, 7);

    assert.equal(host.begins.size, 1);
    const generation = statusOf(agent).generation ?? assert.fail();
    assert.deepEqual(pointsOf(host, generation), [3, 4, 5, 6, 7]);
    for (const id of [2, 3, 4, 5, 6, 7]) await host.restore(generation, txId(id));
  });

  test("is refused where another agent has the same shadow directory", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    cpSync(new URL("shadow/data", golden), join(directory.path, "stream"), { recursive: true });
    await using _ = await startShadowAgent(host, directory.path);
    const other = createAgent({
      databases: [{ path: "elsewhere.db", shadowDirectory: join(directory.path, "stream") }],
      queue: createHttpQueue({ url: host.url }),
      shadowDir: join(directory.path, "other"),
    });

    await assert.rejects(other.start(), { code: "locked" });
  });
});

const idOf = (file: string): number =>
  Number.parseInt(/([0-9a-f]{16})\.\w+\.cbor$/.exec(file)?.[1] ?? "", 16);

async function assertRestores(host: TinyHost, id: number): Promise<void> {
  const [generation] = [...host.begins.keys()];
  const restored = await host.restore(generation ?? assert.fail(), txId(id));
  assert.equal(
    formatStateHash(restored),
    formatStateHash(history.states.get(id)?.stateHash ?? 0n),
    `state ${id}`,
  );
}
