// The bad days of a NATS object store, on real servers: after each nothing is lost, nothing is half visible, and it works
// again without a human.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from "node:net";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Store } from "@pageferry/functions";
import { natsStore } from "@pageferry/functions/stores/nats";
import { retrying } from "@pageferry/functions/stores/retrying";
import { connect, DiscardPolicy } from "nats";
import { startProcess } from "../processes.ts";
import {
  makeOperator,
  type NatsServerProcess,
  natsMissing,
  startNats,
  startNatsCluster,
} from "../servers/nats.ts";
import { temporaryDirectory, until } from "../temporary.ts";

const mebibyte = 1024 * 1024;
const text = (words: string): Uint8Array => new TextEncoder().encode(words);

async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream));
}

const digestOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** What a store has for certain: what it said is stored, by name. */
type Promised = Map<string, string>;

/** Everything promised is there, byte for byte, and everything that is listed can be read whole. */
async function checkAll(store: Store, promised: Promised): Promise<void> {
  const listed = new Map((await Array.fromAsync(store.list(""))).map(({ name, size }) => [name, size]));
  for (const name of promised.keys()) assert.ok(listed.has(name), `${name} was stored, and is not listed`);
  const check = async ([name, size]: readonly [string, number]) => {
    const bytes = await readAll(await store.get(name));
    assert.equal(bytes.length, size, name);
    assert.equal(digestOf(bytes), promised.get(name) ?? digestOf(bytes), name);
  };
  const all = [...listed];
  while (all.length > 0) await Promise.all(all.splice(0, 16).map(check));
}

async function put(store: Store, promised: Promised, name: string, bytes: Uint8Array): Promise<void> {
  await store.put(name, bytes);
  promised.set(name, digestOf(bytes));
}

const open = (server: NatsServerProcess, options: { readonly timeoutMs?: number } = {}) =>
  natsStore({ url: server.url, bucket: "b", createBucket: true, timeoutMs: 3_000, ...options });

const isUnavailable = { code: "unavailable" };

/** A body that gives its second half when told to. */
function pausedBody(bytes: Uint8Array) {
  const half = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  return {
    half: half.promise,
    go: () => go.resolve(),
    body: {
      size: bytes.length,
      async *open() {
        yield bytes.subarray(0, bytes.length / 2);
        half.resolve();
        await go.promise;
        yield bytes.subarray(bytes.length / 2);
      },
    },
  };
}

