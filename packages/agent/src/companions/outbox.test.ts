import assert from "node:assert/strict";
import { mkdir, readdir, rm, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import {
  type Envelope,
  encodeEnvelope,
  envelopeItemsMax,
  parseDatabaseName,
  parseGeneration,
} from "@pageferry/format";
import { temporary } from "../../testing/agent-bench.ts";
import { type Noted, openOutbox } from "./outbox.ts";

const first = parseGeneration("aaaaaaaaaaaaaaaa");
const second = parseGeneration("bbbbbbbbbbbbbbbb");

function envelope(stampMs: number, generation = first, size = 10): Envelope {
  const begin = {
    generation,
    parent: null,
    reason: "first",
    epoch: 1,
    host: "here",
    pageSize: 4096,
  } as const;
  const name = `files/${generation}/0000000000000001-${stampMs.toString(16).padStart(12, "0")}-0123456789abcdef.files.cbor`;
  const items = [{ name, bytes: new Uint8Array(size) }];
  return {
    ...{
      database: parseDatabaseName("app"),
      begin,
      sentAtMs: stampMs,
      newestTxId: null,
      newestStampMs: null,
      items,
    },
  };
}

function noted(stampMs: number, generation = first): Noted {
  return { generation, stampMs, digest: stampMs.toString(16).padStart(64, "0") };
}

const stampsOf = (entries: readonly { readonly envelope: Envelope }[]) =>
  entries.map((entry) => entry.envelope.sentAtMs);

suite("the outbox of companion files", () => {
  test("keeps what was put in, in order, over a restart, until it is removed", async () => {
    await using directory = await temporary();
    const outbox = await openOutbox(directory.path);
    for (const stampMs of [5, 300, 7000]) await outbox.put(envelope(stampMs), noted(stampMs));

    const again = await openOutbox(directory.path);
    const entries = await again.oldest(1e6);

    assert.deepEqual(stampsOf(entries), [5, 300, 7000]);
    assert.deepEqual(again.noted(), noted(7000));
    await again.remove(entries);
    assert.ok(again.isEmpty());
    assert.deepEqual((await openOutbox(directory.path)).noted(), noted(7000));
    assert.deepEqual(await readdir(directory.path), ["noted.json"]);
  });

  test("knows a version that came without its note: the process died in between", async () => {
    await using directory = await temporary();
    await (await openOutbox(directory.path)).put(envelope(5), noted(5));
    await rm(join(directory.path, "noted.json"));

    assert.deepEqual((await openOutbox(directory.path)).noted(), noted(5));
  });

  test("does without a note that the disk does not take, until it takes it", async () => {
    await using directory = await temporary();
    const note = join(directory.path, "noted.json");
    await mkdir(note);
    const outbox = await openOutbox(directory.path);
    await outbox.put(envelope(5), noted(5));

    const entries = await outbox.oldest(1e6);
    assert.deepEqual([outbox.noted(), stampsOf(entries)], [noted(5), [5]]);
    await rmdir(note);
    await outbox.remove(entries);

    assert.deepEqual((await openOutbox(directory.path)).noted(), noted(5));
  });

  test("gives those of one generation at a time, and no more bytes than are asked for, but one", async () => {
    await using directory = await temporary();
    const outbox = await openOutbox(directory.path);
    for (const stampMs of [1, 2]) await outbox.put(envelope(stampMs, first, 1000), noted(stampMs));
    await outbox.put(envelope(3, second), noted(3, second));

    assert.deepEqual(stampsOf(await outbox.oldest(1e6)), [1, 2]);
    assert.deepEqual(stampsOf(await outbox.oldest(1500)), [1]);
    assert.deepEqual(stampsOf(await outbox.oldest(1)), [1]);
  });

  test("gives no more than one envelope may bring, however small they are", async () => {
    await using directory = await temporary();
    for (let stampMs = 1; stampMs <= envelopeItemsMax + 1; stampMs += 1) {
      const file = `${stampMs.toString(16).padStart(12, "0")}-${noted(stampMs).digest}.envelope`;
      await writeFile(join(directory.path, file), encodeEnvelope(envelope(stampMs)));
    }
    const outbox = await openOutbox(directory.path);

    assert.equal((await outbox.oldest(16 * 1024 * 1024)).length, envelopeItemsMax);
  });

  test("that could not write its note remembers all the same what it holds", async () => {
    await using directory = await temporary();
    const outbox = await openOutbox(directory.path);
    await mkdir(join(directory.path, "noted.json", "in the way"), { recursive: true });

    await outbox.put(envelope(5), noted(5));

    assert.deepEqual(outbox.noted(), noted(5));
    assert.deepEqual((await outbox.oldest(1e6)).length, 1);
  });

  test("forgets the set of what was broken, so that it is put in again, and later than before", async () => {
    await using directory = await temporary();
    const told: string[] = [];
    const outbox = await openOutbox(directory.path, (file) => told.push(file));
    await outbox.put(envelope(5), noted(5));
    const [only = ""] = (await readdir(directory.path)).filter((name) => name.endsWith(".envelope"));
    await writeFile(join(directory.path, only), "broken");

    assert.deepEqual(stampsOf(await outbox.oldest(1e6)), []);

    assert.deepEqual(told, [only]);
    for (const one of [outbox, await openOutbox(directory.path)]) {
      assert.notEqual(one.noted()?.digest, noted(5).digest);
      assert.equal(one.noted()?.stampMs, 5);
      assert.ok(one.isEmpty());
    }
  });

  test("gives up the oldest above 64 MiB, and says how many", async () => {
    await using directory = await temporary();
    const outbox = await openOutbox(directory.path);
    const lost: number[] = [];
    for (let stampMs = 1; stampMs <= 9; stampMs += 1)
      lost.push(await outbox.put(envelope(stampMs, first, 8 * 1024 * 1024), noted(stampMs)));

    assert.deepEqual(lost, [0, 0, 0, 0, 0, 0, 0, 1, 1]);
    assert.deepEqual(stampsOf(await outbox.oldest(1)), [3]);
  });

  test("passes over what is broken, and does without a note that is", async () => {
    await using directory = await temporary();
    const outbox = await openOutbox(directory.path);
    for (const stampMs of [1, 2]) await outbox.put(envelope(stampMs), noted(stampMs));
    const [oldest = ""] = (await readdir(directory.path)).filter((name) => name.endsWith(".envelope"));
    await writeFile(join(directory.path, oldest), "broken");
    await writeFile(join(directory.path, "noted.json"), "broken");

    const again = await openOutbox(directory.path);

    assert.deepEqual(stampsOf(await again.oldest(1e6)), [2]);
    assert.deepEqual(again.noted(), noted(2));
  });
});
