import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatTxId, txId } from "@pageferry/format";
import { epochMs, historyOf } from "../../testing/history.ts";
import { databaseRoute, databasesRoute } from "../databases-schema.ts";
import { type LocalHost, localHost } from "./local.ts";

const history = historyOf("a1");
const hex = (id: number): string => formatTxId(txId(id));
const newest = (id: number) => ({ newestTxId: txId(id), newestStampMs: epochMs + id * 1000 });

async function directoryOf(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-status-"));
  t.after(() => rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }));
  return directory;
}

async function start(t: TestContext, dataDir: string, paths: readonly string[]) {
  const replicas = paths.map((path) => ({ type: "file", path: join(dataDir, path) }) as const);
  const now = () => epochMs + 20_000;
  const host = await localHost(
    { dataDir, listen: { host: "127.0.0.1", port: 0 }, replicas },
    { now, settleMs: 0 },
  );
  t.after(() => host.close({ deadlineMs: 0 }));
  return host;
}

async function ask(host: LocalHost, path: string): Promise<unknown> {
  const answer = await fetch(`${host.url}${path}`, { headers: { authorization: `Bearer ${host.token}` } });
  return answer.json();
}

async function statusOf(host: LocalHost, query = "") {
  return databaseRoute.answers[200].parse(await ask(host, `/v1/databases/app${query}`));
}

async function until<Value>(ask: () => Promise<Value>, condition: (value: Value) => boolean): Promise<Value> {
  for (const end = Date.now() + 30_000; ; await sleep(20)) {
    const value = await ask();
    if (condition(value)) return value;
    assert.ok(Date.now() < end, JSON.stringify(value));
  }
}

suite("the status of a database", () => {
  test("says what was captured, queued and stored, and what that takes", async (t) => {
    const dataDir = await directoryOf(t);
    const host = await start(t, dataDir, ["one"]);
    const items = [history.snapshot(4, 4096), history.segment(4, 6)];
    await host.queue.send(history.envelope(items, newest(6)));

    const status = await until(
      () => statusOf(host, "?history=true"),
      ({ replicas }) => replicas[0]?.txid === hex(6),
    );

    assert.deepEqual([status.txid, status.queued], [hex(6), hex(6)]);
    assert.deepEqual([status.lagMs, status.lagTransactions, status.gapCount], [0, 0, 0]);
    const [replica] = status.replicas;
    const [snapshotBytes = 0, segmentBytes = 0] = items.map(({ bytes }) => bytes.length);
    assert.deepEqual(replica?.snapshot, {
      ...{ txid: hex(4), time: new Date(epochMs + 4000).toISOString(), bytes: snapshotBytes },
    });
    const { kinds, objects, bytes, amplification } = replica?.storage ?? {};
    assert.equal(objects, 3);
    assert.deepEqual(kinds?.snapshot, { objects: 1, bytes: snapshotBytes });
    // Its receipt was written into it.
    const rest = (kinds?.segment?.bytes ?? 0) + (kinds?.generation?.bytes ?? 0);
    assert.ok((kinds?.segment?.bytes ?? 0) >= segmentBytes);
    assert.equal(bytes, snapshotBytes + rest);
    assert.ok((amplification ?? 0) > 1);
    assert.deepEqual([replica?.restore?.objects, replica?.month], [2, null]);
    assert.equal(replica?.restore?.ms, 100);
    assert.equal(replica?.history?.everyMs, 60_000);
    assert.equal((await statusOf(host)).replicas[0]?.history, undefined);
    databasesRoute.answers[200].parse(await ask(host, "/v1/databases"));
    assert.equal(
      ((await ask(host, "/v1/databases/app?history=perhaps")) as { code: string }).code,
      "bad-request",
    );
  });

  test("says how far a replica that is away is behind, what waits for it, and nothing of what is not known", async (t) => {
    const dataDir = await directoryOf(t);
    await writeFile(join(dataDir, "blocked"), "no directory");
    const host = await start(t, dataDir, ["one", "blocked/two"]);
    await host.queue.send(history.envelope([history.snapshot(4)], newest(4)));
    await host.queue.send(history.envelope([history.segment(4, 6)], newest(6)));

    const status = await until(
      () => statusOf(host),
      ({ replicas: [one, two] }) => one?.txid === hex(6) && two?.waiting === 2,
    );

    const [one, two] = status.replicas;
    assert.deepEqual([one?.lagMs, one?.lagTransactions, one?.waiting], [0, 0, 0]);
    assert.deepEqual(
      [two?.lagMs, two?.lagTransactions, two?.storage, two?.restore],
      [null, null, null, null],
    );
    assert.deepEqual([status.lagMs, status.lagTransactions], [null, null]);
    const lane = two?.lanes.find(({ waiting }) => waiting > 0);
    assert.match(lane?.name ?? "", /^replica:file:/);
    assert.ok((lane?.bytes ?? 0) > 0 && lane?.oldest !== null);

    await rm(join(dataDir, "blocked"));
    const back = await until(
      () => statusOf(host),
      ({ lagTransactions }) => lagTransactions === 0,
    );
    assert.deepEqual([back.lagMs, back.replicas[1]?.waiting], [0, 0]);
  });

  test("names the gaps of each replica and those that no replica fills", async (t) => {
    const dataDir = await directoryOf(t);
    const host = await start(t, dataDir, ["one"]);
    const items = [history.snapshot(4), history.segment(4, 6), history.segment(8, 9)];
    await host.queue.send(history.envelope(items, newest(9)));

    const status = await until(
      () => statusOf(host),
      ({ gapCount, replicas }) => gapCount === 1 && replicas[0]?.gapCount === 1,
    );

    const gap = { from: hex(6), to: hex(8) };
    assert.deepEqual([status.gaps, status.replicas[0]?.gaps], [[gap], [gap]]);
    assert.deepEqual([status.lagTransactions, status.replicas[0]?.txid], [3, hex(6)]);
    assert.equal(status.lagMs, 20_000 - 9000);
  });
});
