import assert from "node:assert/strict";
import { join } from "node:path";
import { suite, test } from "node:test";
import { type Bench, movableFile, startBench, temporary, until } from "../testing/agent-bench.ts";
import { startTinyHost, type TinyHost } from "../testing/tiny-host.ts";
import type { AgentOptions } from "./agent.ts";

/** Long enough that what is due within a turn is not due alone, on a slow machine too. */
const times = { heartbeatMs: 4000, needsMs: 1_000_000, silentMs: 500 };

const names = Array.from({ length: 12 }, (_, at) => `db${at}`);

function startMany(host: TinyHost, directory: string, options: Partial<AgentOptions> = {}): Promise<Bench> {
  const databases = names.map((name) => join(directory, `${name}.db`));
  return startBench(host, directory, movableFile(), { databases, ...times, ...options });
}

async function untilSent({ agent }: Bench): Promise<void> {
  const isSent = () => agent.status().databases.every(({ acknowledgedTxId }) => acknowledgedTxId !== null);
  await until("all are sent", isSent);
}

interface Heartbeats {
  readonly of: ReadonlyMap<string, number>;
  /** All, and of these those that came by a request of their own. */
  readonly count: number;
  readonly alone: number;
  readonly requests: number;
}

function heartbeatsOf(host: TinyHost): Heartbeats {
  const of = new Map<string, number>();
  const empty = host.envelopes.filter(({ items }) => items.length === 0);
  for (const { database } of empty) of.set(database, (of.get(database) ?? 0) + 1);
  const asked = (path: string) => host.requests.filter((request) => request === `POST ${path}`).length;
  const alone = asked("/v1/ingest") - (host.envelopes.length - empty.length);
  return { of, count: empty.length, alone, requests: asked("/v1/heartbeats") };
}

suite("the heartbeats of many databases", () => {
  test("go together, and each is heard of as often as before", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await using bench = await startMany(host, directory.path);
    await untilSent(bench);

    await until("three of each", () => names.every((name) => (heartbeatsOf(host).of.get(name) ?? 0) >= 3));

    const { count, alone, requests } = heartbeatsOf(host);
    assert.ok(alone < count / 2, `${alone} of ${count} came alone`);
    assert.ok(requests < count / 2, `${requests} requests for ${count}`);
    assert.deepEqual(
      bench.agent.status().databases.flatMap(({ alarms }) => alarms),
      [],
    );
  });

  test("are sent alone where they are not taken with the others, and the refusal is told", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await using bench = await startMany(host, directory.path);
    await untilSent(bench);

    host.takesTogether = (database) => database !== "db3";
    await until("it comes all the same", () => (heartbeatsOf(host).of.get("db3") ?? 0) >= 2);
    host.intercept = (_, path) =>
      path === "/v1/ingest" ? { status: 403, body: '{"code":"forbidden"}' } : undefined;
    const alarmsOf = (at: string) => bench.agent.status().databases.find(({ name }) => name === at)?.alarms;

    await until("it is refused", () => alarmsOf("db3")?.some(({ code }) => code === "forbidden"));
    assert.deepEqual(alarmsOf("db4"), []);
  });

  test("are sent alone to a host that does not know that they can come together", async () => {
    await using host = await startTinyHost();
    host.takesTogether = undefined;
    await using directory = await temporary();
    await using bench = await startMany(host, directory.path);
    await untilSent(bench);

    await until("two of each", () => names.every((name) => (heartbeatsOf(host).of.get(name) ?? 0) >= 2));

    assert.equal(heartbeatsOf(host).requests, 1, "it is not asked again at once");
  });

  test("show a host that is away, to each of them, and one that is back", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    await using bench = await startMany(host, directory.path);
    await untilSent(bench);
    const silent = () =>
      bench.agent
        .status()
        .databases.filter(({ alarms }) => alarms.some(({ code }) => code === "unavailable"));

    host.intercept = () => ({ status: 503 });
    await until("all say so", () => silent().length === names.length);
    host.intercept = () => undefined;

    await until("it is over for all", () => silent().length === 0);
  });

  test("of few databases go alone", async () => {
    await using host = await startTinyHost();
    await using directory = await temporary();
    const databases = names.slice(0, 3).map((name) => join(directory.path, `${name}.db`));
    await using bench = await startMany(host, directory.path, { databases, heartbeatMs: 200 });
    await untilSent(bench);

    await until("heartbeats", () => heartbeatsOf(host).count > 10);

    assert.equal(heartbeatsOf(host).requests, 0);
  });
});
