import assert from "node:assert/strict";
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatTxId, type ReplicaConfig, txId } from "@pageferry/format";
import { epochMs, historyOf } from "../../testing/history.ts";
import { waitSchema } from "../wait-schema.ts";
import { type LocalHost, localHost } from "./local.ts";

const history = historyOf("a1");
const hex = (id: number): string => formatTxId(txId(id));
const newest = (id: number) => ({ newestTxId: txId(id), newestStampMs: epochMs + id * 1000 });

/** Hosts by their test: a directory is removed when nobody writes into it any more. */
const hosts = new WeakMap<TestContext, LocalHost[]>();

async function temporaryDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-wait-"));
  t.after(async () => {
    await Promise.all((hosts.get(t) ?? []).map((host) => host.close({ deadlineMs: 0 })));
    // A host that is closed without a deadline may still be putting something.
    await rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  });
  return directory;
}

async function start(t: TestContext, dataDir: string, replicas: readonly ReplicaConfig[]) {
  const host = await localHost({ dataDir, listen: { host: "127.0.0.1", port: 0 }, replicas });
  hosts.set(t, [...(hosts.get(t) ?? []), host]);
  return host;
}

async function wait(host: LocalHost, query: string, signal?: AbortSignal) {
  const answer = await fetch(`${host.url}/v1/databases/app/wait?${query}`, {
    headers: { authorization: `Bearer ${host.token}` },
    ...(signal === undefined ? {} : { signal }),
  });
  const body: unknown = await answer.json();
  return { status: answer.status, headers: answer.headers, body };
}

async function relink(target: string, path: string): Promise<void> {
  await symlink(target, `${path}.new`);
  await rename(`${path}.new`, path);
}

/** A replica that takes calls and never answers. */
async function frozenReplica(t: TestContext): Promise<ReplicaConfig> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    ...{ type: "s3", bucket: "frozen", prefix: "", endpoint: `http://127.0.0.1:${port}`, insecure: true },
    ...{ region: "us-east-1", accessKey: "a", secretKey: "b", forcePathStyle: true, rootCAs: [] },
  };
}

