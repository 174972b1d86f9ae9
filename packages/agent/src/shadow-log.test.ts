import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { txId } from "@pageferry/format";
import fc from "fast-check";
import { readLogEntry } from "./shadow-file.ts";
import { type NewRecord, openShadowLog, type ShadowLog } from "./shadow-log.ts";
import { encodeRecord, type ShadowRecord } from "./shadow-record.ts";

interface Temporary extends AsyncDisposable {
  readonly path: string;
}

async function temporary(): Promise<Temporary> {
  const path = await mkdtemp(join(tmpdir(), "pageferry-shadow-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** The record of transaction `id`, whose segment is `bytes` long. */
function recordOf(id: number, bytes = 20, parent = id - 1): NewRecord {
  const facts = {
    parentTxId: txId(parent),
    txId: txId(id),
    stampMs: 1000 + id,
    pre: BigInt(parent),
    post: BigInt(id),
    rawBytes: bytes,
  };
  const record: ShadowRecord = {
    ...facts,
    freed: Uint32Array.of(id),
    segment: new Uint8Array(bytes).fill(id),
  };
  return { facts, framed: encodeRecord(record) };
}

function idsOf(log: ShadowLog): number[] {
  return log.entries().map((entry) => Number(entry.txId));
}

async function* each<Value>(values: readonly Value[]): AsyncGenerator<Value> {
  yield* values;
}

suite("the shadow's log", () => {
  test("gives back what was appended, also after it was opened again", async () => {
    await using directory = await temporary();
    const log = await openShadowLog(directory.path);

    await log.append([recordOf(2), recordOf(3, 100_000)]);
    await log.append([recordOf(4)]);
    await log.close();

    const again = await openShadowLog(directory.path);
    assert.deepEqual(idsOf(again), [2, 3, 4]);
    const records = await Promise.all(again.entries().map(readLogEntry));
    assert.deepEqual(
      records.map((record) => [record.segment.length, record.segment[0], [...record.freed]]),
      [
        [20, 2, [2]],
        [100_000, 3, [3]],
        [20, 4, [4]],
      ],
    );
    await again.close();
  });

  test("begins a new file before one grows above its bound", async () => {
    await using directory = await temporary();
    const log = await openShadowLog(directory.path, { fileBytesMax: 1000 });

    for (let id = 2; id < 12; id += 1) await log.append([recordOf(id, 300)]);
    await log.append([recordOf(12, 5000)]);
    await log.close();

    const names = await readdir(directory.path);
    const sizes = await Promise.all(names.map(async (name) => (await stat(join(directory.path, name))).size));
    assert.equal(sizes.filter((size) => size > 1000).length, 1, "only what is larger by itself");
    assert.equal(names.length, 6, "two records in each of five, and the large one");
  });

  test("cut at any byte of its last record opens as the records before it, and takes new ones", async () => {
    await using directory = await temporary();
    const log = await openShadowLog(directory.path);
    await log.append([recordOf(2), recordOf(3)]);
    const wholeBytes = log.bytes();
    await log.append([recordOf(4)]);
    await log.close();
    const path = join(directory.path, (await readdir(directory.path))[0] ?? "");
    const bytes = await readFile(path);

    for (let cut = wholeBytes; cut < bytes.length; cut += 1) {
      await rm(directory.path, { recursive: true });
      const fresh = await openShadowLog(directory.path);
      await fresh.close();
      await writeFile(path, bytes.subarray(0, cut));
      const torn = await openShadowLog(directory.path);
      assert.deepEqual(idsOf(torn), [2, 3], `cut at ${cut}`);
      await torn.append([recordOf(4, 33)]);
      await torn.close();
      const again = await openShadowLog(directory.path);
      assert.deepEqual(idsOf(again), [2, 3, 4]);
      await again.close();
    }
  });

  test("ends before zeros that a power loss left in the place of data", async () => {
    await using directory = await temporary();
    const log = await openShadowLog(directory.path);
    await log.append([recordOf(2)]);
    const wholeBytes = log.bytes();
    await log.close();
    const path = join(directory.path, (await readdir(directory.path))[0] ?? "");
    await truncate(path, wholeBytes + 4096);

    const again = await openShadowLog(directory.path);

    assert.deepEqual(idsOf(again), [2]);
    assert.equal((await stat(path)).size, wholeBytes);
    await again.close();
  });

  test("trims whole files, and never a record above the bound", async () => {
    await using directory = await temporary();
    const log = await openShadowLog(directory.path, { fileBytesMax: 1000 });
    for (let id = 2; id < 20; id += 1) await log.append([recordOf(id, 300)]);

    await log.trim(txId(9));

    assert.ok(idsOf(log).includes(10));
    assert.ok(!idsOf(log).includes(5));
    const kept = idsOf(log);
    await log.append([recordOf(20)]);
    await log.close();
    const again = await openShadowLog(directory.path);
    assert.deepEqual(idsOf(again), [...kept, 20]);
    await again.close();
  });

  test("squashed holds the new records in the place of the old, and goes on", async () => {
    await using directory = await temporary();
    const log = await openShadowLog(directory.path, { fileBytesMax: 1000 });
    for (let id = 2; id < 20; id += 1) await log.append([recordOf(id, 300)]);
    const from = log.entries().find((entry) => entry.txId >= 8n);
    assert.ok(from);
    const before = idsOf(log).filter((id) => id < from.txId);

    await log.squash(from, each([recordOf(19, 40, Number(from.parentTxId))]));
    await log.append([recordOf(20)]);

    assert.deepEqual(idsOf(log), [...before, 19, 20]);
    await log.close();
    const again = await openShadowLog(directory.path);
    assert.deepEqual(idsOf(again), [...before, 19, 20]);
    await again.close();
  });

  test("holds the old records when squashing failed, and the new ones when old files came back", async () => {
    await using directory = await temporary();
    const log = await openShadowLog(directory.path, { fileBytesMax: 500 });
    for (let id = 2; id < 6; id += 1) await log.append([recordOf(id, 300)]);
    const [from] = log.entries();
    assert.ok(from);
    const old = await readFile(from.file.path);
    async function* failing(): AsyncGenerator<NewRecord> {
      yield recordOf(3, 10, 1);
      throw Object.assign(new Error("full"), { code: "ENOSPC" });
    }

    await assert.rejects(log.squash(from, failing()), { code: "disk-full" });
    assert.deepEqual(idsOf(log), [2, 3, 4, 5]);
    await log.squash(from, each([recordOf(5, 10, 1)]));
    // A crash between the rename and the removal of the old files.
    await writeFile(from.file.path, old);
    await log.close();

    const again = await openShadowLog(directory.path);
    assert.deepEqual(idsOf(again), [5]);
    await again.close();
  });

  test("whose append fails counts nothing of it, and takes it again", async () => {
    await using directory = await temporary();
    const log = await openShadowLog(directory.path);
    await log.append([recordOf(2)]);
    const broken = { facts: recordOf(3).facts, framed: undefined as unknown as Uint8Array };

    await assert.rejects(log.append([broken]));
    await log.append([recordOf(3)]);
    await log.close();

    const again = await openShadowLog(directory.path);
    assert.deepEqual(idsOf(again), [2, 3]);
    await again.close();
  });

  test("cut or damaged anywhere gives a prefix of what was appended, in order", async () => {
    const plan = fc.array(fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 4 }), {
      minLength: 1,
      maxLength: 8,
    });
    await fc.assert(
      fc.asyncProperty(plan, fc.nat(), fc.boolean(), async (groups, where, isFlip) => {
        await using directory = await temporary();
        const log = await openShadowLog(directory.path, { fileBytesMax: 1500 });
        let id = 1;
        for (const group of groups) {
          await log.append(
            group.map((bytes) => {
              id += 1;
              return recordOf(id, bytes);
            }),
          );
        }
        await log.close();
        const all = idsOf(log);
        const last = join(directory.path, (await readdir(directory.path)).sort().at(-1) ?? "");
        await damage(last, where, isFlip);

        const again = await openShadowLog(directory.path);

        const found = idsOf(again);
        assert.deepEqual(found, all.slice(0, found.length));
        for (const entry of again.entries()) {
          assert.equal((await readLogEntry(entry)).txId, entry.txId);
        }
        await again.append([recordOf(found.length + 2)]);
        await again.close();
      }),
      { numRuns: 60 },
    );
  });
});

/** Cuts a file at a place, or changes the byte there. */
async function damage(path: string, where: number, isFlip: boolean): Promise<void> {
  const bytes = await readFile(path);
  const at = where % bytes.length;
  if (isFlip) {
    bytes[at] = (bytes[at] ?? 0) ^ 0x10;
    await writeFile(path, bytes);
  } else {
    await truncate(path, at);
  }
}
