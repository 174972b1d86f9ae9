import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { decodeSnapshot, defaultCompression, PageferryError, parseGeneration, txId } from "@pageferry/format";
import { temporary, until } from "../testing/agent-bench.ts";
import { createAlarms } from "./alarms.ts";
import { createGate } from "./gate.ts";
import type { StagedBody } from "./queue.ts";
import { createSnapshotUploads, type SnapshotUploadOptions } from "./snapshot-upload.ts";
import type { BaseEvent } from "./sources/capture-event.ts";

const generation = parseGeneration("00000000000000aa");
const pageSize = 512;

async function bytesOf(body: StagedBody): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(body.open()));
}

async function bench(change: Partial<SnapshotUploadOptions> = {}) {
  const directory = await temporary();
  const alarms = createAlarms(Date.now, { raised() {}, cleared() {} });
  const staged: Buffer[] = [];
  const failures: string[] = [];
  const uploads = createSnapshotUploads({
    scratchDir: directory.path,
    compression: defaultCompression,
    gate: createGate(1),
    places: createGate(1),
    alarms,
    stage: async (body) => void staged.push(await bytesOf(body)),
    refusedMs: 30,
    beforeStage: async () => {},
    onChange() {},
    onFailed: () => void failures.push("failed"),
    onFork: () => void failures.push("fork"),
    onNoRoom: () => false,
    ...change,
  });
  return {
    uploads,
    alarms,
    staged,
    failures,
    /** An image of `pages` pages as a source leaves it. */
    async base(id: number, pages: number, highWaterMark = pages): Promise<BaseEvent> {
      const imagePath = join(directory.path, `image-${id}`);
      await writeFile(imagePath, Buffer.alloc(pages * pageSize, id));
      const event = { txId: txId(id), imagePath, pageSize, highWaterMark, stateHash: 5n, stampMs: 1234 };
      return { type: "base", ...event };
    },
    files: () => readdir(directory.path),
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
}

suite("the upload of a snapshot", () => {
  test("waits while snapshots of other databases have all places, which one that was refused gives up", async () => {
    const places = createGate(1);
    const refusal = new PageferryError("unauthorized", "no such token");
    let isRefusing = true;
    const stage = async () => {
      if (isRefusing) throw refusal;
    };
    let isStaging = false;
    const endless = (_: StagedBody, signal: AbortSignal) => {
      isStaging = true;
      return new Promise<void>((_, fail) => signal.addEventListener("abort", () => fail(signal.reason)));
    };
    await using away = await bench({ places, stage: endless });
    await using refused = await bench({ places, stage });
    await using last = await bench({ places });

    away.uploads.take(generation, await away.base(1, 8));
    await until("its snapshot lies there", () => isStaging);
    refused.uploads.take(generation, await refused.base(2, 8));
    last.uploads.take(generation, await last.base(3, 8));
    await setTimeout(50);
    assert.deepEqual([await refused.files(), await last.files()], [["image-2"], ["image-3"]]);
    await away.uploads.close();
    await until("the last", () => last.uploads.ready(generation) !== undefined);

    assert.ok(refused.uploads.isRefused(generation));
    isRefusing = false;
    await until("and the refused one", () => refused.uploads.ready(generation) !== undefined);
    await Promise.all([refused.uploads.close(), last.uploads.close()]);
    assert.deepEqual([await away.files(), await refused.files(), await last.files()], [[], [], []]);
  });

  test("holds up others for a while only, however long it takes itself", async () => {
    const places = createGate(1);
    const endless = (_: StagedBody, signal: AbortSignal) =>
      new Promise<void>((_, fail) => signal.addEventListener("abort", () => fail(signal.reason)));
    await using slow = await bench({ places, placeMs: 30, stage: endless });
    await using next = await bench({ places });

    slow.uploads.take(generation, await slow.base(1, 8));
    next.uploads.take(generation, await next.base(2, 8));
    await until("the next", () => next.uploads.ready(generation) !== undefined);

    assert.ok(slow.uploads.isBusy(generation));
    assert.equal(slow.uploads.ready(generation), undefined);
    await Promise.all([slow.uploads.close(), next.uploads.close()]);
  });

  test("stages the image's snapshot under its digest, and leaves nothing on disk when it is done", async () => {
    await using one = await bench();

    one.uploads.take(generation, await one.base(7, 3000));
    await until("ready", () => one.uploads.ready(generation) !== undefined);

    const ready = one.uploads.ready(generation);
    assert.ok(ready);
    const [object] = one.staged;
    assert.ok(object);
    assert.equal(createHash("sha256").update(object).digest("hex"), ready.item.digest);
    assert.equal(ready.item.size, object.length);
    assert.equal(
      ready.item.name,
      `${generation}/snapshots/1970-01-01T00:00:01.234000000Z-0000000000000007.snapshot.cbor`,
    );
    const decoded = decodeSnapshot([object]);
    const raw = Buffer.concat(await Array.fromAsync(decoded.raw, (chunk) => chunk.slice()));
    assert.deepEqual([raw.length, (await decoded.header).stateHash], [3000 * pageSize, 5n]);
    assert.ok(raw.every((byte) => byte === 7));
    assert.deepEqual(await bytesOf(ready.body), object, "it can be staged again");
    await one.uploads.done(ready);
    assert.deepEqual(await one.files(), []);
    assert.equal(one.uploads.isBusy(generation), false);
  });

  test("gives up an older image for a newer one of another generation", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    await using one = await bench({
      stage: async (_, signal) => {
        await promise;
        signal.throwIfAborted();
      },
    });
    const other = parseGeneration("00000000000000bb");

    one.uploads.take(generation, await one.base(7, 10));
    one.uploads.take(other, await one.base(8, 10));
    resolve();
    await until("ready", () => one.uploads.ready(other) !== undefined);

    assert.equal(one.uploads.isBusy(generation), false);
    await one.uploads.close();
    assert.deepEqual(await one.files(), []);
  });

  test("of an image that is not what it should be raises an alarm, and is no longer busy", async () => {
    await using one = await bench();

    one.uploads.take(generation, await one.base(7, 10, 11));
    await until("an end", () => !one.uploads.isBusy(generation));

    assert.deepEqual(
      one.alarms.list().map(({ code }) => code),
      ["corrupt"],
    );
    assert.deepEqual(await one.files(), []);
  });

  test("that a host refuses keeps what it made, says so, and brings it again until it is taken", async () => {
    let isAllowed = false;
    let tries = 0;
    await using one = await bench({
      stage: async () => {
        tries += 1;
        if (!isAllowed) throw new PageferryError("unauthorized", "no");
      },
    });

    one.uploads.take(generation, await one.base(7, 10));
    await until("three tries", () => tries >= 3);
    const codes = one.alarms.list().map(({ code }) => code);
    const wasRefused = one.uploads.isRefused(generation);
    isAllowed = true;
    await until("ready", () => one.uploads.ready(generation) !== undefined);

    assert.deepEqual([codes, wasRefused, one.uploads.isBusy(generation)], [["unauthorized"], true, true]);
    assert.deepEqual([one.alarms.list(), one.failures], [[], []]);
  });

  test("that a host has another history of is told to the sender, and deleted in the end", async () => {
    const error = new PageferryError("fork", "two histories");
    await using one = await bench({ stage: () => Promise.reject(error), refusedMs: 60_000 });

    one.uploads.take(generation, await one.base(7, 10));
    await until("a fork", () => one.failures.includes("fork"));
    await one.uploads.close();

    assert.deepEqual(await one.files(), []);
  });

  test("whose image is gone is given up, which asks for another", async () => {
    await using one = await bench();
    const base = await one.base(7, 10);
    await rm(base.imagePath);

    one.uploads.take(generation, base);
    await until("an end", () => !one.uploads.isBusy(generation));

    assert.deepEqual([one.failures, one.staged], [["failed"], []]);
    assert.deepEqual(
      one.alarms.list().map(({ code }) => code),
      ["not-found"],
    );
  });

  test("waits with staging until what a restart goes on from is durable", async () => {
    const order: string[] = [];
    await using one = await bench({
      beforeStage: async (id) => {
        await setTimeout(20);
        order.push(`table ${id}`);
      },
      stage: async () => void order.push("staged"),
    });

    one.uploads.take(generation, await one.base(7, 10));
    await until("ready", () => one.uploads.ready(generation) !== undefined);

    assert.deepEqual(order, ["table 7", "staged"]);
  });
});
