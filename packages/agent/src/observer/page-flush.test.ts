import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { encodeMetaPage, metaSlot, txId } from "@pageferry/format";
import { createPageStore } from "../../testing/page-store.ts";
import { copyFlush, type PageFlushInfo } from "./page-flush.ts";

const pageSize = 512;

function flushed(): PageFlushInfo {
  return createPageStore({ path: "app.db" }).commit();
}

suite("the copy of a flush", () => {
  test("stays as it is when the application goes on to use its memory", () => {
    const info = flushed();
    const before = info.frames.map(({ data }) => data.slice());

    const copy = copyFlush(info, pageSize, 1);
    for (const { data } of info.frames) data.fill(0xee);

    assert.deepEqual(
      copy.frames.map(({ data }) => data.slice()),
      before,
    );
    assert.equal(
      copy.bytes,
      before.reduce((sum, { length }) => sum + length, 0),
    );
  });

  test("is in the order of pages, and takes numbers where Go has uint64", () => {
    const info = flushed();
    const frames = info.frames.map((frame) => ({ ...frame, id: Number(frame.id) })).reverse();

    const copy = copyFlush({ ...info, txId: Number(info.txId), frames }, pageSize, 1);

    assert.deepEqual(copy, copyFlush(info, pageSize, 1));
  });

  test("knows root and freelist, although no meta page was told", () => {
    const info = flushed();
    const { tip } = copyFlush(info, pageSize, 1);
    const kindOf = (id: number | null | undefined) =>
      info.frames.find((frame) => Number(frame.id) === id)?.data[8];

    assert.deepEqual([kindOf(tip.root), kindOf(tip.freelist)], [0x02, 0x10]);
    assert.equal(tip.highWaterMark, Number(info.highWaterMark));
  });

  test("takes the meta page where it was told, and only the right one", () => {
    const info = flushed();
    const id = txId(info.txId);
    const meta = {
      ...{ pageSize, flags: 0, root: 9, sequence: 3n, freelist: null },
      ...{ highWaterMark: Number(info.highWaterMark), txId: id },
    };
    const withMeta = (fields: typeof meta, slot = metaSlot(id)): PageFlushInfo => {
      const frame = { id: BigInt(slot), overflow: 0, data: encodeMetaPage(fields, slot) };
      return { ...info, pageCount: info.pageCount + 1, frames: [frame, ...info.frames] };
    };

    const { tip, frames } = copyFlush(withMeta(meta), pageSize, 1);

    assert.deepEqual([tip.root, tip.sequence, frames.length], [9, 3n, info.frames.length]);
    const another = { ...meta, txId: txId(id + 2n) };
    assert.throws(() => copyFlush(withMeta(another), pageSize, 1), { code: "bad-request" });
    const otherSlot = metaSlot(id) === 0 ? 1 : 0;
    assert.throws(() => copyFlush(withMeta(meta, otherSlot), pageSize, 1), { code: "bad-request" });
  });

  const wrong: readonly [string, (info: PageFlushInfo) => Partial<PageFlushInfo>][] = [
    ["another page size", () => ({ pageSize: 4096 })],
    ["a parent that is not before it", ({ txId: id }) => ({ parentTxId: id })],
    ["a txid that is none", () => ({ txId: 1.5 })],
    ["fewer frames than it says", ({ frames }) => ({ frames: frames.slice(1) })],
    ["a page twice", ({ frames: [one, , ...rest] }) => ({ frames: one ? [one, one, ...rest] : [] })],
    ["pages above its high-water mark", () => ({ highWaterMark: 3 })],
    [
      "half a page",
      ({ frames: [one, ...rest] }) => ({
        frames: one ? [{ ...one, data: one.data.subarray(1) }, ...rest] : [],
      }),
    ],
  ];
  for (const [what, change] of wrong) {
    test(`is refused with ${what}`, () => {
      const info = flushed();

      assert.throws(() => copyFlush({ ...info, ...change(info) }, pageSize, 1), { code: "bad-request" });
    });
  }

  test("is refused with a page that bolt does not write", () => {
    const info = flushed();
    info.frames[0]?.data.fill(0x7f, 8, 10);

    assert.throws(() => copyFlush(info, pageSize, 1), { code: "corrupt" });
  });
});
