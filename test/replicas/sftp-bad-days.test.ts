// The SFTP store on its bad days, each on a real sshd: afterwards nothing is lost, nothing is half-visible, and the store
// works again by itself, over a new connection.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { chown, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Store } from "@pageferry/functions";
import { retrying } from "@pageferry/functions/stores/retrying";
import { type SftpStoreOptions, sftpStore } from "@pageferry/functions/stores/sftp";
import { type Sshd, startSshd, withoutSshd } from "../servers/sshd.ts";
import { smallDisk, until } from "../temporary.ts";

const skip = withoutSshd();
const mebibyte = 1024 * 1024;

/** Long enough for a busy machine, short enough for a test. */
const timeoutMs = 2000;

function storeOn(t: TestContext, sshd: Sshd, more: Partial<SftpStoreOptions> = {}) {
  const { host, port, user, keyPath, hostKey } = sshd;
  const path = more.path ?? join(sshd.directory, randomUUID());
  const store = sftpStore({ host, port, user, keyPath, hostKey, timeoutMs, ...more, path });
  t.after(() => store.close());
  return { store, path };
}

/** A body of whole mebibytes; `meanwhile` runs once, after the second of them. */
function bodyWith(mebibytes: number, meanwhile: () => Promise<unknown> = async () => undefined) {
  let isFirst = true;
  return {
    size: mebibytes * mebibyte,
    async *open() {
      for (let part = 0; part < mebibytes; part++) {
        yield Buffer.alloc(mebibyte, part);
        if (part !== 1 || !isFirst) continue;
        isFirst = false;
        await meanwhile();
      }
    },
  };
}

async function sizeOf(stream: AsyncIterable<Uint8Array>, each: (done: number) => unknown = () => undefined) {
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    await each(size);
  }
  return size;
}

async function namesIn(store: Store): Promise<string[]> {
  return (await Array.fromAsync(store.list(""))).map(({ name }) => name);
}

