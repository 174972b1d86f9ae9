import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PageferryError, parseGeneration, txId } from "@pageferry/format";
import { streamImage } from "./image-stream.ts";
import { createRestoredImages, type ImageOrder, type RestoredImagesOptions } from "./restored-images.ts";

const generation = parseGeneration("a100000000000000");

async function setUp(t: TestContext, more: Partial<RestoredImagesOptions> = {}) {
  const scratchDir = await mkdtemp(join(tmpdir(), "pageferry-images-"));
  t.after(() => rm(scratchDir, { recursive: true }));
  const images = createRestoredImages({ scratchDir, reserveBytes: 0, ...more });
  t.after(() => images.close());
  const made: string[] = [];
  /** A restore of `bytes` bytes that takes `ms`, unless it is ended. */
  const order = (key: string, { bytes = 100, ms = 0 } = {}): ImageOrder => ({
    ...{ key, bytes },
    async restore(output, signal) {
      made.push(key);
      await sleep(ms, undefined, { signal });
      await writeFile(output, Buffer.alloc(bytes, key));
      return { generation, txId: txId(1), stampMs: null, bytes, stateHash: 1n, etag: `"${key}"` };
    },
  });
  const files = async () => (await readdir(scratchDir)).length;
  return { images, made, order, files };
}

async function gone(files: () => Promise<number>, count = 0): Promise<void> {
  for (let tries = 0; tries < 200 && (await files()) !== count; tries += 1) await sleep(10);
  assert.equal(await files(), count);
}

suite("restored images", () => {
  test("are restored once, for all who ask at once and for a while after", async (t) => {
    const { images, made, order } = await setUp(t);

    const opened = await Promise.all([1, 2, 3].map(() => images.open(order("a", { ms: 20 }))));
    for (const image of opened) await image[Symbol.asyncDispose]();
    await using again = await images.open(order("a"));

    assert.deepEqual(made, ["a"]);
    assert.equal(again.facts.etag, '"a"');
    assert.equal(images.peek("a")?.bytes, 100);
    assert.equal(images.peek("b"), undefined);
  });

  test("are gone when they were kept for long enough, but not while they are read", async (t) => {
    const { images, order, files } = await setUp(t, { keepMs: 30 });
    const image = await images.open(order("a"));
    await sleep(80);
    assert.equal(await files(), 1);

    await image[Symbol.asyncDispose]();

    await gone(files);
  });

  test("stay within their number: the least used goes first, and none that is read", async (t) => {
    const { images, made, order } = await setUp(t, { countMax: 2, restoresMax: 9 });
    for (const key of ["a", "b", "a"]) await (await images.open(order(key)))[Symbol.asyncDispose]();
    await using _c = await images.open(order("c"));
    await using _a = await images.open(order("a"));

    assert.deepEqual(made, ["a", "b", "c"]);
    await assert.rejects(images.open(order("d")), { code: "too-many" });
  });

  test("stay within their bytes, and say where there is no room", async (t) => {
    const { images, order, files } = await setUp(t, { bytesMax: 250 });
    for (const key of ["a", "b", "c"]) await (await images.open(order(key)))[Symbol.asyncDispose]();

    assert.equal(await files(), 2);
    assert.equal(images.peek("a"), undefined);
    await assert.rejects(images.open(order("d", { bytes: 251 })), { code: "disk-full" });
    assert.equal(images.peek("d"), undefined);
  });

  test("are restored so many at a time, and the next is told to come again", async (t) => {
    const { images, order } = await setUp(t, { restoresMax: 1 });
    const first = images.open(order("a", { ms: 50 }));

    await assert.rejects(images.open(order("b")), { code: "too-many" });
    await (await first)[Symbol.asyncDispose]();
    await (await images.open(order("b")))[Symbol.asyncDispose]();
  });

  test("whose last client hangs up before they are there are ended and removed", async (t) => {
    const { images, made, order, files } = await setUp(t);
    const [one, two] = [new AbortController(), new AbortController()];
    const asked = [one, two].map(({ signal }) => images.open(order("a", { ms: 10_000 }), { signal }));
    const ended = Promise.allSettled(asked);
    await sleep(20);

    one.abort(new Error("gone"));
    await assert.rejects(asked[0] as Promise<unknown>, /gone/);
    assert.equal(await files(), 1);
    two.abort(new Error("gone too"));
    await assert.rejects(asked[1] as Promise<unknown>, /gone too/);
    await ended;

    await gone(files);
    await (await images.open(order("a")))[Symbol.asyncDispose]();
    assert.deepEqual(made, ["a", "a"]);
  });

  test("whose restore fails leave nothing, and are tried again", async (t) => {
    const { images, order, files } = await setUp(t);
    const failing = { ...order("a"), restore: () => Promise.reject(new PageferryError("gap", "a hole")) };

    await assert.rejects(images.open(failing), { code: "gap" });

    await gone(files);
    await (await images.open(order("a")))[Symbol.asyncDispose]();
  });

  test("are all gone when the host closes, also one that is being made", async (t) => {
    const { images, order, files } = await setUp(t);
    await (await images.open(order("a")))[Symbol.asyncDispose]();
    const waiting = assert.rejects(images.open(order("b", { ms: 10_000 })), { code: "unavailable" });

    await images.close();

    await waiting;
    assert.equal(await files(), 0);
    await assert.rejects(images.open(order("c")), { code: "unavailable" });
  });
});

suite("an image that is sent", () => {
  test("is given back at the end, and holds the bytes of its range", async (t) => {
    const { images, order, files } = await setUp(t, { keepMs: 10 });
    const stream = streamImage(await images.open(order("a", { bytes: 2_000_000 })), {
      offset: 7,
      length: 1_500_000,
    });

    const bytes = await new Response(stream).bytes();

    assert.ok(Buffer.alloc(1_500_000, "a").equals(bytes));
    await gone(files);
  });

  test("is given back when the client hangs up", async (t) => {
    const { images, order, files } = await setUp(t, { keepMs: 10 });
    const stream = streamImage(await images.open(order("a", { bytes: 2_000_000 })), {
      offset: 0,
      length: 2_000_000,
    });
    const reader = stream.getReader();
    await reader.read();

    await reader.cancel();

    await gone(files);
  });

  test("is given back when the client takes nothing for too long", async (t) => {
    const { images, order, files } = await setUp(t, { keepMs: 10 });
    const image = await images.open(order("a", { bytes: 2_000_000 }));
    const reader = streamImage(image, { offset: 0, length: 2_000_000 }, 50).getReader();
    await reader.read();
    await sleep(100);

    await assert.rejects(
      (async () => {
        while (!(await reader.read()).done);
      })(),
      { code: "unavailable" },
    );
    await gone(files);
  });
});
