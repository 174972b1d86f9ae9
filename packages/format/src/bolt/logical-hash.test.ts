import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { suite, test } from "node:test";
import {
  etcdImage,
  type GoSegment,
  image,
  imageSource,
  replicas,
  segments,
  snapshots,
  truths,
} from "../../testing/golden.ts";
import { checkDatabase } from "./check.ts";
import { logicalHash } from "./logical-hash.ts";
import {
  deriveMeta,
  encodeMetaPage,
  type Meta,
  metaPagesFor,
  metaSlot,
  newestMeta,
  parseMeta,
} from "./meta.ts";
import { pageFlagLeaf } from "./page.ts";
import { treePages } from "./tree.ts";

suite("the logical hash", () => {
  for (const replica of replicas) {
    test(`is what the live database had, and the file is sound, at every transaction: ${replica}`, () => {
      const known = new Map(truths(replica).map((truth) => [`${truth.generation} ${truth.txId}`, truth]));

      for (const state of states(replica)) {
        const truth = known.get(`${state.generation} ${state.meta.txId}`);
        const source = imageSource(state.bytes, state.meta.pageSize);
        const body = createHash("sha256")
          .update(state.bytes.subarray(2 * state.meta.pageSize))
          .digest("hex");

        assert.equal(body, truth?.bodySha256, `transaction ${state.meta.txId}`);
        assert.equal(logicalHash(source, state.meta), truth?.logicalSha256, `transaction ${state.meta.txId}`);
        assert.deepEqual(
          checkDatabase(source, { mode: "full" }).problems,
          [],
          `transaction ${state.meta.txId}`,
        );
        known.delete(`${state.generation} ${state.meta.txId}`);
      }

      assert.equal(known.size, 0, "a recorded transaction was not rebuilt");
    });
  }

  test("of an etcd file is the one that bbolt's own cursor gives", () => {
    const source = imageSource(etcdImage(), 4096);
    const meta = newestMeta(source.read(0, 1), source.read(1, 1)) as Meta;

    assert.equal(
      logicalHash(source, meta),
      "7d7e84f1c268c3abd526625ad6950435b42938c6dc105a6adc5785cf5a4746b2",
    );
  });

  test("does not change with free pages, and does with one bit of a value", () => {
    const { bytes, pageSize } = image("replica");
    const source = imageSource(bytes, pageSize);
    const meta = newestMeta(source.read(0, 1), source.read(1, 1)) as Meta;
    const before = logicalHash(source, meta);
    const freed = Number(
      new DataView(bytes.buffer).getBigUint64((meta.freelist as number) * pageSize + 16, true),
    );
    bytes.fill(0xaa, freed * pageSize, (freed + 1) * pageSize);

    const scribbled = logicalHash(source, meta);
    const value = valueByte(bytes, meta);
    bytes[value] = (bytes[value] as number) ^ 1;
    const changed = logicalHash(source, meta);

    assert.equal(scribbled, before);
    assert.notEqual(changed, before);
  });

  test("is not made of a database with a broken page", () => {
    const { bytes, pageSize } = image("replica");
    const source = imageSource(bytes, pageSize);
    const meta = newestMeta(source.read(0, 1), source.read(1, 1)) as Meta;

    assert.throws(() => logicalHash(source, { ...meta, root: 1 }), { code: "corrupt" });
    assert.throws(() => logicalHash(source, { ...meta, root: meta.freelist as number }), { code: "corrupt" });
    assert.throws(() => logicalHash(source, { ...meta, highWaterMark: 100 }), { code: "corrupt" });
  });
});

/** Every state of a replica's history, rebuilt from its first snapshots and segments with derived metas. */
function* states(replica: string): Generator<{ generation: string; bytes: Uint8Array; meta: Meta }> {
  const generations = new Set<string>();
  for (const { generation, image: first, pageSize, txId } of snapshots(replica)) {
    if (generations.has(generation)) continue;
    generations.add(generation);
    const bytes = new Uint8Array(2 ** 20);
    bytes.set(first);
    let meta = newestMeta(first, first.subarray(pageSize)) as Meta;
    yield { generation, bytes: bytes.subarray(0, meta.highWaterMark * pageSize), meta };
    for (const segment of segments(replica, generation)) {
      if (segment.txId <= txId) continue;
      meta = applySegment(bytes, segment, meta);
      yield { generation, bytes: bytes.subarray(0, meta.highWaterMark * pageSize), meta };
    }
  }
}

/** Where some byte of some plain value is in the image. */
function valueByte(bytes: Uint8Array, meta: Meta): number {
  for (const { id, run, header } of treePages(imageSource(bytes, meta.pageSize), meta)) {
    const view = new DataView(run.buffer, run.byteOffset, run.length);
    if (header.flags !== pageFlagLeaf || header.count === 0 || view.getUint32(16, true) !== 0) continue;
    return id * meta.pageSize + 16 + view.getUint32(20, true) + view.getUint32(24, true);
  }
  throw new Error("no plain value");
}

function applySegment(bytes: Uint8Array, segment: GoSegment, parent: Meta): Meta {
  for (const { id, data } of segment.frames) bytes.set(data, id * segment.pageSize);
  const derived = deriveMeta(segment, parent);
  assert.ok(derived.root !== undefined);
  const page = encodeMetaPage({ ...derived, root: derived.root }, metaSlot(derived.txId));
  for (const [slot, both] of metaPagesFor(page).entries()) bytes.set(both, slot * segment.pageSize);
  return parseMeta(page) as Meta;
}
