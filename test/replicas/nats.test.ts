// The NATS object store: the contract without an exception, and what is peculiar to it, on real servers.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer, connect as dial, type Socket } from "node:net";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { conformance } from "@pageferry/functions/conformance";
import { type NatsStoreOptions, natsStore } from "@pageferry/functions/stores/nats";
import { openStore } from "@pageferry/functions/stores/open";
import {
  connect,
  credsAuthenticator,
  headers,
  type NatsConnection,
  type ObjectStore,
  RetentionPolicy,
} from "nats";
import {
  makeCertificates,
  makeNkey,
  makeOperator,
  type NatsServerProcess,
  natsMissing,
  startNats,
} from "../servers/nats.ts";
import { freePort, temporaryDirectory, until } from "../temporary.ts";

const mebibyte = 1024 * 1024;
const text = (words: string): Uint8Array => new TextEncoder().encode(words);

let count = 0;
const freshBucket = () => `bucket-${process.pid}-${count++}`;

async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream));
}

/** Another client of the same bucket: the library's own object store. */
async function library(url: string, bucket: string): Promise<AsyncDisposable & Library> {
  const connection = await connect({ servers: url });
  const jetstream = connection.jetstream();
  return {
    connection,
    objects: await jetstream.views.os(bucket, {}),
    streams: (await connection.jetstreamManager()).streams,
    [Symbol.asyncDispose]: () => connection.close(),
  };
}

interface Library {
  readonly connection: NatsConnection;
  readonly objects: ObjectStore;
  readonly streams: Awaited<ReturnType<NatsConnection["jetstreamManager"]>>["streams"];
}

function streamOf(...parts: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(part);
      controller.close();
    },
  });
}

