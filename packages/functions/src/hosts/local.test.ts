import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { access, cp, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import {
  formatStateHash,
  formatTxId,
  type Generation,
  type Needs,
  parseManifest,
  parseNeeds,
  parseObjectName,
  planOf,
} from "@pageferry/format";
import { epochMs, historyOf, id } from "../../testing/history.ts";
import { type LocalHost, type LocalHostConfig, localHost } from "./local.ts";

const history = historyOf("a1");

async function temporaryDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-host-"));
  t.after(() => rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }));
  return directory;
}

async function start(t: TestContext, dataDir?: string, more: Partial<LocalHostConfig> = {}) {
  const directory = dataDir ?? (await temporaryDirectory(t));
  const host = await localHost(
    { dataDir: directory, listen: { host: "127.0.0.1", port: 0 }, ...more },
    { settleMs: 50 },
  );
  t.after(() => host.close());
  return { host, dataDir: directory, call: caller(host) };
}

function caller(host: LocalHost) {
  return (
    method: string,
    path: string,
    body?: Uint8Array,
    headers: Record<string, string> = {},
  ): Promise<Response> =>
    fetch(`${host.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${host.token}`,
        ...(method === "POST" ? { "content-type": "application/cbor" } : {}),
        ...headers,
      },
      ...(body === undefined ? {} : { body }),
    });
}

const post = (call: ReturnType<typeof caller>, body: Uint8Array) => call("POST", "/v1/ingest", body);

async function until(condition: () => Promise<boolean>, ms = 60_000): Promise<void> {
  for (const end = Date.now() + ms; !(await condition()); await sleep(10)) {
    assert.ok(Date.now() < end, "it did not come in time");
  }
}

async function namesIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && !entry.name.endsWith(".tmp"))
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();
}

const isStored = (dataDir: string, name: string) => () =>
  access(join(dataDir, "replica/app", name)).then(
    () => true,
    () => false,
  );

