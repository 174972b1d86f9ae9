// Archives that the Go implementation wrote are restored to every state they hold, and compared with what was recorded of the live file.
// test/golden/README.md says what each archive is.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import {
  type ArchiveReader,
  applySegment,
  checkDatabase,
  decodeCbor,
  decodeSegment,
  executeRestore,
  type Generation,
  inlineWorkbench,
  logicalHash,
  memorySink,
  newestMeta,
  openArchive,
  PageferryError,
  parseGeneration,
  parseMeta,
  parseTxId,
  planFromArchive,
  type RestoreTarget,
  readObject,
  readPoints,
  type TxId,
} from "@pageferry/format";
import { directoryReader, openPageSource, restoreFile } from "@pageferry/format/node";

const golden = join(import.meta.dirname, "golden");

interface Truth {
  readonly generation: Generation;
  readonly txId: TxId;
  readonly highWaterMark: number;
  readonly metaPageHex80: string;
  readonly bodySha256: string;
  readonly logicalSha256: string;
}

function truthOf(archive: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(golden, archive, "truth.json"), "utf8"));
}

function transactionsOf(archive: string): Truth[] {
  const list = truthOf(archive).transactions as Record<string, string>[];
  return list.map((truth) => ({
    generation: parseGeneration(truth.generation ?? ""),
    txId: parseTxId(truth.txId ?? ""),
    highWaterMark: Number(truth.highWaterMark),
    metaPageHex80: truth.metaPageHex80 ?? "",
    bodySha256: truth.bodySha256 ?? "",
    logicalSha256: truth.logicalSha256 ?? "",
  }));
}

/** Leaves of each object what the Go implementation's S3 and NATS replicas keep of it: the data, without the map around it. */
function makeBare(objects: Map<string, Uint8Array>): void {
  for (const [name, bytes] of objects) {
    if (!name.endsWith(".cbor")) continue;
    const file = decodeCbor(bytes) as Map<string, unknown>;
    objects.set(name, new Uint8Array(file.get("data") as Uint8Array));
  }
}