suite("waiting for a transaction", () => {
  test("answers at once what is there, and otherwise when it comes", async (t) => {
    const dataDir = await temporaryDirectory(t);
    const host = await start(t, dataDir, [{ type: "file", path: join(dataDir, "one") }]);
    await host.queue.send(history.envelope([history.snapshot(4)], newest(4)));

    const first = waitSchema.parse((await wait(host, "timeout=20s")).body);
    const later = wait(host, `txid=${hex(6)}&timeout=20s`);
    await sleep(100);
    await host.queue.send(history.envelope([history.segment(4, 6)], newest(6)));
    const second = await later;

    assert.deepEqual([first.txid, first.isReached, first.wanted], [hex(4), true, 1]);
    assert.equal(second.status, 200);
    const { waitedMs, replicas } = waitSchema.parse(second.body);
    assert.ok(waitedMs >= 90 && waitedMs < 5000, String(waitedMs));
    assert.deepEqual(
      replicas.map((one) => [one.hasIt, one.txid]),
      [[true, hex(6)]],
    );
  });

  test("a frozen replica keeps those who want all of them, and nobody else", async (t) => {
    const dataDir = await temporaryDirectory(t);
    const [file, frozen] = [{ type: "file", path: join(dataDir, "one") } as const, await frozenReplica(t)];
    const host = await start(t, dataDir, [file, frozen]);
    await host.queue.send(history.envelope([history.snapshot(4)], newest(4)));

    const one = await wait(host, "replicas=1&timeout=20s");
    const all = await wait(host, "timeout=500ms");

    assert.equal(one.status, 200);
    assert.equal(all.status, 504);
    const { code, state } = all.body as { code: string; state: unknown };
    assert.equal(code, "timeout");
    const { isReached, replicas } = waitSchema.parse(state);
    assert.deepEqual([isReached, ...replicas.map(({ hasIt }) => hasIt)], [false, true, false]);
  });

  test("the end of the host ends it at once; after a restart it goes on, until the replica that was away is back", async (t) => {
    const dataDir = await temporaryDirectory(t);
    const blocked = join(dataDir, "blocked");
    await writeFile(blocked, "no directory");
    const replicas = ["one", "blocked/two"].map(
      (path) => ({ type: "file", path: join(dataDir, path) }) as const,
    );
    const before = await start(t, dataDir, replicas);
    await before.queue.send(history.envelope([history.snapshot(4)], newest(4)));
    assert.equal((await wait(before, "replicas=1&timeout=20s")).status, 200);
    const cut = wait(before, "timeout=60s");
    await sleep(100);
    const closedAtMs = performance.now();
    await before.close({ deadlineMs: 3000 });

    assert.equal((await cut).status, 503);
    assert.ok(performance.now() - closedAtMs < 5000);
    const after = await start(t, dataDir, replicas);
    const again = wait(after, "timeout=60s");
    await sleep(500);
    await rm(blocked);
    const { status, body } = await again;
    assert.equal(status, 200);
    assert.deepEqual(
      waitSchema.parse(body).replicas.map((one) => one.txid),
      [hex(4), hex(4)],
    );
  });

  test("counts a replica only when it was listed since, where that is asked for", async (t) => {
    const dataDir = await temporaryDirectory(t);
    const places = ["one", "two"].map((name) => join(dataDir, name));
    const replicas = places.map((path) => ({ type: "file", path }) as const);
    const host = await start(t, dataDir, replicas);
    await host.queue.send(history.envelope([history.snapshot(4)], newest(4)));
    const sound = waitSchema.parse((await wait(host, "timeout=20s&listedWithin=0s")).body);
    // Somebody removes what the host remembers.
    await rm(places[1] ?? "", { recursive: true });

    const remembered = waitSchema.parse((await wait(host, "timeout=20s&listedWithin=1h")).body);
    const looked = await wait(host, "timeout=2s&listedWithin=0s");
    const one = waitSchema.parse((await wait(host, "timeout=20s&listedWithin=0s&replicas=1")).body);

    for (const { hasIt, listedAgoMs } of sound.replicas)
      assert.ok(hasIt && (listedAgoMs ?? Number.NaN) <= sound.waitedMs + 1);
    assert.deepEqual(
      remembered.replicas.map(({ hasIt }) => hasIt),
      [true, true],
    );
    assert.equal(looked.status, 504);
    const { state, detail } = looked.body as { state: unknown; detail: string };
    const rows = waitSchema.parse(state).replicas;
    assert.deepEqual(
      rows.map(({ hasIt }) => hasIt),
      [true, false],
    );
    assert.match(detail, /1 of 2 replicas can restore .*two has nothing/);
    assert.equal(one.isReached, true);
  });

  test("a replica that cannot be listed does not count, and is listed when it is back", async (t) => {
    const dataDir = await temporaryDirectory(t);
    const [path, there, blocked] = ["one", "disk", "blocked"].map((name) => join(dataDir, name)) as [
      string,
      string,
      string,
    ];
    await mkdir(there);
    await writeFile(blocked, "no directory");
    await symlink(there, path);
    const host = await start(t, dataDir, [{ type: "file", path }]);
    await host.queue.send(history.envelope([history.snapshot(4)], newest(4)));
    assert.equal((await wait(host, "timeout=20s")).status, 200);
    // What the link leads to changes in one step: a replica that is seen empty in between would be another case.
    await relink(blocked, path);

    const away = await wait(host, "timeout=1s&listedWithin=0s");
    const back = wait(host, "timeout=60s&listedWithin=0s");
    await relink(there, path);

    assert.equal(away.status, 504);
    assert.match((away.body as { detail: string }).detail, /one had it, and cannot be listed now/);
    assert.equal((await back).status, 200);
  });

  test("refuses what cannot be, and does not know what is not backed up", async (t) => {
    const dataDir = await temporaryDirectory(t);
    const host = await start(t, dataDir, [{ type: "file", path: join(dataDir, "one") }]);
    assert.equal((await wait(host, "")).status, 404);
    await host.queue.send(history.envelope([history.snapshot(4)], newest(4)));
    // Which databases there are may be known a moment later.
    for (let turn = 0; turn < 200 && (await wait(host, "timeout=0s")).status === 404; turn += 1)
      await sleep(50);

    for (const query of ["replicas=2", "replicas=0", "timeout=6m", "timeout=long", "txid=z"])
      assert.equal((await wait(host, query)).status, 400, query);
  });

  test("takes so many at a time and no more; one that hangs up makes room", async (t) => {
    const dataDir = await temporaryDirectory(t);
    const host = await start(t, dataDir, [{ type: "file", path: join(dataDir, "one") }]);
    await host.queue.send(history.envelope([history.snapshot(4)], newest(4)));
    const gone = new AbortController();
    const many = Array.from({ length: 64 }, () => wait(host, `txid=${hex(9)}&timeout=60s`, gone.signal));
    for (const one of many) one.catch(() => undefined);
    await sleep(1000);

    const refused = await wait(host, `txid=${hex(9)}&timeout=1s`);
    gone.abort();
    await Promise.allSettled(many);
    await sleep(200);
    const taken = await wait(host, `txid=${hex(4)}&timeout=1s`);

    assert.equal(refused.status, 429);
    assert.ok(Number(refused.headers.get("retry-after")) > 0);
    assert.equal(taken.status, 200);
  });
});