suite("the local host", () => {
  test("keeps all it needs in its data directory, for its owner's eyes", async (t) => {
    const { dataDir, call } = await start(t);
    await post(call, history.envelope([history.snapshot(4)]));
    await until(isStored(dataDir, history.snapshot(4).name));

    assert.deepEqual((await readdir(dataDir)).filter((name) => !name.startsWith("queue.db-")).sort(), [
      "manifest-key.pem",
      "manifest-key.pub",
      "queue.db",
      "replica",
      "stage",
      "token",
    ]);
    for (const name of ["manifest-key.pem", "queue.db", "token"])
      assert.equal((await stat(join(dataDir, name))).mode & 0o777, 0o600);
    for (const name of ["stage", "replica"])
      assert.equal((await stat(join(dataDir, name))).mode & 0o777, 0o700);
  });

  test("brings an envelope to the replica: generation.json, snapshot and segments", async (t) => {
    const { dataDir, call } = await start(t);
    const items = [history.snapshot(4), history.segment(4, 6)];

    const answer = await post(call, history.envelope(items));

    assert.equal(answer.status, 202);
    await until(isStored(dataDir, items[1]?.name ?? ""));
    assert.deepEqual(
      await namesIn(join(dataDir, "replica/app")),
      [`${history.generation}/generation.json`, ...items.map(({ name }) => name)].sort(),
    );
  });

  test("brings to the replica that a generation has begun which has nothing yet, where it stands on a point that is there", async (t) => {
    const { host, dataDir, call } = await start(t, undefined, { snapshotIntervalMs: 6 * 3_600_000 });
    await post(call, history.envelope([history.snapshot(4), history.segment(4, 6)]));
    await until(isStored(dataDir, history.segment(4, 6).name));
    const point = { generation: history.generation, txId: id(6) };
    const asked = (state: bigint) =>
      `/v1/databases/app/holds?generation=${point.generation}&txid=${formatTxId(point.txId)}&stateHash=${formatStateHash(state)}`;
    const holds = async (state: bigint) => (await call("GET", asked(state))).json();
    assert.deepEqual(await holds(history.stateHash(6)), { version: 1, holds: true });
    assert.deepEqual(await holds(history.stateHash(4)), { version: 1, holds: false });
    assert.equal((await call("GET", asked(1n).slice(0, -1))).status, 400);
    assert.equal((await call("GET", "/v1/databases/app/holds")).status, 400);
    const begin = { ...history.begin, epoch: 2, parent: point };
    const silent = historyOf("b2", "", { ...begin, generation: historyOf("b2").generation });
    const restored = historyOf("c3", "", {
      ...{ ...begin, generation: historyOf("c3").generation, epoch: 3 },
      parentStateHash: history.stateHash(6),
    });

    const beats = [silent, restored, restored].map((of) => of.envelope([], { newestTxId: id(6) }));
    for (const beat of beats) assert.equal((await post(call, beat)).status, 202);

    await until(isStored(dataDir, `${restored.generation}/generation.json`));
    const { generations } = await host.queue.needs("app");
    assert.deepEqual(generations[restored.generation], { storedTxId: 6n, missing: [], snapshot: false });
    const { generation, replicas } = await host.status("app");
    assert.equal(generation, restored.generation);
    assert.deepEqual(
      replicas.map(({ txid, lagMs, lagTransactions }) => [txid, lagMs, lagTransactions]),
      [[formatTxId(id(6)), 0, 0]],
    );
    const names = await namesIn(join(dataDir, "replica/app"));
    assert.ok(!names.some((name) => name.startsWith(silent.generation)), "of the others nothing is kept");
  });

  test("takes large bodies staged, and collects nothing that is still needed", async (t) => {
    const { dataDir, call } = await start(t);
    const { name, bytes } = history.snapshot(4, 4 * 1024 * 1024);
    const digest = createHash("sha256").update(bytes).digest("hex");

    assert.equal((await call("PUT", `/v1/stage/${digest}?database=app`, bytes)).status, 201);
    assert.equal((await call("PUT", `/v1/stage/${digest}?database=app`, bytes)).status, 200);
    assert.equal((await call("PUT", `/v1/stage/${"0".repeat(64)}?database=app`, bytes)).status, 422);
    assert.equal((await post(call, history.envelope([{ name, digest, size: bytes.length }]))).status, 202);

    await until(isStored(dataDir, name));
    assert.deepEqual(await readFile(join(dataDir, "replica/app", name)), Buffer.from(bytes));
  });

  test("copies what is very large in a lane of its own, while segments go by", async (t) => {
    const { dataDir, call } = await start(t);
    const { name, bytes } = history.snapshot(4, 20 * 1024 * 1024);
    const digest = createHash("sha256").update(bytes).digest("hex");
    await call("PUT", `/v1/stage/${digest}?database=app`, bytes);

    await post(call, history.envelope([{ name, digest, size: bytes.length }]));
    await post(call, history.envelope([history.segment(4, 5)]));

    await until(isStored(dataDir, history.segment(4, 5).name));
    await until(isStored(dataDir, name));
  });

  test("asks again for a staged body that is not there, and does not take the pointer", async (t) => {
    const { call } = await start(t);
    const answer = await post(
      call,
      history.envelope([{ name: history.snapshot(4).name, digest: "0".repeat(64), size: 7 }]),
    );

    assert.equal(answer.status, 503);
    assert.ok(Number(answer.headers.get("retry-after")) > 0);
    assert.match(((await answer.json()) as { detail: string }).detail, /stage it again/);
  });

  test("serves from one process at a time, and again at once after that", async (t) => {
    const { host, dataDir } = await start(t);

    await assert.rejects(localHost({ dataDir, listen: { host: "127.0.0.1", port: 0 } }), { code: "locked" });
    await host.close();
    await host.close();

    const again = await start(t, dataDir);
    assert.equal(again.host.token, host.token);
  });

  test("lets go what waits before it closes", async (t) => {
    const { host, dataDir, call } = await start(t);
    for (let at = 4; at < 60; at++)
      assert.equal((await post(call, history.envelope([history.segment(at, at + 1)]))).status, 202);

    await host.close();

    const last = (await namesIn(join(dataDir, "replica/app")))
      .map(parseObjectName)
      .flatMap((name) => (name !== undefined && "lastTxId" in name ? [name.lastTxId] : []));
    assert.equal(last.sort((a, b) => Number(b - a))[0], 60n);
  });

  test("is an agent's queue in the same process, also without HTTP", async (t) => {
    const dataDir = await temporaryDirectory(t);
    await using host = await localHost({ dataDir }, { http: false });
    const { name, bytes } = history.snapshot(4);
    const digest = createHash("sha256").update(bytes).digest("hex");

    await host.queue.stage("app", {
      digest,
      size: bytes.length,
      open: async function* () {
        yield bytes;
      },
    });
    await host.queue.send(history.envelope([{ name, digest, size: bytes.length }]));
    await until(isStored(dataDir, name));

    assert.equal(host.url, undefined);
    await until(
      async () => (await host.queue.needs("app")).generations[history.generation]?.storedTxId === 4n,
    );
    await assert.rejects(host.queue.send(Buffer.from("x")), { code: "corrupt" });
  });
});