/** The archive's objects, read once, some of them changed. */
async function loaded(
  archive: string,
  change: (objects: Map<string, Uint8Array>) => void = () => {},
): Promise<ArchiveReader> {
  const reader = directoryReader(join(golden, archive, "data"));
  const objects = new Map<string, Uint8Array>();
  for await (const { name } of reader.list())
    objects.set(name, await readObject(reader, name, { bytesMax: 1e9 }));
  change(objects);
  return {
    name: archive,
    async *list() {
      for (const [name, bytes] of objects) yield { name, size: bytes.length };
    },
    async get(name, { offset = 0, length } = {}) {
      const bytes = objects.get(name);
      if (bytes === undefined) throw new PageferryError("not-found", `${name}: not in ${archive}`);
      return (async function* () {
        yield bytes.slice(offset, length === undefined ? undefined : offset + length);
      })();
    },
  };
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

interface Restored {
  readonly bytes: Uint8Array;
  readonly txId: TxId;
  readonly pageSize: number;
}

async function restore(
  reader: ArchiveReader,
  target: RestoreTarget,
  integrity: "none" | "quick" = "none",
): Promise<Restored> {
  const plan = await planFromArchive(await openArchive([reader]), target);
  const sink = memorySink();
  const result = await executeRestore({
    plan,
    readers: [reader],
    sink,
    workbench: inlineWorkbench(sink),
    integrity,
  });
  const bytes = sink.bytes();
  assert.ok(bytes !== undefined);
  return { bytes, txId: result.txId, pageSize: result.pageSize };
}

function sourceOf({ bytes, pageSize }: Restored) {
  return {
    pageSize,
    size: bytes.length,
    read: (page: number, count: number) => bytes.subarray(page * pageSize, (page + count) * pageSize),
  };
}

function assertState(restored: Restored, truth: Truth): void {
  const { bytes, pageSize } = restored;
  const where = `${truth.generation} at ${truth.txId}`;
  const meta = newestMeta(bytes, bytes.subarray(pageSize));
  assert.ok(meta !== undefined, where);
  assert.equal(meta.txId, truth.txId, where);
  assert.equal(bytes.length, truth.highWaterMark * pageSize, where);
  const own = truth.txId % 2n === 0n ? 0 : pageSize;
  assert.equal(Buffer.from(bytes.subarray(own, own + 80)).toString("hex"), truth.metaPageHex80, where);
  assert.equal(parseMeta(bytes.subarray(own === 0 ? pageSize : 0))?.txId, truth.txId - 1n, where);
  assert.equal(sha256(bytes.subarray(2 * pageSize)), truth.bodySha256, where);
  assert.equal(logicalHash(sourceOf(restored), meta), truth.logicalSha256, where);
}

for (const [archive, states] of Object.entries({
  replica: 450,
  "replica-nofreelist": 40,
  "replica-16k-none": 10,
})) {
  suite(`the Go archive ${archive}`, () => {
    const transactions = transactionsOf(archive);

    test(`restores to each of its ${states} states, byte for byte`, async () => {
      const reader = await loaded(archive);

      assert.equal(transactions.length, states);
      for (const truth of transactions) {
        const restored = await restore(reader, { generation: truth.generation, txId: truth.txId });
        assertState(restored, truth);
      }
    });

    test("restores to each of them from its data alone, as its S3 and NATS replicas hold it", async () => {
      const reader = await loaded(archive, makeBare);

      for (const truth of transactions) {
        const restored = await restore(reader, { generation: truth.generation, txId: truth.txId });
        assertState(restored, truth);
      }
    });

    test("offers the same points, at the same times, from its data alone", async () => {
      const whole = await readPoints(await openArchive([await loaded(archive)]));
      const bare = await readPoints(await openArchive([await loaded(archive, makeBare)]));

      const words = (points: typeof whole) =>
        points.map(({ generation, txId, stampMs, name }) => ({ generation, txId, stampMs, name }));
      assert.deepEqual(words(bare), words(whole));
    });

    test("offers exactly these states as points, each with a time", async () => {
      const points = await readPoints(await openArchive([await loaded(archive)]));

      const offered = new Set(points.map((point) => `${point.generation} ${point.txId}`));
      assert.deepEqual(offered, new Set(transactions.map((truth) => `${truth.generation} ${truth.txId}`)));
      assert.ok(points.every((point) => point.stampMs !== null));
    });

    test("gives its newest state, whether _state.json is there, gone, stale or rubbish", async () => {
      const newest = transactions.at(-1) as Truth;
      const changes: ((objects: Map<string, Uint8Array>) => void)[] = [
        () => {},
        (objects) => objects.delete("_state.json"),
        (objects) =>
          objects.set(
            "_state.json",
            Buffer.from('{"Generation":"0000000000000000","Snapshot":null,"Segments":null}'),
          ),
        (objects) => objects.set("_state.json", Buffer.from('{"Generation":"')),
      ];
      for (const change of changes)
        assertState(await restore(await loaded(archive, change), {}, "quick"), newest);
    });
  });
}

test("a Go segment applied to the state before it, in memory, gives the same database", async () => {
  const reader = await loaded("replica-16k-none");
  const [first, ...rest] = transactionsOf("replica-16k-none");
  assert.ok(first !== undefined);
  let image = (await restore(reader, { txId: first.txId })).bytes;

  for (const truth of rest) {
    const name = `${truth.generation}/segments/${truth.txId.toString(16).padStart(16, "0")}.segment.cbor`;
    const segment = decodeSegment(await readObject(reader, name, { bytesMax: 1e9 }));
    image = applySegment(image, segment);
    assert.equal(sha256(image.subarray(2 * segment.header.pageSize)), truth.bodySha256);
  }
});

test("the archive whose segments carry meta pages restores to the truth of the one it was made from", async () => {
  const reader = await loaded("replica-metafix");
  const truth = truthOf("replica-metafix");
  const transactions = transactionsOf("replica-nofreelist");

  for (const state of transactions) assertState(await restore(reader, { txId: state.txId }), state);
  assert.equal(transactions.at(-1)?.txId, parseTxId(truth.txId as string));
  assert.equal(transactions.at(-1)?.logicalSha256, truth.logicalSha256);
});

suite("the archive with our extensions", () => {
  const truth = truthOf("replica-extended");

  test("restores to its recorded body, and checks clean", async () => {
    const restored = await restore(await loaded("replica-extended"), {});

    assert.equal(restored.txId, parseTxId(truth.txId as string));
    assert.equal(restored.bytes.length, Number(truth.highWaterMark) * restored.pageSize);
    assert.equal(sha256(restored.bytes.subarray(2 * restored.pageSize)), truth.bodySha256);
    assert.deepEqual(checkDatabase({ ...sourceOf(restored) }, { mode: "full" }).problems, []);
    const last = transactionsOf("replica").at(-1) as Truth;
    assertState(restored, last);
  });

  test("is checked in full, because its state hashes are placeholders and so unknown", async () => {
    const reader = await loaded("replica-extended");
    const plan = await planFromArchive(await openArchive([reader]), {});
    const sink = memorySink();

    const result = await executeRestore({ plan, readers: [reader], sink, workbench: inlineWorkbench(sink) });

    assert.equal(result.check?.mode, "full");
  });

  test("knows its points by their names", async () => {
    const points = await readPoints(await openArchive([await loaded("replica-extended")]));

    assert.deepEqual(
      points.map((point) => [point.txId, point.kind]),
      [
        [451n, "segment"],
        [377n, "snapshot"],
      ],
    );
  });
});

test("a shadow directory restores to its recorded content, to a file, and checks clean", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-golden-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const output = join(directory, "app.db");
  const reader = directoryReader(join(golden, "shadow", "data"));
  const plan = await planFromArchive(await openArchive([reader]), {});

  const result = await restoreFile({ plan, readers: [reader], output, integrity: "full", threads: 2 });

  using source = openPageSource(output);
  assert.ok(result.check?.meta !== undefined);
  assert.equal(logicalHash(source, result.check.meta), truthOf("shadow").finalLogicalSha256);
  assert.equal((await readFile(output)).length, result.bytes);
});

suite("the archive of an observer that was registered twice", () => {
  test("is a gap that names what is lost, not a guess", async () => {
    await assert.rejects(restore(await loaded("replica-observer-bug"), {}), {
      code: "gap",
      message:
        /2bed699568f853b9 can be restored up to 0000000000000002, but there is .* without a snapshot, up to transaction 0000000000000007/,
    });
  });

  test("gives the one state that is there when its generation is named", async () => {
    const restored = await restore(
      await loaded("replica-observer-bug"),
      { generation: parseGeneration("2bed699568f853b9") },
      "quick",
    );

    assert.equal(restored.txId, 2n);
  });
});