/** A relay between store and server that can hang up on its clients. */
async function relayTo(
  port: number,
): Promise<AsyncDisposable & { readonly url: string; hangUp(): void; readonly count: () => number }> {
  const sockets = new Set<Socket>();
  let count = 0;
  const relay: Server = createServer((client) => {
    count += 1;
    const upstream = dial(port, "127.0.0.1");
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on("error", () => undefined).on("close", () => to.destroy());
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
  const hangUp = () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  return {
    url: `nats://127.0.0.1:${(relay.address() as AddressInfo).port}`,
    hangUp,
    count: () => count,
    async [Symbol.asyncDispose]() {
      relay.close();
      hangUp();
    },
  };
}

suite("a NATS server on a bad day:", { skip: natsMissing, concurrency: 2 }, () => {
  test("killed in the middle of a put, a get and a list", async () => {
    await using server = await startNats();
    await using store = open(server);
    const promised: Promised = new Map();
    const large = randomBytes(8 * mebibyte);
    await put(store, promised, "before", large);
    await Promise.all(
      Array.from({ length: 1_200 }, (_, at) => put(store, promised, `many/${at}`, text(`${at}`))),
    );

    // In the middle of a put.
    const paused = pausedBody(randomBytes(2 * mebibyte));
    const putting = store.put("half", paused.body);
    await paused.half;
    await server.kill();
    paused.go();
    await assert.rejects(putting, isUnavailable);
    await assert.rejects(store.get("before"), isUnavailable);
    await server.restart();
    await checkAll(store, promised);
    await assert.rejects(store.get("half"), { code: "not-found" });
    await put(store, promised, "half", await readAll(paused.body.open()));

    // In the middle of a get.
    const reader = (await store.get("before")).getReader();
    await reader.read();
    await server.kill();
    await assert.rejects(async () => {
      while (!(await reader.read()).done);
    }, isUnavailable);
    await server.restart();

    // In the middle of a list: thrown, or whole if it was quicker; never ended early.
    for (const afterMs of [0, 3, 8]) {
      await readAll(await store.get("many/0"));
      const listing = Array.fromAsync(store.list("")).catch((error: unknown) => error);
      await sleep(afterMs);
      await server.kill();
      const listed = await listing;
      if (Array.isArray(listed)) assert.equal(listed.length, promised.size);
      else assert.equal((listed as { code?: unknown }).code, "unavailable");
      await server.restart();
    }

    await checkAll(store, promised);
    await put(store, promised, "after", text("works"));
  });

  test("killed again and again under writers that try again", async () => {
    await using server = await startNats();
    await using store = retrying(open(server), { attempts: 12, retryForMs: 30_000 });
    const promised: Promised = new Map();
    let isOver = false;
    const writers = Array.from({ length: 6 }, async (_, writer) => {
      for (let at = 0; !isOver; at++) {
        await put(store, promised, `${writer}/${at}`, randomBytes(at % 5 === 0 ? 700_000 : 9_000));
      }
    });

    for (let round = 0; round < 3; round++) {
      const enough = promised.size + 10;
      await until("some more are stored", () => promised.size >= enough, { everyMs: 5 });
      await server.restart();
    }
    isOver = true;
    await Promise.all(writers);

    await checkAll(store, promised);
  });

  test("killed in the middle of replacing: the old bytes or the new", async () => {
    await using server = await startNats();
    await using store = open(server);
    const versions = [Buffer.alloc(200_000, 1), Buffer.alloc(150_000, 2)] as const;
    await store.replace("needs.json", versions[0]);
    for (let round = 0; round < 3; round++) {
      let isDown = false;
      const writing = (async () => {
        for (let turn = 0; !isDown; turn++)
          await store.replace("needs.json", versions[turn % 2 === 0 ? 1 : 0]);
      })().catch((error: unknown) => assert.equal((error as { code?: unknown }).code, "unavailable"));
      await sleep(20 + 15 * round);
      await server.kill();
      isDown = true;
      await writing;
      await server.restart();

      const read = await readAll(await store.get("needs.json"));
      assert.ok(
        versions.some((version) => version.equals(read)),
        `${read.length} bytes`,
      );
    }
  });

  test("frozen for longer than the timeout", async () => {
    await using server = await startNats();
    await using store = open(server, { timeoutMs: 500 });
    const promised: Promised = new Map();
    await put(store, promised, "before", randomBytes(3 * mebibyte));
    const reader = (await store.get("before")).getReader();
    await reader.read();

    server.freeze();
    const startMs = performance.now();
    await assert.rejects(store.put("a", text("a")), isUnavailable);
    await assert.rejects(async () => {
      while (!(await reader.read()).done);
    }, isUnavailable);
    await Promise.all([
      assert.rejects(store.put("b", randomBytes(mebibyte)), isUnavailable),
      assert.rejects(store.get("before"), isUnavailable),
      assert.rejects(Array.fromAsync(store.list("")), isUnavailable),
      assert.rejects(store.remove(["before"]), isUnavailable),
      assert.rejects(store.replace("needs.json", text("x")), isUnavailable),
    ]);
    const tookMs = performance.now() - startMs;
    server.thaw();

    assert.ok(tookMs < 8_000, `${tookMs} ms`);
    await until("it works again", () => store.put("after", text("x")));
    promised.set("after", digestOf(text("x")));
    // What was asked for while it stood still may yet be done: whole or not at all, and again is harmless.
    await put(store, promised, "a", text("a"));
    const listed = (await Array.fromAsync(store.list(""))).map(({ name }) => name);
    if (!listed.includes("before")) promised.delete("before");
    await checkAll(store, promised);
  });

  test("frozen for less than the timeout is only slow", async () => {
    await using server = await startNats();
    await using store = open(server);
    await store.put("a", text("a"));

    server.freeze();
    const putting = store.put("b", randomBytes(mebibyte));
    await sleep(500);
    server.thaw();

    assert.equal(await putting, "stored");
  });

  test("its limit reached is disk-full, and over when there is room", async () => {
    await using server = await startNats({ maxFile: "8MB" });
    await using store = open(server);
    const promised: Promised = new Map();
    let refused: unknown;
    for (let at = 0; refused === undefined && at < 20; at++) {
      await put(store, promised, `${at}`, randomBytes(mebibyte)).catch((error: unknown) => {
        refused = error;
      });
    }

    assert.equal((refused as { code?: unknown }).code, "disk-full");
    await assert.rejects(store.put("large", randomBytes(3 * mebibyte)), { code: "disk-full" });
    await checkAll(store, promised);
    await store.remove(["0", "1"]);
    promised.delete("0");
    promised.delete("1");
    await until("there is room", () => put(store, promised, "after", randomBytes(mebibyte)).then(() => true));
    await checkAll(store, promised);
  });

  test("the bucket's limit reached is disk-full, whichever message it hits, and over when it is raised", async () => {
    await using server = await startNats();
    await using store = open(server);
    const promised: Promised = new Map();
    await put(store, promised, "first", randomBytes(1_000));
    const admin = await connect({ servers: server.url });
    await using _ = { [Symbol.asyncDispose]: () => admin.close() };
    const { streams } = await admin.jetstreamManager();
    const limitTo = async (bytes: number) => {
      const { config } = await streams.info("OBJ_b");
      await streams.update("OBJ_b", { ...config, max_bytes: bytes });
    };
    const used = async () => (await streams.info("OBJ_b")).state.bytes;

    // Room for the chunk, but not for the description that follows it.
    for (const room of [100, 5_150, 5_300, 5_500]) {
      await limitTo((await used()) + room);
      await store.put("x", randomBytes(5_000)).then(
        () => store.remove(["x"]),
        (error: unknown) => assert.equal((error as { code?: unknown }).code, "disk-full"),
      );
      await checkAll(store, promised);
    }
    await limitTo(-1);

    await put(store, promised, "after", randomBytes(mebibyte));
    await checkAll(store, promised);
  });

  test("the bucket deleted is unavailable with a hint, and filled again when it is back", async () => {
    await using server = await startNats();
    await using maker = open(server);
    await maker.put("a", text("x"));
    await using store = natsStore({ url: server.url, bucket: "b", timeoutMs: 3_000 });
    const admin = await connect({ servers: server.url });
    await using _ = { [Symbol.asyncDispose]: () => admin.close() };
    const { streams } = await admin.jetstreamManager();
    assert.equal(await store.put("a", text("x")), "present");
    const paused = pausedBody(randomBytes(mebibyte));
    const putting = store.put("half", paused.body);
    await paused.half;

    await streams.delete("OBJ_b");
    paused.go();

    const saysHow = (error: Error & { code?: string; hint?: string }) =>
      error.code === "unavailable" && /nats object add b/.test(error.hint ?? "");
    // What was on its way is answered by nobody.
    await assert.rejects(putting, isUnavailable);
    await assert.rejects(store.put("a", text("x")), saysHow);
    await assert.rejects(store.get("a"), saysHow);
    await assert.rejects(Array.fromAsync(store.list("")), saysHow);
    await assert.rejects(store.replace("needs.json", text("x")), saysHow);
    // The one that may makes it anew, at most one refused call later; the other finds it.
    await until("it is made", () => maker.put("b", text("y")), { timeoutMs: 5_000 });
    assert.equal(await store.put("a", text("x")), "stored");
    assert.deepEqual(
      (await Array.fromAsync(store.list(""))).map(({ name }) => name),
      ["a", "b"],
    );
  });

  test("deleted and made again behind a connection's back", async () => {
    await using server = await startNats();
    await using store = open(server);
    await store.put("a", text("x"));
    const admin = await connect({ servers: server.url });
    await using _ = { [Symbol.asyncDispose]: () => admin.close() };
    const { streams } = await admin.jetstreamManager();
    const { config } = await streams.info("OBJ_b");

    await streams.delete("OBJ_b");
    await streams.add(config);

    assert.deepEqual(await Array.fromAsync(store.list("")), []);
    await assert.rejects(store.get("a"), { code: "not-found" });
    assert.equal(await store.put("a", text("x")), "stored");
  });

  test("credentials revoked are unauthorized, and given back are taken", async () => {
    const operator = makeOperator();
    await using directory = await temporaryDirectory();
    await using server = await startNats({ config: operator.config });
    await writeFile(directory.file("user.creds"), operator.creds);
    const creds = directory.file("user.creds");
    await using store = natsStore({
      url: server.url,
      bucket: "b",
      createBucket: true,
      creds,
      timeoutMs: 3_000,
    });
    await store.put("a", text("x"));
    const paused = pausedBody(randomBytes(mebibyte));
    const putting = store.put("half", paused.body);
    await paused.half;

    await server.reload(operator.revoked);
    paused.go();

    await assert.rejects(putting, (error: { code?: string }) =>
      ["unavailable", "unauthorized"].includes(error.code ?? ""),
    );
    await assert.rejects(store.put("b", text("y")), { code: "unauthorized" });
    await assert.rejects(store.get("a"), { code: "unauthorized" });
    await server.reload(operator.config);
    assert.equal(await store.put("b", text("y")), "stored");
    assert.deepEqual(
      (await Array.fromAsync(store.list(""))).map(({ name }) => name),
      ["a", "b"],
    );
  });

  test("hung up on, idle or at work, it connects again", async () => {
    await using server = await startNats();
    await using relay = await relayTo(server.port);
    await using store = natsStore({ url: relay.url, bucket: "b", createBucket: true, timeoutMs: 3_000 });
    await store.put("a", randomBytes(3 * mebibyte));

    // Idle: the next call does not even notice.
    relay.hangUp();
    await sleep(50);
    assert.equal(await store.put("b", text("x")), "stored");
    // At work.
    const reader = (await store.get("a")).getReader();
    await reader.read();
    const startMs = performance.now();
    relay.hangUp();
    await assert.rejects(async () => {
      while (!(await reader.read()).done) relay.hangUp();
    }, isUnavailable);
    assert.ok(performance.now() - startMs < 2_500, "told at once, not after the timeout");
    await using patient = retrying(store);
    const read = patient.get("a").then(readAll);
    await sleep(5);
    relay.hangUp();
    assert.equal((await read).length, 3 * mebibyte);
  });

  test("a cluster with three copies, whose leader is killed", async () => {
    await using cluster = await startNatsCluster();
    const url = cluster.servers.map((server) => server.url).join(",");
    const admin = await connect({ servers: cluster.servers.map((server) => `127.0.0.1:${server.port}`) });
    await using _ = { [Symbol.asyncDispose]: () => admin.close() };
    const { streams } = await admin.jetstreamManager();
    await streams.add({
      name: "OBJ_b",
      subjects: ["$O.b.C.>", "$O.b.M.>"],
      num_replicas: 3,
      discard: DiscardPolicy.New,
      allow_direct: true,
      allow_rollup_hdrs: true,
    });
    const storeOf = (at: number) =>
      retrying(
        natsStore({
          url: [...url.split(",").slice(at), ...url.split(",").slice(0, at)].join(","),
          bucket: "b",
          timeoutMs: 3_000,
        }),
        {
          attempts: 20,
          retryForMs: 40_000,
        },
      );
    await using one = storeOf(0);
    await using two = storeOf(1);
    const promised: Promised = new Map();

    // Writers on two servers, one winner for each name; a listing by whichever follower shows all of them.
    for (let round = 0; round < 5; round++) {
      const race = await Promise.allSettled(
        Array.from({ length: 12 }, (_, at) => (at % 2 === 0 ? one : two).put(`race/${round}`, text(`${at}`))),
      );
      assert.equal(race.filter(({ status }) => status === "fulfilled").length, 1);
      promised.set(`race/${round}`, digestOf(await readAll(await one.get(`race/${round}`))));
    }
    // A follower that stood still for a moment lags: asked at once, it lists all the same.
    const leaderBefore = (await streams.info("OBJ_b")).cluster?.leader ?? "";
    const follower = [0, 1, 2].find((at) => `n${at}` !== leaderBefore) ?? 0;
    await using lagging = storeOf(follower);
    await Array.fromAsync(lagging.list(""));
    await using quick = storeOf(Number(leaderBefore.slice(1)));
    cluster.servers[follower]?.freeze();
    await Promise.all(
      Array.from({ length: 300 }, (_, at) => put(quick, promised, `a/${at}`, randomBytes(20_000))),
    );
    cluster.servers[follower]?.thaw();
    const listed = (await Array.fromAsync(lagging.list(""))).map(({ name }) => name);
    assert.deepEqual(
      [...promised.keys()].filter((name) => !listed.includes(name)),
      [],
    );

    const leader = (await streams.info("OBJ_b")).cluster?.leader ?? "n0";
    await cluster.servers[Number(leader.slice(1))]?.kill();
    await Promise.all(
      Array.from({ length: 20 }, (_, at) =>
        put(at % 2 === 0 ? one : two, promised, `after/${at}`, randomBytes(300_000)),
      ),
    );

    await checkAll(one, promised);
    await checkAll(two, promised);
  });

  test("of a writer that was killed nothing is seen, and what it left is swept", async () => {
    await using server = await startNats();
    await using store = open(server);
    await store.put("a", text("x"));
    const module = new URL(import.meta.resolve("@pageferry/functions/stores/nats")).href;
    const program = `
      const { natsStore } = await import(${JSON.stringify(module)});
      const store = natsStore({ url: ${JSON.stringify(server.url)}, bucket: "b" });
      const body = { size: 50_000_000, async *open() { for (let at = 0; at < 50; at++) { yield Buffer.alloc(1_000_000); if (at === 5) console.log("half"); if (at > 5) await new Promise((go) => setTimeout(go, 50)); } } };
      await store.put("half", body);`;
    await using writer = startProcess(process.execPath, [
      "-C",
      "@pageferry/source",
      "--disable-warning=ExperimentalWarning",
      "--input-type=module",
      "-e",
      program,
    ]);
    await writer.line(/half/);
    writer.kill();
    await writer.ended;
    const admin = await connect({ servers: server.url });
    await using _ = { [Symbol.asyncDispose]: () => admin.close() };
    const { streams } = await admin.jetstreamManager();
    assert.ok((await streams.info("OBJ_b")).state.bytes > mebibyte);

    assert.deepEqual(await Array.fromAsync(store.list("")), [{ name: "a", size: 1 }]);
    await using owner = natsStore({ url: server.url, bucket: "b", sweep: true, leftoverAgeMs: 0 });
    await Array.fromAsync(owner.list(""));

    await until("it is swept", async () => (await streams.info("OBJ_b")).state.bytes < 10_000);
    assert.equal((await readAll(await store.get("a"))).toString(), "x");
  });
});
