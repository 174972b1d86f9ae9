import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parseDatabaseName, txId } from "@pageferry/format";
import { epochMs, historyOf } from "../../testing/history.ts";
import { eventsSchema } from "../events-schema.ts";
import { createToken } from "../token-files.ts";
import { type LocalHost, localHost } from "./local.ts";

const history = historyOf("a1");
const newest = (id: number) => ({ newestTxId: txId(id), newestStampMs: epochMs + id * 1000 });

async function start(t: TestContext) {
  const dataDir = await mkdtemp(join(tmpdir(), "pageferry-events-"));
  const replicas = ["one", "blocked/two"].map(
    (path) => ({ type: "file", path: join(dataDir, path) }) as const,
  );
  await writeFile(join(dataDir, "blocked"), "no directory");
  const host = await localHost({ dataDir, listen: { host: "127.0.0.1", port: 0 }, replicas });
  t.after(async () => {
    await host.close({ deadlineMs: 0 });
    await rm(dataDir, { recursive: true, force: true });
  });
  return { host, dataDir };
}

const ask = (host: LocalHost, path: string, token = host.token, headers: Record<string, string> = {}) =>
  fetch(`${host.url}${path}`, { headers: { authorization: `Bearer ${token}`, ...headers } });

async function eventsOf(host: LocalHost, query = "", token?: string) {
  return eventsSchema.parse(await (await ask(host, `/v1/events${query}`, token)).json()).events;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 60_000; !(await condition()); await sleep(50))
    assert.ok(Date.now() < end, "it did not come in time");
}

/** What a stream says, as it comes. */
function follow(answer: Response) {
  let text = "";
  const ended = (async () => {
    for await (const chunk of answer.body as ReadableStream<Uint8Array>)
      text += Buffer.from(chunk).toString();
  })();
  ended.catch(() => undefined);
  const told = () =>
    text
      .split("\n\n")
      .map((block) => ({
        event: /^event: (.*)$/m.exec(block)?.[1],
        data: /^data: (.*)$/m.exec(block)?.[1],
        id: /^id: (.*)$/m.exec(block)?.[1],
      }))
      .filter(({ event }) => event !== undefined);
  return { told, ended };
}

suite("what happened", () => {
  test("is told as it comes, and can be read afterwards", async (t) => {
    const { host, dataDir } = await start(t);
    const live = follow(await ask(host, "/v1/events/stream"));
    await host.queue.send(history.envelope([history.snapshot(4), history.segment(4, 6)], newest(6)));
    await until(async () => (await eventsOf(host)).some(({ kind }) => kind === "replica-down"));
    await rm(join(dataDir, "blocked"));
    await until(async () => (await eventsOf(host)).some(({ kind }) => kind === "replica-back"));
    await host.verify("app", { replica: `file://${join(dataDir, "one")}`, depth: "chain" });

    const all = await eventsOf(host);

    assert.deepEqual(
      ["generation", "replica-down", "replica-back", "verified"].filter(
        (kind) => !all.some((one) => one.kind === kind),
      ),
      [],
    );
    const ids = all.map(({ id }) => id);
    assert.deepEqual(
      ids,
      ids.toSorted((a, b) => a - b),
    );
    assert.equal(all[0]?.kind, "generation");
    const [first, second] = all;
    assert.deepEqual((await eventsOf(host, `?since=${first?.id}`))[0], second);
    assert.ok((await eventsOf(host, "?database=app")).every(({ database }) => database === "app"));
    assert.equal((await ask(host, "/v1/events?since=yesterday")).status, 400);
    await until(async () => live.told().filter(({ id }) => id !== undefined).length >= all.length);
    assert.deepEqual(
      live.told().flatMap(({ data, id }) => (id === undefined ? [] : [JSON.parse(data ?? "")])),
      await eventsOf(host),
    );
    assert.ok(live.told().some(({ event, data }) => event === "status" && data === "app"));
  });

  test("goes on after the event that was seen last, and ends with the host", async (t) => {
    const { host } = await start(t);
    for (const name of ["app", "other"].map(parseDatabaseName))
      await host.queue.send(history.envelope([history.snapshot(4)], { ...newest(4), database: name }));
    const [first] = await eventsOf(host);
    const live = follow(
      await ask(host, "/v1/events/stream", undefined, { "last-event-id": String(first?.id) }),
    );
    await until(async () => live.told().some(({ id }) => id !== undefined));

    const closedAtMs = performance.now();
    await host.close();
    await live.ended;

    assert.match(live.told().find(({ id }) => id !== undefined)?.data ?? "", /"database":"other"/);
    assert.ok(performance.now() - closedAtMs < 5000);
  });

  test("says a status is another one at most once a second", async (t) => {
    const { host } = await start(t);
    await host.queue.send(history.envelope([history.snapshot(4)], newest(4)));
    const live = follow(await ask(host, "/v1/events/stream"));
    const beganMs = performance.now();
    for (let id = 4; id < 200; id++) {
      await host.queue.send(history.envelope([history.segment(id, id + 1)], newest(id + 1)));
      await sleep(10);
    }
    await sleep(1100);

    const count = live.told().filter(({ event }) => event === "status").length;
    const seconds = (performance.now() - beganMs) / 1000;
    assert.ok(count >= 2 && count <= seconds + 1, `${count} in ${seconds} s`);
  });

  test("of other databases and of the whole host is not told to a token for one", async (t) => {
    const { host, dataDir } = await start(t);
    const { token } = await createToken(
      dataDir,
      { scopes: ["read"], databases: [parseDatabaseName("app")] },
      Date.now(),
    );
    await until(async () => (await ask(host, "/v1/events", token)).ok);
    const live = follow(await ask(host, "/v1/events/stream", token));
    for (const name of ["app", "other"].map(parseDatabaseName))
      await host.queue.send(history.envelope([history.snapshot(4)], { ...newest(4), database: name }));
    await until(async () => (await eventsOf(host)).some(({ database }) => database === undefined));

    const told = await eventsOf(host, "", token);

    assert.deepEqual([...new Set(told.map(({ database }) => database))], ["app"]);
    assert.equal((await ask(host, "/v1/events?database=other", token)).status, 403);
    await until(async () => live.told().length > 0);
    assert.ok(live.told().every(({ data }) => data === "app" || JSON.parse(data ?? "").database === "app"));
  });
});