/** A relay that holds back what passes, in both directions, and counts what is published through it. */
async function slowWayTo(
  port: number,
  delayMs: number,
): Promise<AsyncDisposable & { readonly url: string; requests(): number }> {
  const sockets = new Set<Socket>();
  let requests = 0;
  const relay = createServer((client) => {
    const upstream = dial(port, "127.0.0.1");
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on("error", () => undefined).on("close", () => to.destroy());
      from.on("data", (bytes) => {
        if (from === client) requests += bytes.toString("latin1").split(/^H?PUB /m).length - 1;
        setTimeout(() => to.write(bytes), delayMs);
      });
    }
  });
  await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
  return {
    url: `nats://127.0.0.1:${(relay.address() as AddressInfo).port}`,
    requests: () => requests,
    async [Symbol.asyncDispose]() {
      relay.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

suite("on a NATS server:", { skip: natsMissing }, () => {
  let server: NatsServerProcess;
  before(async () => {
    server = await startNats();
  });
  after(() => server[Symbol.asyncDispose]());

  /** A store over a new bucket, or one more over another's. */
  const open = (options: Partial<NatsStoreOptions> = {}) => {
    const bucket = options.bucket ?? freshBucket();
    const store = natsStore({ url: server.url, bucket, createBucket: true, ...options });
    return { ...store, bucket };
  };

  conformance("NATS", { open: () => open() });

  suite("peculiar to the NATS store:", () => {
    test("what it writes, the library's own object store reads, digest and all", async () => {
      await using store = open({ prefix: "some/prefix" });
      await using other = await library(server.url, store.bucket);
      const bytes = randomBytes(300_001);

      await store.put("a/b", bytes);
      await store.put("empty", new Uint8Array());

      const result = await other.objects.get("some/prefix/a/b");
      assert.ok(result !== null);
      assert.ok(bytes.equals(await readAll(result.data)));
      assert.equal(await result.error, undefined);
      assert.deepEqual(
        {
          size: result.info.size,
          chunks: result.info.chunks,
          chunkSize: result.info.options?.max_chunk_size,
        },
        { size: 300_001, chunks: 3, chunkSize: 131_072 },
      );
      assert.equal(Buffer.from((await other.objects.getBlob("some/prefix/empty")) ?? "none").length, 0);
      assert.deepEqual((await other.objects.list()).map(({ name }) => name).sort(), [
        "some/prefix/a/b",
        "some/prefix/empty",
      ]);
    });

    test("what the library wrote it reads, ranges included, and calls present", async () => {
      await using store = open();
      await store.put("before", text("x"));
      await using other = await library(server.url, store.bucket);
      const bytes = randomBytes(700_000);
      await other.objects.put({ name: "theirs", options: { max_chunk_size: 100_000 } }, streamOf(bytes));

      assert.ok(bytes.equals(await readAll(await store.get("theirs"))));
      assert.ok(
        bytes
          .subarray(250_000, 620_000)
          .equals(await readAll(await store.get("theirs", { offset: 250_000, length: 370_000 }))),
      );
      assert.equal(await store.put("theirs", bytes), "present");
      await assert.rejects(store.put("theirs", text("other")), { code: "conflict" });
      assert.deepEqual(await Array.fromAsync(store.list("t")), [{ name: "theirs", size: 700_000 }]);
    });

    test("a mark that another client left for a removed object is nothing, and a put comes over it", async () => {
      await using store = open();
      await using other = await library(server.url, store.bucket);
      await other.objects.putBlob({ name: "a" }, text("theirs"));
      await other.objects.delete("a");

      assert.deepEqual(await Array.fromAsync(store.list("")), []);
      await assert.rejects(store.get("a"), { code: "not-found" });
      assert.equal(await store.put("a", text("ours")), "stored");
      assert.equal((await readAll(await store.get("a"))).toString(), "ours");
    });

    test("a link is not followed and not listed", async () => {
      await using store = open();
      await using other = await library(server.url, store.bucket);
      await other.objects.link("link", await other.objects.putBlob({ name: "a" }, text("x")));

      await assert.rejects(store.get("link"), { code: "bad-name" });
      assert.deepEqual(await Array.fromAsync(store.list("")), [{ name: "a", size: 1 }]);
    });

    test("two prefixes of one bucket know nothing of each other", async () => {
      await using one = open({ prefix: "/one/" });
      await using two = open({ bucket: one.bucket, prefix: "one/two" });
      await one.put("a", text("1"));
      await two.put("a", text("2"));

      assert.deepEqual(await Array.fromAsync(two.list("")), [{ name: "a", size: 1 }]);
      assert.deepEqual(
        (await Array.fromAsync(one.list(""))).map(({ name }) => name),
        ["a", "two/a"],
      );
      assert.equal(one.name, `nats://${one.bucket}/one`);
    });

    test("what is removed or replaced leaves nothing in the bucket", async () => {
      await using store = open();
      await using other = await library(server.url, store.bucket);
      await store.put("a", randomBytes(300_000));
      await store.put("b", text("x"));
      await store.replace("needs.json", text("old"));
      await store.replace("needs.json", text("new"));

      await store.remove(["a", "b"]);
      await store.close();

      const { state } = await other.streams.info(`OBJ_${store.bucket}`);
      assert.equal(state.messages, 2, "one description, one chunk");
    });

    test("a removal that arrives late does not hit what was put since", async () => {
      await using store = open();
      await using other = await library(server.url, store.bucket);
      await store.put("a", text("first"));
      const { seq } = await other.streams.getMessage(`OBJ_${store.bucket}`, {
        last_by_subj: `$O.${store.bucket}.M.${Buffer.from("a").toString("base64")}`,
      });
      await store.remove(["a"]);
      await store.put("a", text("second"));

      await other.streams.purge(`OBJ_${store.bucket}`, { filter: `$O.${store.bucket}.M.YQ==`, seq: seq + 1 });

      assert.equal((await readAll(await store.get("a"))).toString(), "second");
    });

    test("a range in the middle of a large object costs a few chunks, also among those of others", async () => {
      await using store = open();
      const bodies = Array.from({ length: 4 }, () => randomBytes(12 * mebibyte));
      await Promise.all(bodies.map((body, index) => store.put(`large/${index}`, body)));
      const sent = async () =>
        ((await (await fetch(server.monitorUrl)).json()) as { readonly out_bytes: number }).out_bytes;

      for (const [index, body] of bodies.entries()) {
        for (const offset of [5_000_000, 12 * mebibyte - 5_000, 11_000_000, 131_072, 131_071]) {
          const before = await sent();
          const read = await readAll(await store.get(`large/${index}`, { offset, length: 5_000 }));
          assert.ok(read.equals(body.subarray(offset, offset + 5_000)), `${index} at ${offset}`);
          assert.ok((await sent()) - before < 20 * 131_072, `${(await sent()) - before} bytes at ${offset}`);
        }
      }
    });

    test("a stream that is left standing holds back, and does not gather the object", async () => {
      await using store = open();
      await store.put("large", Buffer.alloc(40 * mebibyte, 1));
      const sent = async () =>
        ((await (await fetch(server.monitorUrl)).json()) as { readonly out_bytes: number }).out_bytes;
      const before = await sent();

      const reader = (await store.get("large")).getReader();
      await reader.read();
      await new Promise((resolve) => setTimeout(resolve, 200));

      assert.ok((await sent()) - before < 4 * mebibyte);
      await reader.cancel();
    });

    test("a bucket without direct access is read all the same", async () => {
      await using store = open();
      const bytes = randomBytes(400_000);
      await store.put("a/1", bytes);
      await store.put("a/2", text("x"));
      await using other = await library(server.url, store.bucket);
      const { config } = await other.streams.info(`OBJ_${store.bucket}`);
      await other.streams.update(config.name, { ...config, allow_direct: false });
      await using slow = open({ bucket: store.bucket });

      assert.ok(bytes.equals(await readAll(await slow.get("a/1"))));
      assert.ok(bytes.subarray(200_000).equals(await readAll(await slow.get("a/1", { offset: 200_000 }))));
      assert.deepEqual(await Array.fromAsync(slow.list("")), [
        { name: "a/1", size: 400_000 },
        { name: "a/2", size: 1 },
      ]);
    });

    test("a slow way and no batches: a listing begins with the first window, not after the last object", async () => {
      await using store = open();
      const names = Array.from({ length: 1_000 }, (_, at) => `many/${at}`);
      await Promise.all(names.map((name) => store.put(name, text(name))));
      await using other = await library(server.url, store.bucket);
      const { config } = await other.streams.info(`OBJ_${store.bucket}`);
      await other.streams.update(config.name, { ...config, allow_direct: false });
      await using slow = await slowWayTo(server.port, 5);
      await using far = open({ bucket: store.bucket, url: slow.url });
      await far.get("many/0");

      const startMs = performance.now();
      const listing = far.list("")[Symbol.asyncIterator]();
      assert.deepEqual((await listing.next()).value, { name: "many/0", size: 6 });
      const asked = slow.requests();
      const rest = await Array.fromAsync({ [Symbol.asyncIterator]: () => listing });

      assert.ok(asked < 500, `${asked} requests before the first name`);
      assert.deepEqual(["many/0", ...rest.map(({ name }) => name)], names.toSorted());
      assert.ok(
        performance.now() - startMs < 4_000,
        "1,000 ways there and back, one after the other, take 10 s",
      );
    });

    test("a mirror that answers too, lacking the old and keeping the removed, changes nothing", async () => {
      await using store = open();
      const bytes = randomBytes(400_000);
      await store.put("removed", text("x"));
      await Promise.all(Array.from({ length: 100 }, (_, at) => store.put(`many/${at}`, text(`${at}`))));
      await store.put("large", bytes);
      await using other = await library(server.url, store.bucket);
      const name = `OBJ_${store.bucket}`;
      const { state } = await other.streams.info(name);
      const mirror = `MIRROR_${store.bucket}`;
      // It begins in the middle of the last object's chunks.
      await other.streams.add({
        name: mirror,
        mirror: { name, opt_start_seq: state.last_seq - 2 },
        mirror_direct: true,
        allow_direct: true,
      });
      await until(
        "the mirror has something",
        async () => (await other.streams.info(mirror)).state.messages > 0,
      );
      await store.put("young", text("x"));
      await store.remove(["removed", "young"]);

      for (let round = 0; round < 10; round++) {
        assert.equal((await Array.fromAsync(store.list(""))).length, 101);
        assert.ok(bytes.equals(await readAll(await store.get("large"))));
        const range = await readAll(await store.get("large", { offset: 200_000, length: 5 }));
        assert.ok(bytes.subarray(200_000, 200_005).equals(range));
      }
    });

    test("a deletion mark that only a mirror still has hides no object that was put since", async () => {
      await using store = open();
      await using other = await library(server.url, store.bucket);
      const [name, mirror] = [`OBJ_${store.bucket}`, `MIRROR_${store.bucket}`];
      await Promise.all(Array.from({ length: 100 }, (_, at) => store.put(`many/${at}`, text(`${at}`))));
      await store.put("a", text("first"));
      await other.objects.delete("a");
      await other.streams.add({ name: mirror, mirror: { name }, mirror_direct: true, allow_direct: true });
      const mirrored = async () => (await other.streams.info(mirror)).state.last_seq;
      await store.put("a", text("second"));
      await store.remove(["a"]);
      // The mark is gone from the bucket; the mirror gets one more, and loses what came after it.
      const { seq } = await other.connection
        .jetstream()
        .publish(
          `$O.${store.bucket}.M.YQ==`,
          JSON.stringify({ name: "a", nuid: "N", size: 0, deleted: true }),
        );
      await until("the mirror has the mark", async () => (await mirrored()) >= seq);
      await other.streams.purge(name, { filter: `$O.${store.bucket}.M.YQ==` });
      await store.put("a", text("third"));
      const { state } = await other.streams.info(name);
      await until("the mirror has all", async () => (await mirrored()) >= state.last_seq);
      await other.streams.deleteMessage(mirror, state.last_seq);

      for (let round = 0; round < 10; round++) {
        const listed = await Array.fromAsync(store.list(""));
        assert.deepEqual(listed[0], { name: "a", size: 5 });
        assert.equal(listed.length, 101);
      }
    });

    test("a bucket that would drop old objects to make room is refused", async () => {
      await using made = open();
      await made.put("a", text("x"));
      await using other = await library(server.url, made.bucket);
      const bucket = `old-${made.bucket}`;
      await other.streams.add({
        name: `OBJ_${bucket}`,
        subjects: [`$O.${bucket}.C.>`, `$O.${bucket}.M.>`],
        max_bytes: 1_000_000,
        allow_rollup_hdrs: true,
      });
      await using store = open({ bucket });

      await assert.rejects(store.put("a", text("x")), { code: "bad-config" });
    });

    test("a bucket that forgets on its own is refused, and the error says what to change", async () => {
      await using made = open();
      await made.put("a", text("x"));
      await using other = await library(server.url, made.bucket);
      for (const [forgets, key] of [
        [{ max_age: 3_600e9 }, "max_age"],
        [{ max_msgs_per_subject: 1 }, "max_msgs_per_subject"],
        [{ retention: RetentionPolicy.Workqueue }, "retention"],
      ] as const) {
        const bucket = freshBucket();
        await other.streams.add({
          name: `OBJ_${bucket}`,
          subjects: [`$O.${bucket}.C.>`, `$O.${bucket}.M.>`],
          allow_rollup_hdrs: true,
          ...forgets,
        });
        await using store = open({ bucket });

        await assert.rejects(
          store.put("a", text("x")),
          (error: Error & { code?: string }) => error.code === "bad-config" && error.message.includes(key),
        );
      }
    });

    test("a stored description that cannot be read is a conflict to a put, and corrupt to a get", async () => {
      await using store = open();
      await store.put("a", text("x"));
      await using other = await library(server.url, store.bucket);
      const subject = `$O.${store.bucket}.M.${Buffer.from("a").toString("base64")}`;
      const rollup = headers();
      rollup.set("Nats-Rollup", "sub");
      await other.connection.jetstream().publish(subject, text("{"), { headers: rollup });

      const isConflict = { code: "conflict", message: /description that cannot be read/ };
      await assert.rejects(store.put("a", text("x")), isConflict);
      await assert.rejects(store.put("a", randomBytes(300_000)), isConflict);
      await assert.rejects(store.get("a"), { code: "corrupt" });
    });

    test("after close nothing connects, neither a new call nor one that was on its way", async () => {
      const [used, fresh, store] = [open(), open(), open()];
      await used.put("a", text("x"));
      const connections = async () =>
        ((await (await fetch(server.monitorUrl)).json()) as { readonly connections: number }).connections;
      const before = await connections();
      const isClosed = { code: "unavailable", message: /closed/ };

      const connecting = assert.rejects(fresh.put("a", text("x")), isClosed);
      const writing = assert.rejects(
        store.put("large", {
          size: 2,
          async *open() {
            yield text("x");
            await store.close();
            yield text("x");
          },
        }),
        { code: "unavailable" },
      );
      await Promise.all([fresh.close(), used.close(), connecting, writing]);
      await assert.rejects(used.get("a"), isClosed);
      await assert.rejects(Array.fromAsync(store.list("")), isClosed);

      await until("none is left", async () => (await connections()) < before);
    });
  });

  test("a server that takes only small messages is given small chunks", async () => {
    await using small = await startNats({ config: "max_payload: 20000" });
    await using store = natsStore({ url: small.url, bucket: "b", createBucket: true });
    const bytes = randomBytes(400_000);

    await store.put("a", bytes);

    assert.ok(bytes.equals(await readAll(await store.get("a"))));
    assert.ok(bytes.subarray(300_000).equals(await readAll(await store.get("a", { offset: 300_000 }))));
  });

  suite("what is damaged on the server", () => {
    /** Puts other bytes in the place of one chunk: the last of them, whose place in the order stays. */
    const damageLastChunk = async (bucket: string, name: string) => {
      await using other = await library(server.url, bucket);
      const stream = `OBJ_${bucket}`;
      const info = await other.objects.info(name);
      const subject = `$O.${bucket}.C.${info?.nuid}`;
      const chunk = await other.streams.getMessage(stream, { last_by_subj: subject });
      await other.streams.deleteMessage(stream, chunk.seq);
      await other.connection.jetstream().publish(
        subject,
        chunk.data.map((byte) => byte ^ 1),
        { headers: chunk.header },
      );
    };

    test("is corrupt by its digest, small and large", async () => {
      await using store = open();
      await store.put("small", randomBytes(100_000));
      await store.put("large", randomBytes(3_000_000));
      await damageLastChunk(store.bucket, "small");
      await damageLastChunk(store.bucket, "large");

      await assert.rejects(store.get("small"), { code: "corrupt" });
      await assert.rejects(async () => readAll(await store.get("large")), { code: "corrupt" });
      // A range has no digest of its own: pageferry's formats check what they read.
      assert.equal((await readAll(await store.get("large", { length: 1_000 }))).length, 1_000);
    });

    test("is corrupt where a chunk is missing, and can be removed and put anew", async () => {
      await using store = open();
      await using other = await library(server.url, store.bucket);
      for (const [name, size] of [
        ["small", 200_000],
        ["large", 3_000_000],
      ] as const) {
        const bytes = randomBytes(size);
        await store.put(name, bytes);
        const info = await other.objects.info(name);
        const first = (info?.revision ?? 0) - (info?.chunks ?? 0);
        await other.streams.deleteMessage(`OBJ_${store.bucket}`, first);

        await assert.rejects(async () => readAll(await store.get(name)), { code: "corrupt" });
        await assert.rejects(async () => readAll(await store.get(name, { offset: 10, length: 10 })), {
          code: "corrupt",
        });
        await store.remove([name]);
        assert.equal(await store.put(name, bytes), "stored");
        assert.ok(bytes.equals(await readAll(await store.get(name))));
      }
    });

    test("by flipped bits on its disk is an error, never other bytes", async () => {
      await using own = await startNats();
      await using store = natsStore({ url: own.url, bucket: "b", createBucket: true });
      const bytes = randomBytes(900_000);
      await store.put("a", bytes);
      await own.kill();
      const blocks = join(own.storeDir, "jetstream/$G/streams/OBJ_b/msgs");
      for (const name of (await readdir(blocks)).filter((block) => block.endsWith(".blk"))) {
        const block = await readFile(join(blocks, name));
        block[Math.floor(block.length / 2)] = (block[Math.floor(block.length / 2)] ?? 0) ^ 0xff;
        await writeFile(join(blocks, name), block);
      }
      await own.restart();

      // Depending on what it hit, the server has lost the object or chunks of it.
      await assert.rejects(
        async () => readAll(await store.get("a")),
        (error: Error & { code?: string }) => ["corrupt", "not-found"].includes(error.code ?? ""),
      );
    });
  });

  suite("chunks without an object", () => {
    test("are swept when they are old; those of objects, of the young and of others stay", async () => {
      await using store = open();
      await using other = await library(server.url, store.bucket);
      await store.put("a", randomBytes(200_000));
      const leave = async (nuid: string, mine: boolean) => {
        const subject = `$O.${store.bucket}.C.${nuid}`;
        const options = { headers: headers() };
        if (mine) options.headers.set("Pageferry-Offset", "0");
        await other.connection.jetstream().publish(subject, text("left"), options);
      };
      await leave("MINE", true);
      await leave("THEIRS", false);
      const left = async () => {
        const { state } = await other.streams.info(`OBJ_${store.bucket}`, { subjects_filter: ">" });
        return Object.keys(state.subjects ?? {}).filter((subject) => /\.C\.(MINE|THEIRS)$/.test(subject));
      };

      await using young = open({ bucket: store.bucket, sweep: true });
      await Array.fromAsync(young.list(""));
      await new Promise((resolve) => setTimeout(resolve, 300));
      assert.equal((await left()).length, 2);
      await using old = open({ bucket: store.bucket, sweep: true, leftoverAgeMs: 0 });
      await Array.fromAsync(old.list("none/"));

      await until("it is swept", async () => (await left()).length === 1);
      assert.deepEqual(await left(), [`$O.${store.bucket}.C.THEIRS`]);
      assert.equal((await readAll(await store.get("a"))).length, 200_000);
    });

    test("are swept beside the listing, which does not wait, and not any more after close", async () => {
      await using store = open();
      await using other = await library(server.url, store.bucket);
      await store.put("a", text("x"));
      const options = { headers: headers() };
      options.headers.set("Pageferry-Offset", "0");
      const leave = (at: number) =>
        other.connection.jetstream().publish(`$O.${store.bucket}.C.LEFT${at}`, text("left"), options);
      await Promise.all(Array.from({ length: 300 }, (_, at) => leave(at)));
      await using slow = await slowWayTo(server.port, 10);
      const owner = open({ bucket: store.bucket, url: slow.url, sweep: true, leftoverAgeMs: 0 });
      await owner.get("a");

      const startMs = performance.now();
      assert.deepEqual(await Array.fromAsync(owner.list("")), [{ name: "a", size: 1 }]);
      const listMs = performance.now() - startMs;
      await owner.close();
      const tookMs = performance.now() - startMs;

      assert.ok(listMs < 1_000, `300 suspects, one after the other, take 6 s: ${listMs} ms`);
      assert.ok(tookMs < 1_500, `${tookMs} ms`);
      const { state } = await other.streams.info(`OBJ_${store.bucket}`);
      assert.ok(state.messages > 100, `${state.messages} messages are left`);
    });

    test("a body that stood still for longer than a sweep waits is given up", async () => {
      await using store = open({ leftoverAgeMs: 100 });
      const slow = {
        size: 200_000,
        async *open() {
          yield Buffer.alloc(150_000);
          await new Promise((resolve) => setTimeout(resolve, 120));
          yield Buffer.alloc(50_000);
        },
      };

      await assert.rejects(store.put("a", slow), { code: "unavailable" });
      assert.deepEqual(await Array.fromAsync(store.list("")), []);
    });
  });

  suite("the way to it", () => {
    test("a missing bucket is unavailable and says how to make it; with createBucket it is made", async () => {
      const bucket = freshBucket();
      await using without = open({ bucket, createBucket: false });
      const saysHow = (error: Error & { code?: string; hint?: string }) =>
        error.code === "unavailable" && /nats object add bucket-.*createBucket/.test(error.hint ?? "");

      await assert.rejects(without.put("a", text("x")), saysHow);
      await assert.rejects(without.get("a"), saysHow);
      await assert.rejects(Array.fromAsync(without.list("")), saysHow);
      await assert.rejects(without.remove(["a"]), saysHow);
      await using made = open({ bucket });
      await made.put("a", text("x"));

      assert.equal((await readAll(await without.get("a"))).toString(), "x");
    });

    test("of several servers the dead, the silent and those that are no NATS server are passed over", async () => {
      const silent = createServer().listen(await freePort(), "127.0.0.1");
      const talker = createServer((socket) => socket.end("HTTP/1.1 400\r\n\r\n")).listen(
        await freePort(),
        "127.0.0.1",
      );
      await using _ = { [Symbol.asyncDispose]: async () => void [silent.close(), talker.close()] };
      const portOf = (of: typeof silent) => (of.address() as { port: number }).port;
      const dead = await freePort();
      const url = `nats://127.0.0.1:${dead},127.0.0.1:${portOf(silent)},127.0.0.1:${portOf(talker)},127.0.0.1:${server.port}`;
      await using store = open({ url, timeoutMs: 2_000 });

      assert.equal(await store.put("a", text("x")), "stored");
    });

    test("where nobody answers is unavailable", async () => {
      await using store = open({ url: `nats://127.0.0.1:${await freePort()}` });

      await assert.rejects(store.get("a"), { code: "unavailable" });
    });

    test("by its URL with all its words", async () => {
      await using store = await openStore(`${server.url}/${freshBucket()}/a/b?createBucket=true`);

      await store.put("c", text("x"));

      assert.equal((await readAll(await store.get("c"))).toString(), "x");
      assert.match(store.name, /^nats:\/\/127\.0\.0\.1:\d+\/bucket-[\d-]+\/a\/b$/);
    });

    test("a URL or bucket that is none is bad-config, without what it holds", () => {
      for (const url of ["", "http://u:hunter2@h", "nats://u:hunter2@", "nats://u:hunter2@h:port"]) {
        assert.throws(
          () => natsStore({ url, bucket: "b" }),
          (error: Error & { code?: string }) => error.code === "bad-config" && !/hunter2/.test(error.message),
        );
      }
      assert.throws(() => natsStore({ url: server.url, bucket: "a.b" }), { code: "bad-config" });
    });
  });
});

suite("who one is to a NATS server:", { skip: natsMissing }, () => {
  const refused = (secret: string) => (error: Error & { code?: string }) => {
    assert.equal(error.code, "unauthorized");
    assert.ok(!`${error.message} ${String(error.cause)}`.includes(secret));
    return true;
  };

  test("user and password, or a token, in the URL", async () => {
    const config = (allowed: string) => `authorization { ${allowed} }`;
    await using server = await startNats({ config: config("user: me, password: 'p@ss,w:rd'") });
    const as = (who: string) =>
      natsStore({ url: `nats://${who}127.0.0.1:${server.port}`, bucket: "b", createBucket: true });

    await using right = as("me:p%40ss%2Cw%3Ard@");
    assert.equal(await right.put("a", text("x")), "stored");
    await using wrong = as("me:hunter2@");
    await assert.rejects(wrong.put("a", text("x")), refused("hunter2"));
    await using none = as("");
    await assert.rejects(none.get("a"), { code: "unauthorized" });

    await server.reload(config("token: 'T0KEN'"));
    await using token = as("T0KEN@");
    assert.equal((await readAll(await token.get("a"))).toString(), "x");
    await using other = as("OTHER@");
    await assert.rejects(other.get("a"), refused("OTHER"));
  });

  test("an nkey, from a file or as it is", async () => {
    await using directory = await temporaryDirectory();
    const [mine, theirs] = [makeNkey(), makeNkey()];
    await using server = await startNats({
      config: `authorization { users: [ { nkey: "${mine.publicKey}" } ] }`,
    });
    await writeFile(directory.file("mine.nk"), `${mine.seed}\n`, { mode: 0o600 });
    const as = (nkey: string) => natsStore({ url: server.url, bucket: "b", createBucket: true, nkey });

    await using file = as(directory.file("mine.nk"));
    assert.equal(await file.put("a", text("x")), "stored");
    await using seed = as(mine.seed);
    assert.equal(await seed.put("a", text("x")), "present");
    await using wrong = as(theirs.seed);
    await assert.rejects(wrong.get("a"), refused(theirs.seed));
    await using missing = as(directory.file("none"));
    await assert.rejects(missing.get("a"), { code: "bad-config" });
  });

  test("a creds file, read anew for each connection", async () => {
    await using directory = await temporaryDirectory();
    const [operator, stranger] = [makeOperator(), makeOperator()];
    await using server = await startNats({ config: operator.config });
    const creds = directory.file("user.creds");
    await writeFile(creds, stranger.creds, { mode: 0o600 });
    await using store = natsStore({ url: server.url, bucket: "b", createBucket: true, creds });

    await assert.rejects(store.put("a", text("x")), { code: "unauthorized" });
    await writeFile(creds, "no creds");
    await assert.rejects(store.put("a", text("x")), { code: "bad-config" });
    await writeFile(creds, operator.creds);
    assert.equal(await store.put("a", text("x")), "stored");
    // The library takes them, too: they are as nsc writes them.
    const connection = await connect({
      servers: server.url,
      authenticator: credsAuthenticator(text(operator.creds)),
    });
    await connection.close();
  });

  test("permissions that docs/replicas.md lists suffice; fewer are unauthorized", async () => {
    const config = (publish: readonly string[]) =>
      `authorization { users: [
        { user: admin, password: a },
        { user: me, password: p, permissions: { publish: ${JSON.stringify(publish)}, subscribe: ["_INBOX.>"] } } ] }`;
    const needed = [
      "$JS.API.STREAM.INFO.OBJ_b",
      "$JS.API.STREAM.MSG.GET.OBJ_b",
      "$JS.API.STREAM.PURGE.OBJ_b",
      "$JS.API.DIRECT.GET.OBJ_b",
      "$O.b.>",
    ];
    await using server = await startNats({ config: config(needed) });
    const as = (who: string) =>
      natsStore({ url: `nats://${who}@127.0.0.1:${server.port}`, bucket: "b", createBucket: true });
    await using admin = as("admin:a");
    await admin.put("theirs", text("x"));

    await using store = as("me:p");
    const bytes = randomBytes(600_000);
    await store.put("a", bytes);
    await store.replace("needs.json", text("x"));
    assert.ok(bytes.equals(await readAll(await store.get("a"))));
    assert.equal((await Array.fromAsync(store.list(""))).length, 3);
    await store.remove(["theirs"]);

    await server.reload(config(needed.filter((subject) => !/\$O|DIRECT/.test(subject))));
    await using less = as("me:p");
    await assert.rejects(less.put("b", text("x")), { code: "unauthorized" });
    await assert.rejects(async () => readAll(await less.get("a")), { code: "unauthorized" });
  });

  test("a private authority is trusted when rootCAs names it, and only for the host it signed", async () => {
    await using certificates = await makeCertificates();
    await using server = await startNats({ tls: certificates.server });
    await using wrongHost = await startNats({ tls: certificates.other });
    await using plain = await startNats();
    const bucket = { bucket: "b", createBucket: true };
    const rootCAs = [certificates.ca];

    for (const host of ["localhost", "127.0.0.1"]) {
      await using store = natsStore({ url: `tls://${host}:${server.port}`, ...bucket, rootCAs });
      await store.put(host, text("x"));
      assert.equal((await readAll(await store.get(host))).toString(), "x");
    }
    for (const options of [
      { url: server.url },
      { url: `tls://localhost:${server.port}` },
      { url: `tls://localhost:${wrongHost.port}`, rootCAs },
      { url: wrongHost.url, rootCAs },
      { url: plain.url, rootCAs },
      { url: `tls://127.0.0.1:${plain.port}` },
    ]) {
      await using store = natsStore({ ...bucket, ...options, timeoutMs: 5_000 });
      await assert.rejects(store.put("a", text("x")), { code: "unauthorized" }, JSON.stringify(options));
    }
    await using missing = natsStore({ url: server.url, ...bucket, rootCAs: ["/none/ca.pem"] });
    await assert.rejects(missing.get("a"), { code: "bad-config" });
  });
});

test("a digest is SHA-256 in base64url, as the Go client compares it", { skip: natsMissing }, async () => {
  await using server = await startNats();
  await using store = natsStore({ url: server.url, bucket: "b", createBucket: true });
  // Bytes whose digest has both letters that differ between the alphabets.
  const bytes = Array.from({ length: 2_000 }, (_, index) => text(`${index}`)).find((candidate) =>
    /(?=.*-)(?=.*_)/.test(createHash("sha256").update(candidate).digest("base64url")),
  );
  assert.ok(bytes !== undefined);

  await store.put("a", bytes);

  await using other = await library(server.url, "b");
  const info = await other.objects.info("a");
  assert.equal(info?.digest, `SHA-256=${createHash("sha256").update(bytes).digest("base64url")}=`);
  assert.deepEqual(Buffer.from((await other.objects.getBlob("a")) ?? ""), Buffer.from(bytes));
});
