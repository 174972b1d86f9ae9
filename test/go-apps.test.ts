// The judges are judged first: a checker that finds nothing proves nothing.
import assert from "node:assert/strict";
import { appendFile, copyFile, open, truncate } from "node:fs/promises";
import { suite, test } from "node:test";
import { startEtcd } from "./etcd.ts";
import { checkFile, compact, lie, openChecker, readWriterLog, runWriter, startWriter } from "./go-apps.ts";
import { temporaryDirectory } from "./temporary.ts";

const pageSize = 4096;

async function overwrite(path: string, page: number, bytes: Uint8Array): Promise<void> {
  await using file = await open(path, "r+");
  await file.write(bytes, 0, bytes.length, page * pageSize);
}

async function readPages(path: string, page: number, count: number): Promise<Buffer> {
  await using file = await open(path, "r");
  const bytes = Buffer.alloc(count * pageSize);
  await file.read(bytes, 0, bytes.length, page * pageSize);
  return bytes;
}

suite("the test application", () => {
  test("keeps its invariants in every mode, and its log names each state", async () => {
    await using directory = await temporaryDirectory();
    const modes = [{}, { noFreelistSync: true }, { noSync: true, mapFreelist: true }, { pageSize: 16_384 }];
    for (const [index, mode] of modes.entries()) {
      const path = directory.file(`mode-${index}.db`);
      const log = directory.file(`mode-${index}.log`);

      const summary = await runWriter({ path, log, count: 200, overflow: 0.1, ...mode });
      const verdict = await checkFile(path);

      assert.deepEqual(verdict.errors, []);
      const last = (await readWriterLog(log)).at(-1);
      assert.equal(verdict.txid, summary.txid);
      assert.deepEqual(verdict.app, { number: last?.number, count: last?.count, sum: last?.sum });
    }
  });

  test("ends cleanly on SIGTERM, and goes on where it was after SIGKILL", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    const log = directory.file("app.log");
    {
      await using writer = await startWriter({ path, log });
      await writer.line(/"event":"progress"/);
      writer.kill("SIGKILL");
      await writer.ended;
    }
    await using writer = await startWriter({ path, log, seed: 2 });
    await writer.line(/"event":"progress"/);

    const summary = await writer.finish();

    const verdict = await checkFile(path);
    assert.deepEqual(verdict.errors, []);
    assert.equal(verdict.txid, summary.txid);
    const numbers = (await readWriterLog(log)).map((entry) => entry.number);
    assert.ok(numbers.every((number, index) => index === 0 || number > (numbers[index - 1] ?? 0)));
  });

  test("compacts into another file with lower txids and the same data", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 500 });
    const before = await checkFile(path);

    const txid = await compact(path);

    const after = await checkFile(path);
    assert.deepEqual(after.errors, []);
    assert.deepEqual(after.app, before.app);
    assert.equal(after.txid, txid);
    assert.ok(txid < before.txid);
  });

  test("tells the power-loss lie: one txid, byte-identical metas, other data", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 50 });

    const first = await lie({ path, variant: "A", save: directory.file("before.db") });
    const firstVerdict = await checkFile(path);
    const second = await lie({ path, variant: "B", from: directory.file("before.db") });
    const secondVerdict = await checkFile(path);

    assert.deepEqual(second, first);
    assert.deepEqual([firstVerdict.ok, secondVerdict.ok], [true, true]);
    assert.notEqual(secondVerdict.logicalSha256, firstVerdict.logicalSha256);
  });
});

suite("the checker", () => {
  test("finds a page of an older transaction, although it is a sound page", async () => {
    await using directory = await temporaryDirectory();
    const [path, old] = [directory.file("app.db"), directory.file("old.db")];
    await runWriter({ path, count: 300, deletes: 0, nested: 0, overflow: 0 });
    await copyFile(path, old);
    await runWriter({ path, count: 300, deletes: 0, nested: 0, overflow: 0, seed: 2 });
    const verdict = await checkFile(path);
    let mixtures = 0;
    let found = 0;
    await using checker = openChecker();
    for (let page = 2; page < verdict.highWaterMark; page += 7) {
      const mixed = directory.file("mixed.db");
      await copyFile(path, mixed);
      await overwrite(mixed, page, await readPages(old, page, 1));

      const judged = await checker.check(mixed);

      const isLive = judged.liveSha256 !== verdict.liveSha256;
      mixtures += isLive ? 1 : 0;
      found += isLive && !judged.ok ? 1 : 0;
    }
    assert.ok(mixtures > 5, `${mixtures} live pages differed`);
    assert.equal(found, mixtures);
  });

  test("survives files that crash bolt, and calls a short one bad", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 300 });
    const { highWaterMark } = await checkFile(path);
    const [garbage, short, empty] = ["garbage", "short", "empty"].map((name) => directory.file(name));
    assert.ok(garbage !== undefined && short !== undefined && empty !== undefined);
    await copyFile(path, garbage);
    for (let page = 10; page < highWaterMark; page += 3) {
      await overwrite(garbage, page, Buffer.alloc(pageSize, 0xa5));
    }
    await copyFile(path, short);
    await truncate(short, (highWaterMark - 1) * pageSize);
    await appendFile(empty, "");
    await using checker = openChecker();

    const verdicts = await Promise.all(
      [garbage, short, empty, directory.file("absent"), path].map((file) => checker.check(file)),
    );

    assert.deepEqual(
      verdicts.map((verdict) => verdict.ok),
      [false, false, false, false, true],
    );
  });

  test("reads a live etcd's file once it is stopped, and counts its revisions", async () => {
    await using directory = await temporaryDirectory();
    await using etcd = await startEtcd(directory.path);
    for (let index = 0; index < 50; index += 1) {
      await etcd.put(`k${index % 7}`, `v${index}`);
    }

    await etcd.stop();

    const verdict = await checkFile(etcd.databasePath);
    assert.deepEqual(verdict.errors, []);
    assert.equal(verdict.hasFreelist, false);
    assert.equal(verdict.app, undefined);
  });
});
