import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { retrying } from "@pageferry/functions/stores/retrying";
import { type S3StoreOptions, s3Store } from "@pageferry/functions/stores/s3";
import { type HttpProxy, s3Answer, startHttpProxy } from "../servers/http-proxy.ts";
import { type S3Server, startS3, withoutS3Server } from "../servers/s3.ts";
import { smallDisk, until } from "../temporary.ts";

const mebibyte = 1024 * 1024;
const text = (words: string): Uint8Array => new TextEncoder().encode(words);
const isUnavailable = { code: "unavailable" };

/** A server that is frozen is found out after this. */
const timeoutMs = 600;

async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream));
}

async function namesIn(store: { list(prefix: string): AsyncIterable<{ readonly name: string }> }) {
  return (await Array.fromAsync(store.list(""))).map(({ name }) => name);
}

/** A body that does something when its fifth MiB is asked for. */
function bodyWith(bytes: Buffer, event: () => unknown) {
  return {
    size: bytes.length,
    async *open() {
      for (let at = 0; at < bytes.length; at += mebibyte) {
        if (at === 12 * mebibyte) await event();
        yield bytes.subarray(at, at + mebibyte);
      }
    },
  };
}

suite("an s3 store on a bad day", { skip: withoutS3Server }, () => {
  let server: S3Server;
  let proxy: HttpProxy;
  before(async () => {
    server = await startS3();
    proxy = await startHttpProxy(server.endpoint);
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  async function open(more: Partial<S3StoreOptions> = {}) {
    const bucket = await server.makeBucket();
    return { bucket, store: s3Store({ ...server.entry(bucket), timeoutMs, ...more }) };
  }

  /** The server is away for a moment, while whoever asked for it goes on. */
  async function killAndRestart() {
    await server.kill();
    void sleep(150).then(() => server.restart());
  }

  /** A store as hosts have it: patient enough for a server that starts again. */
  function patient(store: ReturnType<typeof s3Store>) {
    return retrying(store, { attempts: 12, firstPauseMs: 50, longestPauseMs: 500 });
  }

  test("loses nothing when the server is killed in the middle of a put, and shows no half of it", async () => {
    const { bucket, store } = await open();
    const bytes = randomBytes(20 * mebibyte);
    const name = "0123456789abcdef/segments/0000000000000001-0000000000000002-0123456789ab.segment.cbor";
    await store.put("before", text("x"));

    await assert.rejects(
      store.put(
        name,
        bodyWith(bytes, () => server.kill()),
      ),
      isUnavailable,
    );
    await assert.rejects(store.put("small", text("x")), isUnavailable);
    await server.restart();

    assert.deepEqual(await namesIn(store), ["before"]);
    let killed = false;
    const once = bodyWith(bytes, async () => {
      if (killed) return;
      killed = true;
      await killAndRestart();
    });
    assert.match(await patient(store).put(name, once), /stored|present/);
    assert.ok((await readAll(await store.get(name))).equals(bytes));
    // What the dead server could not be told is swept, later, by the store's owner.
    await using owner = s3Store({
      ...server.entry(bucket),
      sweep: true,
      now: () => Date.now() + 25 * 3_600_000,
    });
    assert.deepEqual(await namesIn(owner), [name, "before"]);
    await until("the sweep", async () => (await server.uploads(bucket)).length === 0);
    await store.close();
  });

  test("goes on reading where it was when the server is killed in the middle of a get", async () => {
    const { store } = await open();
    const bytes = randomBytes(20 * mebibyte);
    await store.put("a", bytes);
    const readWith = async (reader: Pick<typeof store, "get">, fate: () => Promise<unknown>) => {
      const read: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of await reader.get("a")) {
        if (size < mebibyte && size + chunk.length >= mebibyte) await fate();
        size += chunk.length;
        read.push(chunk);
      }
      return Buffer.concat(read);
    };

    await assert.rejects(readWith(store, server.kill), isUnavailable);
    await server.restart();
    assert.ok((await readWith(patient(store), killAndRestart)).equals(bytes));
    await store.close();
  });

  test("never ends a listing early when the server is killed in the middle of it", async () => {
    const { bucket, store } = await open();
    const names = Array.from({ length: 1100 }, (_, index) => `a/${String(index).padStart(4, "0")}`);
    await server.place(bucket, names);
    const listWith = async (lister: Pick<typeof store, "list">, fate: () => Promise<unknown>) => {
      const seen: string[] = [];
      for await (const { name } of lister.list("")) if (seen.push(name) === 500) await fate();
      return seen;
    };

    await assert.rejects(listWith(store, server.kill), isUnavailable);
    await server.restart();
    assert.deepEqual(await listWith(patient(store), killAndRestart), names);
    await store.close();
  });

  test("calls a frozen server unavailable in every verb, each within its time, and goes on when it thaws", async () => {
    const { store } = await open();
    const large = randomBytes(20 * mebibyte);
    await store.put("a", text("x"));
    await store.put("large", large);
    const reading = (await store.get("large")).getReader();
    await reading.read();

    server.freeze();
    const startedMs = performance.now();
    const outcomes = await Promise.allSettled([
      store.put("b", text("y")),
      store.put("c", large),
      store.get("a"),
      store.get("a", { length: 0 }),
      namesIn(store),
      store.remove(["a"]),
      store.replace("needs.json", text("z")),
      (async () => {
        while (!(await reading.read()).done);
      })(),
    ]);
    const tookMs = performance.now() - startedMs;
    server.thaw();

    assert.deepEqual(
      outcomes.map((outcome) => (outcome.status === "rejected" ? outcome.reason.code : "done")),
      Array(8).fill("unavailable"),
    );
    assert.ok(tookMs < 6 * timeoutMs, `${Math.round(tookMs)} ms`);
    // What the server had in its hands when it froze it may have done: then it is present, or gone.
    assert.match(await patient(store).put("b", text("y")), /stored|present/);
    assert.match(await patient(store).put("c", large), /stored|present/);
    await patient(store).remove(["a"]);
    assert.ok((await readAll(await store.get("c"))).equals(large));
    await store.close();
  });

  test("gets through a storm of 429 and 503, and loses nothing", async () => {
    const { bucket, store } = await open({ endpoint: proxy.endpoint });
    // Nothing gets through before its fourth attempt.
    const attempts = new Map<string, number>();
    proxy.rule = ({ method, path }) => {
      const count = (attempts.get(method + path) ?? 0) + 1;
      attempts.set(method + path, count);
      if (count >= 4) return undefined;
      return { answer: count === 2 ? s3Answer(429, "TooManyRequests") : s3Answer(503, "SlowDown") };
    };
    const names = Array.from({ length: 40 }, (_, index) => `a/${String(index).padStart(2, "0")}`);

    await assert.rejects(store.put("x", text("x")), isUnavailable);
    await Promise.all(names.map((name) => patient(store).put(name, text(name))));
    const listed = await namesIn(patient(store));
    proxy.rule = () => undefined;

    assert.deepEqual(listed, names);
    for (const name of names) assert.equal((await readAll(await store.get(name))).toString(), name);
    assert.deepEqual(await server.uploads(bucket), []);
    await store.close();
  });

  test("waits while its bucket is gone, and goes on in the new one", async () => {
    const { bucket, store } = await open();
    await store.put("a", text("x"));
    await server.removeBucket(bucket);

    await assert.rejects(store.put("b", text("x")), isUnavailable);
    await assert.rejects(store.get("a"), isUnavailable);
    await assert.rejects(namesIn(store), isUnavailable);
    const putting = patient(store).put("b", text("x"));
    await sleep(200);
    await server.makeBucket({}, bucket);

    assert.equal(await putting, "stored");
    assert.deepEqual(await namesIn(store), ["b"]);
    await store.close();
  });

  test("goes on with the same keys when they were revoked and are given back", async () => {
    const { bucket } = await open();
    await server.user("create", "ferry", "secret-of-ferry");
    const keys = { accessKey: "ferry", secretKey: "secret-of-ferry" };
    await using store = s3Store({ ...server.entry(bucket), ...keys });
    await store.put("a", text("x"));

    await server.user("delete", "ferry", "");
    await assert.rejects(store.put("b", text("x")), { code: "unauthorized" });
    await assert.rejects(store.get("a"), { code: "unauthorized" });
    await assert.rejects(namesIn(store), { code: "unauthorized" });
    await server.user("create", "ferry", "secret-of-ferry");

    assert.equal(await store.put("b", text("x")), "stored");
    assert.deepEqual(await namesIn(store), ["a", "b"]);
  });

  test("signs by the server's clock when its own is hours away", async (t) => {
    const { store } = await open();
    t.mock.timers.enable({ apis: ["Date"], now: Date.now() + 5 * 3_600_000 });

    assert.equal(await store.put("a", text("x")), "stored");
    assert.deepEqual(await namesIn(store), ["a"]);
    t.mock.timers.setTime(Date.now() + 3 * 24 * 3_600_000);
    assert.equal((await readAll(await store.get("a"))).toString(), "x");
    assert.equal(await store.put("large", randomBytes(9 * mebibyte)), "stored");
    await store.close();
  });

  test("takes no harm from a server that closes idle connections", async () => {
    const { store } = await open({ endpoint: proxy.endpoint });
    const calm = patient(store);

    for (let round = 0; round < 30; round++) {
      await Promise.all([0, 1, 2].map((at) => calm.put(`a/${round}-${at}`, text("x"))));
      proxy.closeIdle();
    }

    assert.equal((await namesIn(calm)).length, 90);
    await store.close();
  });

  test("says disk-full when the server's disk is, shows nothing of what did not fit, and goes on when there is room", async (t) => {
    if (process.getuid?.() !== 0) return t.skip("mounting a small disk needs root");
    await using disk = await smallDisk(24 * mebibyte);
    await using small = await startS3({ directory: disk.path });
    const bucket = await small.makeBucket();
    await using store = s3Store(small.entry(bucket));
    await store.put("a", randomBytes(6 * mebibyte));
    await store.put("b", randomBytes(6 * mebibyte));

    await assert.rejects(store.put("large", randomBytes(30 * mebibyte)), { code: "disk-full" });
    await store.put("c", randomBytes(6 * mebibyte));
    await assert.rejects(store.put("d", randomBytes(8 * mebibyte)), { code: "disk-full" });

    assert.deepEqual(await namesIn(store), ["a", "b", "c"]);
    assert.deepEqual(await small.uploads(bucket), []);
    await store.remove(["a", "b"]);
    assert.equal(await store.put("d", randomBytes(8 * mebibyte)), "stored");
  });
});
