import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { defaultCompression, type TxId, txId } from "@pageferry/format";
import fc from "fast-check";
import { temporary, until } from "../testing/agent-bench.ts";
import { createRangeMerge, type RangePart } from "./range-merge.ts";
import { decodeRange } from "./range-segment.ts";
import { createBudget, createRecent } from "./recent.ts";
import { type Granularity, openShadow, type Shadow, type ShadowOptions } from "./shadow.ts";
import { readLogEntry } from "./shadow-file.ts";
import { squashed } from "./shadow-squash.ts";

const pageSize = 512;

function partOf(id: number, pages: readonly number[], freed: readonly number[] = []): RangePart {
  const frames = [id % 2, ...pages].map((page) => ({
    id: page,
    overflow: 0,
    data: new Uint8Array(pageSize).fill(id),
  }));
  return {
    parentTxId: txId(id - 1),
    txId: txId(id),
    pageSize,
    highWaterMark: 1000,
    pre: BigInt(id - 1),
    post: BigInt(id),
    stampMs: 1000 + id,
    frames,
    freed: Uint32Array.from(freed),
  };
}

interface Opened extends AsyncDisposable {
  readonly shadow: Shadow;
  readonly durable: number[];
  readonly troubles: unknown[];
}

async function opened(
  directory: string,
  granularity: Granularity,
  options: Partial<ShadowOptions> = {},
): Promise<Opened> {
  const durable: number[] = [];
  const troubles: unknown[] = [];
  const shadow = await openShadow({
    directory,
    granularity,
    source: "bolt-file",
    compression: defaultCompression,
    paceMs: 0,
    onDurable: (ranges) => durable.push(...ranges.map(({ part }) => Number(part.txId))),
    onLost: (part) => troubles.push(part),
    onTrouble: (error) => troubles.push(error),
    ...options,
  });
  return { shadow, durable, troubles, [Symbol.asyncDispose]: () => shadow.close() };
}

function rangesOf(shadow: Shadow): [number, number][] {
  return shadow.entries().map((entry) => [Number(entry.parentTxId), Number(entry.txId)]);
}