/** What lies in the directory, temporary files included. */
async function filesIn(path: string): Promise<string[]> {
  return (await readdir(path, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name);
}

suite("the SFTP store", { skip }, () => {
  for (const [what, end] of [
    ["whose session is killed", (sshd: Sshd) => sshd.killSessions()],
    ["whose server is killed and restarted", (sshd: Sshd) => sshd.restart()],
  ] as const) {
    test(`${what} in the middle of a put shows nothing of it, and stores it the next time`, async (t) => {
      await using sshd = await startSshd();
      const { store, path } = storeOn(t, sshd);
      await store.put("a/before", Buffer.from("x"));

      await assert.rejects(
        store.put(
          "a/large",
          bodyWith(8, () => end(sshd)),
        ),
        { code: "unavailable" },
      );

      assert.deepEqual(await namesIn(store), ["a/before"]);
      await assert.rejects(store.get("a/large"), { code: "not-found" });
      assert.equal(await store.put("a/large", bodyWith(8)), "stored");
      assert.equal((await stat(join(path, "a/large"))).size, 8 * mebibyte);
      assert.deepEqual(await namesIn(store), ["a/before", "a/large"]);
    });

    test(`${what} in the middle of a get ends it with an error, never early, and reads it the next time`, async (t) => {
      await using sshd = await startSshd();
      const { store } = storeOn(t, sshd);
      await store.put("large", bodyWith(8));
      const read = async () =>
        sizeOf(await store.get("large"), (done) => (done === 2 * mebibyte ? end(sshd) : undefined));

      await assert.rejects(read(), { code: "unavailable" });

      assert.equal(await sizeOf(await store.get("large")), 8 * mebibyte);
    });
  }

  test("whose server is gone in the middle of a listing throws, and lists all when it is back", async (t) => {
    await using sshd = await startSshd();
    const { store } = storeOn(t, sshd);
    const names = Array.from({ length: 300 }, (_, index) => `${index % 3}/${String(index).padStart(3, "0")}`);
    await Promise.all(names.map((name) => store.put(name, Buffer.from("x"))));

    const seen: string[] = [];
    const listing = async () => {
      for await (const { name } of store.list("")) {
        if (seen.push(name) === 50) await sshd.kill();
      }
    };

    await assert.rejects(listing(), { code: "unavailable" });
    assert.ok(seen.length >= 50 && seen.length < 300, `${seen.length}`);
    await assert.rejects(namesIn(store), { code: "unavailable" });
    await sshd.restart();
    assert.deepEqual(await namesIn(store), names.toSorted());
  });

  test("whose session ends between the directories of a listing goes on over a new one", async (t) => {
    await using sshd = await startSshd();
    const { store } = storeOn(t, sshd);
    const names = ["a/1", "a/2", "b/1", "c/1"];
    await Promise.all(names.map((name) => store.put(name, Buffer.from("x"))));

    const seen: string[] = [];
    for await (const { name } of store.list("")) {
      seen.push(name);
      if (name !== "a/1") continue;
      await sshd.killSessions();
      await until("the end is noticed", async () => (await sshd.sessions()).length === 0);
      await sleep(50);
    }

    assert.deepEqual(seen, names);
  });

  test("behind a retrying one comes through a session that is killed in a put and in a get, unnoticed", async (t) => {
    await using sshd = await startSshd();
    const { store: inner } = storeOn(t, sshd);
    const store = retrying(inner);

    assert.equal(
      await store.put(
        "large",
        bodyWith(8, () => sshd.killSessions()),
      ),
      "stored",
    );

    const kill = (done: number) => (done === 2 * mebibyte ? sshd.killSessions() : undefined);
    assert.equal(await sizeOf(await store.get("large"), kill), 8 * mebibyte);
    assert.deepEqual(await namesIn(store), ["large"]);
  });

  test("whose server is frozen is unavailable in its time, also for new connections, and whole again when it thaws", async (t) => {
    await using sshd = await startSshd();
    const { store, path } = storeOn(t, sshd);
    const { store: fresh } = storeOn(t, sshd, { path });
    await store.put("a", bodyWith(4));
    const held = (await store.get("a")).getReader();
    await held.read();
    const drain = async () => {
      while (!(await held.read()).done);
    };

    await sshd.freeze();
    const begunMs = performance.now();
    const outcomes = await Promise.allSettled([
      store.put("b", Buffer.from("x")),
      store.put("c", bodyWith(8)),
      store.get("a"),
      namesIn(store),
      store.remove(["a"]),
      drain(),
      fresh.get("a"),
    ]);
    const tookMs = performance.now() - begunMs;

    for (const outcome of outcomes) {
      assert.equal(
        outcome.status === "rejected" && outcome.reason.code,
        "unavailable",
        JSON.stringify(outcome),
      );
    }
    assert.ok(tookMs < 4 * timeoutMs, `${tookMs} ms`);
    await sshd.thaw();
    assert.equal(await store.put("c", bodyWith(8)), "stored");
    assert.equal(await sizeOf(await fresh.get("c")), 8 * mebibyte);
    // What the server was asked before it froze it may have done after the thaw: all of it or nothing.
    const names = await namesIn(store);
    for (const [name, size] of [
      ["a", 4 * mebibyte],
      ["b", 1],
    ] as const) {
      if (names.includes(name)) assert.equal(await sizeOf(await store.get(name)), size);
    }
  });

  test("is closed in seconds while its server is frozen, be it connected or about to be", async (t) => {
    await using sshd = await startSshd();
    const { store: connected } = storeOn(t, sshd, { timeoutMs: 60_000 });
    const { store: connecting } = storeOn(t, sshd, { timeoutMs: 60_000 });
    await connected.put("before", Buffer.from("x"));
    await sshd.freeze();
    const puts = [connected, connecting].map((store) => store.put("meanwhile", Buffer.from("x")));
    const refused = puts.map((put) => assert.rejects(put, { code: "unavailable" }));
    await sleep(200);
    const begunMs = performance.now();

    await Promise.all([connected.close(), connecting.close()]);

    await Promise.all(refused);
    assert.ok(performance.now() - begunMs < 20_000);
  });

  test("ends a put at once whose signal is aborted while the server is frozen", async (t) => {
    await using sshd = await startSshd();
    const { store } = storeOn(t, sshd, { timeoutMs: 20_000 });
    await store.put("a", Buffer.from("x"));
    await sshd.freeze();
    const reason = new Error("enough");

    const begunMs = performance.now();
    await assert.rejects(
      store.put("b", bodyWith(8), { signal: AbortSignal.any([AbortSignal.timeout(300)]) }),
      { name: "TimeoutError" },
    );
    await assert.rejects(store.get("a", { signal: AbortSignal.abort(reason) }), (error) => error === reason);
    assert.ok(performance.now() - begunMs < 5000);

    await sshd.thaw();
    assert.equal((await namesIn(store)).includes("a"), true);
  });

  const skipDisk = process.geteuid?.() === 0 ? false : "a small disk needs root";
  test("on a full disk says disk-full, leaves nothing half-visible, and goes on when there is room", {
    skip: skipDisk,
  }, async (t) => {
    await using disk = await smallDisk(6 * mebibyte);
    await using sshd = await startSshd({ directory: disk.file("objects") });
    await chown(disk.path, (await stat(sshd.directory)).uid, 65_534);
    const { store, path } = storeOn(t, sshd);
    await store.put("a/first", bodyWith(3));

    await assert.rejects(store.put("a/large", bodyWith(4)), { code: "disk-full" });
    await assert.rejects(store.replace("needs.json", new Uint8Array(4 * mebibyte)), { code: "disk-full" });

    assert.deepEqual(await namesIn(store), ["a/first"]);
    assert.deepEqual(await filesIn(path), ["first"], "the room that was taken is given back");
    assert.equal(await store.put("a/first", bodyWith(3)), "present");
    await store.remove(["a/first"]);
    assert.equal(await store.put("a/large", bodyWith(4)), "stored");
  });

  test("whose key is revoked is unauthorized, and goes on when it is given back", async (t) => {
    await using sshd = await startSshd();
    const { store } = storeOn(t, sshd);
    await store.put("a", Buffer.from("x"));

    await sshd.authorize("");
    await sshd.killSessions();
    await until("the store notices", async () => {
      const error = await store.put("b", Buffer.from("x")).catch((reason: { code: string }) => reason);
      return typeof error === "object" && error.code === "unauthorized";
    });
    await assert.rejects(store.get("a"), { code: "unauthorized" });

    await sshd.authorize(sshd.authorizedKeys);
    assert.equal(await store.put("b", Buffer.from("x")), "stored");
    assert.deepEqual(await namesIn(store), ["a", "b"]);
  });

  test("whose directory is deleted makes it again", async (t) => {
    await using sshd = await startSshd();
    const { store, path } = storeOn(t, sshd);
    await store.put("a/b/c", Buffer.from("x"));

    await rm(path, { recursive: true });

    assert.deepEqual(await namesIn(store), []);
    await assert.rejects(store.get("a/b/c"), { code: "not-found" });
    await store.remove(["a/b/c"]);
    assert.equal(await store.put("a/b/d", Buffer.from("x")), "stored");
    await store.replace("a/b/needs.json", Buffer.from("{}"));
    await rm(join(path, "a"), { recursive: true });
    await store.replace("a/b/needs.json", Buffer.from("{}"));
    assert.deepEqual(await namesIn(store), ["a/b/needs.json"]);
  });

  test("whose server closes idle sessions does not notice", async (t) => {
    // Counted in whole seconds: one would end a session that was idle for a tenth of it.
    await using sshd = await startSshd({ config: ["ChannelTimeout session:*=3s"] });
    const { store } = storeOn(t, sshd);
    await store.put("a", Buffer.from("x"));

    await until(
      "the server ended the session, and the store its connection",
      async () => (await sshd.sessions()).length === 0,
      {
        timeoutMs: 20_000,
      },
    );

    assert.equal(await store.put("b", Buffer.from("x")), "stored");
    assert.deepEqual(await namesIn(store), ["a", "b"]);
  });

  test("that is closed answers no more, and its connection is gone", async (t) => {
    await using sshd = await startSshd();
    const { store } = storeOn(t, sshd);
    const putting = store.put("a", bodyWith(4));
    await store.put("b", Buffer.from("x"));

    await store.close();

    assert.equal(await putting, "stored", "what was begun is finished");
    await assert.rejects(store.get("a"), { code: "unavailable" });
    await until("the session is over", async () => (await sshd.sessions()).length === 0);
  });
});