suite("the API", () => {
  test("answers nobody without the token, but says whether it is well", async (t) => {
    const { host } = await start(t);

    for (const [method, path] of [
      ["POST", "/v1/ingest"],
      ["PUT", `/v1/stage/${"0".repeat(64)}`],
      ["GET", "/v1/databases"],
      ["GET", "/v1/databases/app/needs"],
      ["GET", "/none"],
    ] as const) {
      for (const authorization of [
        "",
        "Bearer ",
        "Bearer wrong",
        `Basic ${host.token}`,
        `Bearer ${host.token}x`,
      ]) {
        const answer = await fetch(`${host.url}${path}`, { method, headers: { authorization } });
        assert.equal(answer.status, 401, `${method} ${path} ${authorization}`);
        assert.equal(answer.headers.get("content-type"), "application/problem+json");
        assert.equal(((await answer.json()) as { code: string }).code, "unauthorized");
      }
    }
    const health = await fetch(`${host.url}/healthz`);
    assert.deepEqual([health.status, ((await health.json()) as { status: string }).status], [200, "ok"]);
  });

  test("refuses what is at fault with a code and a hint, and keeps working", async (t) => {
    const { call, dataDir } = await start(t);
    const broken = history.segment(4, 5);
    broken.bytes.set([255, 255], 60);
    const foreign = historyOf("ff").segment(4, 5);
    const refusals: readonly (readonly [Response, number, string])[] = [
      [await post(call, Buffer.from("not cbor")), 422, "corrupt"],
      [await post(call, new Uint8Array()), 422, "corrupt"],
      [await post(call, history.envelope([broken])), 422, "corrupt"],
      [await post(call, history.envelope([foreign])), 400, "bad-name"],
      [
        await post(call, history.envelope([{ ...history.segment(4, 5), name: "needs.json" }])),
        400,
        "bad-name",
      ],
      [
        await post(call, history.envelope([{ ...history.segment(4, 5), name: history.segment(4, 6).name }])),
        422,
        "corrupt",
      ],
      [await post(call, Buffer.alloc(33 * 1024 * 1024)), 413, "too-large"],
      [
        await call("POST", "/v1/ingest", Buffer.from("{}"), { "content-type": "application/json" }),
        415,
        "unsupported-media",
      ],
      [await call("PUT", "/v1/stage/xyz?database=app", Buffer.from("x")), 400, "bad-request"],
      [await call("PUT", `/v1/stage/${"0".repeat(64)}?database=..`, Buffer.from("x")), 400, "bad-name"],
      [await call("GET", "/v1/databases/..%2f..%2fetc/needs"), 400, "bad-name"],
      [await call("GET", "/v1/databases/none/points"), 404, "not-found"],
      [await call("GET", "/v1/nothing"), 404, "not-found"],
    ];

    for (const [answer, status, code] of refusals) {
      const problem = (await answer.json()) as { code: string; hint: string };
      assert.deepEqual([answer.status, problem.code], [status, code]);
      assert.ok(problem.hint.length > 0);
    }
    await post(call, history.envelope([history.segment(4, 5)]));
    await until(isStored(dataDir, history.segment(4, 5).name));
  });

  test("tells an agent what is stored, what is missing, and when a snapshot is wanted", async (t) => {
    const { call } = await start(t);
    const needs = async (): Promise<Needs> =>
      parseNeeds(await (await call("GET", "/v1/databases/app/needs")).bytes());
    const become = (expected: Needs["generations"][Generation]) =>
      until(async () => isDeepStrictEqual((await needs()).generations[history.generation], expected));
    assert.deepEqual(await needs(), { version: 1, newestEpoch: 0, generations: {} });

    await post(call, history.envelope([history.segment(4, 5)]));
    await become({ storedTxId: null, missing: [], snapshot: true });

    await post(call, history.envelope([history.snapshot(4), history.segment(8, 9)]));
    await become({ storedTxId: id(5), missing: [[id(5), id(8)]], snapshot: false });

    await post(call, history.envelope([history.segment(5, 8)]));
    await become({ storedTxId: id(9), missing: [], snapshot: false });
    assert.equal((await needs()).newestEpoch, 1);
  });

  test("shows how each replica stands", async (t) => {
    const directory = await temporaryDirectory(t);
    const replicas = ["one", "two"].map((name) => ({ type: "file" as const, path: join(directory, name) }));
    const { call } = await start(t, join(directory, "data"), { replicas });
    const newest = { newestTxId: id(5), newestStampMs: epochMs + 5000 };
    await post(call, history.envelope([history.snapshot(4), history.segment(4, 5)], newest));
    const status = async () =>
      (await (await call("GET", "/v1/databases/app")).json()) as Record<string, unknown>;
    await until(async () => (await status()).lagMs === 0);

    const shown = await status();

    const rows = shown.replicas as Record<string, unknown>[];
    for (const [at, { path }] of replicas.entries()) {
      assert.partialDeepStrictEqual(rows[at], {
        ...{ name: `file://${path}`, txid: formatTxId(id(5)), time: new Date(epochMs + 5000).toISOString() },
        ...{ lagMs: 0, lagTransactions: 0, waiting: 0, waitingBytes: 0, deadLetters: 0, quarantined: 0 },
        ...{ breaker: "closed", failures: 0, error: null, needsRepair: false, verified: null },
      });
    }
    assert.deepEqual(
      [shown.name, shown.generation, shown.epoch, shown.txid],
      ["app", history.generation, 1, formatTxId(id(5))],
    );
    const all = (await (await call("GET", "/v1/databases")).json()) as { databases: { name: string }[] };
    assert.deepEqual(
      all.databases.map(({ name }) => name),
      ["app"],
    );
  });

  test("plans a restore and serves its objects, whole and in ranges, of an archive it did not write", async (t) => {
    const dataDir = await temporaryDirectory(t);
    await cp(
      new URL("../../../../test/golden/replica/data", import.meta.url).pathname,
      join(dataDir, "replica/old"),
      { recursive: true },
    );
    const { call } = await start(t, dataDir);
    const get = (path: string, headers?: Record<string, string>) =>
      call("GET", `/v1/databases/old${path}`, undefined, headers);

    const { points } = (await (await get("/points")).json()) as {
      points: { generation: string; txid: string; time: string }[];
    };
    const [newest] = points;
    const manifest = parseManifest(
      await (await get(`/manifest?txid=${newest?.txid}&generation=${newest?.generation}`)).bytes(),
    );
    const plan = planOf(manifest);

    assert.equal(formatTxId(plan.txId), newest?.txid);
    assert.equal(manifest.pageSize, 4096);
    for (const { name, size } of manifest.objects.slice(0, 3)) {
      const stored = await readFile(join(dataDir, "replica/old", name));
      assert.equal(size, stored.length);
      assert.deepEqual(Buffer.from(await (await get(`/objects/${name}`)).bytes()), stored);
      const part = await get(`/objects/${name}`, { range: "bytes=5-24" });
      assert.equal(part.status, 206);
      assert.deepEqual(Buffer.from(await part.bytes()), stored.subarray(5, 25));
      assert.equal(part.headers.get("content-range"), `bytes 5-24/${size}`);
      const rest = await get(`/objects/${name}`, { range: `bytes=-${size + 1}` });
      assert.deepEqual(Buffer.from(await rest.bytes()), stored);
      const past = await get(`/objects/${name}`, { range: `bytes=${size}-` });
      assert.deepEqual([past.status, past.headers.get("content-range")], [416, `bytes */${size}`]);
    }
    for (const name of ["../token", "..%2f..%2ftoken", "token", `${newest?.generation}/segments/none`]) {
      assert.equal((await get(`/objects/${name}`)).status, 404, name);
    }
    assert.equal((await get("/manifest?txid=ffffffffffffffff")).status, 404);
    assert.equal((await get("/manifest?timestamp=yesterday")).status, 400);
    assert.equal((await get("/manifest?replica=s3://none")).status, 404);
  });
});