suite("the shadow", () => {
  test("pauses between two writes, and what comes meanwhile shares the next", async () => {
    await using directory = await temporary();
    await using one = await opened(directory.path, "interval", { paceMs: 100_000 });

    await one.shadow.append(partOf(2, [4]));
    await until("the first is written at once", () => one.durable.length === 1);
    await one.shadow.append(partOf(3, [6]));
    await one.shadow.append(partOf(4, [8]));
    await sleep(50);
    assert.deepEqual(one.durable, [2]);
    assert.ok(one.shadow.pendingBytes() > 0);
    await one.shadow.flush();

    assert.deepEqual(rangesOf(one.shadow), [
      [1, 2],
      [2, 4],
    ]);
  });

  test("does not pause while much waits, and ends in a pause", async () => {
    await using directory = await temporary();
    const one = await opened(directory.path, "transaction", { paceMs: 100_000 });

    await one.shadow.append(partOf(2, [4]));
    await until("the first", () => one.durable.length === 1);
    for (let id = 3; id < 40; id += 1) await one.shadow.append(partOf(id, [id * 2]));
    await until("all but a few", () => one.durable.length > 30);
    await one.shadow.append(partOf(40, [8]));
    await one.shadow.flush();
    assert.equal(one.durable.at(-1), 40);
    await one.shadow.append(partOf(41, [8]));
    await one.shadow.close();

    assert.equal(one.durable.at(-1), 40, "what nobody flushed is given up, and close does not wait");
  });

  test("makes each delta durable by itself with granularity transaction", async () => {
    await using directory = await temporary();
    await using one = await opened(directory.path, "transaction");

    for (let id = 2; id < 12; id += 1) await one.shadow.append(partOf(id, [id * 2]));
    await one.shadow.flush();

    assert.deepEqual(one.durable, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert.equal(one.shadow.entries().length, 10);
  });

  test("merges what waits for the disk with granularity interval, and leaves no hole", async () => {
    await using directory = await temporary();
    await using one = await opened(directory.path, "interval");

    for (let id = 2; id < 102; id += 1) await one.shadow.append(partOf(id, [10 + (id % 5)]));
    await one.shadow.flush();

    const ranges = rangesOf(one.shadow);
    assert.ok(ranges.length < 50, `${ranges.length} records`);
    assert.deepEqual([ranges[0]?.[0], ranges.at(-1)?.[1]], [1, 101]);
    assert.ok(ranges.every(([parent], index) => index === 0 || parent === ranges[index - 1]?.[1]));
  });

  test("does not use a delta's memory after the append has returned", async () => {
    for (const granularity of ["interval", "transaction"] as const) {
      await using directory = await temporary();
      await using one = await opened(directory.path, granularity);
      const part = partOf(2, [10]);

      await one.shadow.append(part);
      for (const { data } of part.frames) data.fill(0xee);
      await one.shadow.flush();

      const [entry] = one.shadow.entries();
      assert.ok(entry);
      const range = await decodeRange(await readLogEntry(entry));
      assert.deepEqual(
        range.frames.map(({ data }) => data[0]),
        [2, 2],
      );
    }
  });

  test("keeps what it could not write, tells so, and goes on when it can", async () => {
    await using directory = await temporary();
    const path = join(directory.path, "shadow");
    await using one = await opened(path, "transaction", { fileBytesMax: 1 });
    await one.shadow.append(partOf(2, [10]));
    await one.shadow.flush();

    await rename(path, `${path}-away`);
    await writeFile(path, "a file in the place of the directory");
    await one.shadow.append(partOf(3, [11]));
    await until("trouble", () => one.troubles.length > 0);
    await one.shadow.append(partOf(4, [12]));
    await rm(path);
    await rename(`${path}-away`, path);
    await one.shadow.flush();

    assert.deepEqual(one.durable, [2, 3, 4]);
    assert.equal(one.troubles.at(-1), undefined, "it is over");
    await using again = await opened(path, "transaction");
    assert.deepEqual(
      rangesOf(again.shadow).map(([, id]) => id),
      [2, 3, 4],
    );
  });

  test("that was squashed holds the same states, and reaches across no boundary", async () => {
    const transaction = fc.record({
      pages: fc.uniqueArray(fc.integer({ min: 2, max: 30 }), { maxLength: 5 }),
      freed: fc.uniqueArray(fc.integer({ min: 2, max: 30 }), { maxLength: 3 }),
    });
    const history = fc.array(transaction, { minLength: 2, maxLength: 25 });
    await fc.assert(
      fc.asyncProperty(
        history,
        fc.nat(),
        fc.integer({ min: 600, max: 8000 }),
        async (all, where, rawBytesMax) => {
          await using directory = await temporary();
          await using one = await opened(directory.path, "transaction");
          const parts = all.map(({ pages, freed }, index) =>
            partOf(
              index + 2,
              pages.sort((a, b) => a - b),
              freed.filter((id) => !pages.includes(id)),
            ),
          );
          for (const part of parts) await one.shadow.append(part);
          await one.shadow.flush();
          const boundary = txId(2 + (where % parts.length));
          const options = { rawBytesMax, source: "bolt-file", compression: defaultCompression };

          await one.shadow.squash((entries) => squashed(entries, { ...options, boundaries: [boundary] }));

          const whole = createRangeMerge();
          for (const part of parts) whole.add(part);
          const again = createRangeMerge();
          for (const entry of one.shadow.entries()) again.add(await decodeRange(await readLogEntry(entry)));
          assert.deepEqual(again.range(), whole.range());
          assert.ok(one.shadow.entries().some((entry) => entry.txId === boundary));
        },
      ),
      { numRuns: 30 },
    );
  });

  test("whose directory is removed makes it again, and knows what was in it", async () => {
    await using directory = await temporary();
    const path = join(directory.path, "shadow");
    await using one = await opened(path, "transaction", { fileBytesMax: 1 });
    for (const id of [2, 3]) await one.shadow.append(partOf(id, [10]));
    await one.shadow.flush();

    await rm(path, { recursive: true });
    const lost = await one.shadow.inspect();
    await one.shadow.append(partOf(4, [12]));
    await one.shadow.flush();

    const idsOf = (entries: readonly { readonly txId: TxId }[]) => entries.map(({ txId: id }) => Number(id));
    assert.deepEqual(idsOf(lost), [2, 3]);
    assert.deepEqual(idsOf(one.shadow.entries()), [4]);
    assert.deepEqual(idsOf(await one.shadow.inspect()), []);
    assert.equal((await readdir(path)).length, 1);
  });

  test("notices a file that was cut short, replaced, or removed while it is written", async () => {
    for (const damage of ["cut", "replaced", "removed"] as const) {
      await using directory = await temporary();
      await using one = await opened(directory.path, "transaction");
      await one.shadow.append(partOf(2, [10]));
      await one.shadow.flush();
      const [name = ""] = await readdir(directory.path);
      const path = join(directory.path, name);
      const bytes = await readFile(path);

      if (damage === "cut") await truncate(path, bytes.length - 1);
      else await rm(path);
      if (damage === "replaced") await writeFile(path, bytes);
      const lost = await one.shadow.inspect();
      await one.shadow.append(partOf(3, [11]));
      await one.shadow.flush();

      assert.deepEqual([lost.length, one.shadow.entries().length], [1, 1], damage);
      await readLogEntry(one.shadow.entries()[0] ?? assert.fail("nothing is there"));
    }
  });

  test("closed in the middle of trouble gives up, and does not hang", async () => {
    await using directory = await temporary();
    const path = join(directory.path, "shadow");
    const one = await opened(path, "transaction", { fileBytesMax: 1 });
    await one.shadow.append(partOf(2, [10]));
    await one.shadow.flush();
    await rename(path, `${path}-away`);
    await writeFile(path, "a file in the place of the directory");
    await one.shadow.append(partOf(3, [11]));
    await until("trouble", () => one.troubles.length > 0);

    await one.shadow.close();

    await rm(path);
    await mkdir(path);
    assert.deepEqual(one.durable, [2]);
  });
});

suite("what is recent", () => {
  const range = (id: number, pages: readonly number[]) => ({
    part: partOf(id, pages),
    segment: Uint8Array.of(id),
  });

  test("is handed over merged, when it follows what was sent", () => {
    const recent = createRecent("interval", createBudget(1e6), txId(1));
    for (let id = 2; id < 6; id += 1) recent.add(range(id, [10]));

    const taken = recent.takeRange(txId(1));

    assert.deepEqual([taken?.parentTxId, taken?.txId], [1n, 5n]);
    recent.add(range(6, [11]));
    assert.equal(recent.takeRange(txId(5))?.txId, 6n);
  });

  test("that does not fit is left to the shadow until the sender caught up", () => {
    const recent = createRecent("interval", createBudget(3 * pageSize), txId(1));
    recent.add(range(2, [10, 11, 12]));
    recent.add(range(3, [10]));
    assert.equal(recent.takeRange(txId(1)), undefined);

    recent.forget(txId(3));
    recent.add(range(4, [10]));

    assert.equal(recent.takeRange(txId(3))?.txId, 4n);
  });

  test("is forgotten when it was sent from the shadow", () => {
    const recent = createRecent("interval", createBudget(1e6), txId(5));
    recent.add(range(6, [10]));
    recent.forget(txId(6));
    recent.add(range(7, [10]));

    assert.equal(recent.takeRange(txId(6))?.txId, 7n);
  });

  test("gives its memory back", () => {
    for (const granularity of ["interval", "transaction"] as const) {
      const budget = createBudget(100 * pageSize);
      const recent = createRecent(granularity, budget, txId(1));
      for (let id = 2; id < 1000; id += 1) {
        recent.add(range(id, [10, 11]));
        recent.takeRange(txId(id - 1));
        recent.forget(txId(id));
      }
      recent.clear();
      assert.ok(budget.take(100 * pageSize), granularity);
    }
  });

  test("does not take a transaction for the squashed range that ends with it", () => {
    const recent = createRecent("transaction", createBudget(1e6), txId(1));
    recent.add(range(5, [10]));

    assert.equal(recent.segment({ parentTxId: txId(2), txId: txId(5) }), undefined);
    assert.deepEqual(recent.segment({ parentTxId: txId(4), txId: txId(5) }), Uint8Array.of(5));
  });
});