suite("bad days", () => {
  test("two histories of one generation: an alarm, and both are kept", async (t) => {
    const { call, dataDir, host } = await start(t);
    const fork = historyOf("a1", "other");

    await post(call, history.envelope([history.segment(4, 5)]));
    await until(isStored(dataDir, history.segment(4, 5).name));
    await post(call, fork.envelope([fork.segment(4, 5)]));
    await until(async () => host.alarms().length > 0);

    assert.deepEqual(
      host.alarms().map(({ code, database }) => [code, database]),
      [["fork", "app"]],
    );
    assert.equal((await namesIn(join(dataDir, "replica/app/quarantine"))).length, 1);
  });

  test("a generation with two histories is refused from then on, also after a restart, until somebody decides", async (t) => {
    const { call, dataDir, host } = await start(t);
    const fork = historyOf("a1", "other");
    const next = historyOf("b2", "", { epoch: 2 });
    await post(call, history.envelope([history.segment(4, 5)]));
    await until(isStored(dataDir, history.segment(4, 5).name));
    await post(call, fork.envelope([fork.segment(4, 5)]));
    await until(async () => host.alarms().length > 0);

    const refused = [
      await post(call, history.envelope([history.segment(5, 6)])),
      await post(call, history.envelope([])),
    ];

    for (const answer of refused) {
      assert.equal(answer.status, 409);
      assert.equal(((await answer.json()) as { code: string }).code, "fork");
    }
    await host.close();
    const again = await start(t, dataDir);
    assert.deepEqual(
      again.host.alarms().map(({ code }) => code),
      ["fork"],
    );
    assert.equal((await post(again.call, history.envelope([]))).status, 409);
    const replayed = await again.call("POST", "/v1/replay?database=app&forks=true");
    assert.equal(((await replayed.json()) as { forks: number }).forks, 1);
    assert.equal((await post(again.call, history.envelope([history.segment(5, 6)]))).status, 202);
    assert.equal((await post(again.call, next.envelope([next.segment(4, 5)]))).status, 202);
    await again.host.close();
  });

  test("a newer generation takes the place of a forked one", async (t) => {
    const { call, dataDir, host } = await start(t);
    const fork = historyOf("a1", "other");
    const next = historyOf("b2", "", { epoch: 2 });
    await post(call, history.envelope([history.segment(4, 5)]));
    await until(isStored(dataDir, history.segment(4, 5).name));
    await post(call, fork.envelope([fork.segment(4, 5)]));
    await until(async () => host.alarms().length > 0);

    assert.equal((await post(call, next.envelope([next.snapshot(4)]))).status, 202);

    await host.close();
    assert.deepEqual((await start(t, dataDir)).host.alarms(), []);
  });

  test("a message at fault is set aside, and comes back when its cause is mended; twice is harmless", async (t) => {
    const directory = await temporaryDirectory(t);
    const [good, gone] = [join(directory, "good"), join(directory, "gone")];
    const { writeFile } = await import("node:fs/promises");
    await writeFile(gone, "x");
    const replicas = [good, gone].map((path) => ({ type: "file" as const, path }));
    const { call, host } = await start(t, join(directory, "data"), { replicas });
    const { name, bytes } = history.snapshot(4);
    const digest = createHash("sha256").update(bytes).digest("hex");
    const staged = join(directory, "data/stage", digest);
    await call("PUT", `/v1/stage/${digest}?database=app`, bytes);
    await post(call, history.envelope([{ name, digest, size: bytes.length }]));
    await until(async () => (await host.status("app")).replicas[1]?.waiting === 1);
    // Somebody tidied up where he should not have.
    await rm(staged);
    await rm(gone);
    await until(async () => (await host.status("app")).replicas[1]?.deadLetters === 1);
    await writeFile(staged, bytes);
    const replay = (query: string) => call("POST", `/v1/replay${query}`);

    const answers = [
      await replay(`?replica=${encodeURIComponent(`file://${gone}`)}&database=app`),
      await replay(`?replica=${encodeURIComponent(`file://${gone}`)}&database=app`),
    ];

    assert.deepEqual(await Promise.all(answers.map((answer) => answer.json())), [
      { replayed: [{ replica: `file://${gone}`, messages: 1 }], forks: 0 },
      { replayed: [{ replica: `file://${gone}`, messages: 0 }], forks: 0 },
    ]);
    await until(async () => (await namesIn(gone)).includes(`app/${name}`));
    assert.equal((await replay("?replica=s3://none")).status, 404);
    assert.equal((await replay("?database=..")).status, 400);
  });

  test("two live agents on one database, each with its own generation: an alarm", async (t) => {
    const { call, host } = await start(t);
    const other = historyOf("b2", "", { epoch: 2, host: "elsewhere" });
    const takeTurns = async (rounds: number) => {
      for (let round = 0; round < rounds; round++)
        for (const one of [history, other]) await post(call, one.envelope([]));
    };

    await takeTurns(2);
    assert.deepEqual(host.alarms(), []);
    await takeTurns(2);

    assert.deepEqual(
      host.alarms().map(({ code }) => code),
      ["fork"],
    );
  });

  test("a replica that is gone delays no other, loses nothing, and catches up by itself when it returns", async (t) => {
    const directory = await temporaryDirectory(t);
    const [good, gone] = [join(directory, "good"), join(directory, "gone")];
    const { writeFile } = await import("node:fs/promises");
    // A file where the directory should be: every put fails.
    await writeFile(gone, "x");
    const replicas = [good, gone].map((path) => ({ type: "file" as const, path }));
    const { call, host } = await start(t, join(directory, "data"), { replicas });

    for (let at = 4; at < 24; at++) {
      const startedMs = performance.now();
      await post(call, history.envelope([history.segment(at, at + 1)]));
      await until(async () => (await host.queue.needs("app").catch(() => undefined)) !== undefined);
      assert.ok(performance.now() - startedMs < 20_000);
    }
    await until(async () => (await host.status("app")).replicas[1]?.waiting === 20);
    assert.ok(((await host.status("app")).replicas[1]?.failures ?? 0) > 0);
    await rm(gone);

    await until(async () => (await host.status("app")).replicas[1]?.waiting === 0, 15_000);
    const lastOf = async (path: string) =>
      (await namesIn(path))
        .flatMap((name) => parseObjectName(name.slice(4)) ?? [])
        .flatMap((name) => ("lastTxId" in name ? [name.lastTxId] : []))
        .sort((a, b) => Number(b - a))[0];
    assert.equal(await lastOf(good), 24n);
    assert.equal(await lastOf(gone), 24n);
  });

  test("a queue that is full says when to come again, and takes more when there is room", async (t) => {
    const directory = await temporaryDirectory(t);
    const { writeFile } = await import("node:fs/promises");
    await writeFile(join(directory, "gone"), "x");
    const replicas = [{ type: "file" as const, path: join(directory, "gone") }];
    await using host = await localHost(
      { dataDir: join(directory, "data"), listen: { host: "127.0.0.1", port: 0 }, replicas },
      { queueBytesMax: 20_000 },
    );
    const call = caller(host);
    const statuses: number[] = [];

    for (let at = 4; at < 14; at++)
      statuses.push((await post(call, history.envelope([history.segment(at, at + 1, 4000)]))).status);
    assert.deepEqual(new Set(statuses), new Set([202, 503]));
    await rm(join(directory, "gone"));

    await until(
      async () => (await post(call, history.envelope([history.segment(30, 31, 4000)]))).status === 202,
      15_000,
    );
  });
});
