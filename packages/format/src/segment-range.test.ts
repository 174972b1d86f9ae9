import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { frameOf, seeded, segmentOf } from "./fixtures.ts";
import { encodeSegment } from "./segment.ts";
import { decodeSegmentFile } from "./segment-file.ts";
import { openSegment, readSegmentHeader } from "./segment-range.ts";
import { txId } from "./txid.ts";

const bytes = encodeSegment({
  txId: txId(7),
  parentTxId: txId(6),
  pageSize: 4096,
  highWaterMark: 40n,
  createdAt: 1000,
  attrs: { stamp: "1000000" },
  pages: [{ id: 5n, overflow: 3, data: new Uint8Array(16_384).fill(3) }],
});

function readerOf(content: Uint8Array) {
  let read = 0;
  return {
    size: content.length,
    async read(offset: number, length: number) {
      assert.ok(offset + length <= content.length);
      read += length;
      return content.subarray(offset, offset + length);
    },
    bytesRead: () => read,
  };
}

suite("the header of a segment, read by itself", () => {
  test("is the one of the whole file, and its data is not read", async () => {
    const raw = encodeSegment(
      {
        ...decodeSegmentFile(bytes).header,
        createdAt: 1000,
        pages: [{ id: 5n, overflow: 3, data: new Uint8Array(16_384) }],
      },
      { compression: { codec: "none", level: 0, window: 0 } },
    );
    const reader = readerOf(raw);

    assert.deepEqual(await readSegmentHeader(reader), decodeSegmentFile(raw).header);
    assert.ok(reader.bytesRead() < 1000);
  });

  test("of a file that is cut or has no header is corrupt", async () => {
    for (const length of [0, 3, 10, bytes.length - 300]) {
      await assert.rejects(readSegmentHeader(readerOf(bytes.subarray(0, Math.max(0, length)))), {
        code: "corrupt",
      });
    }
    await assert.rejects(readSegmentHeader(readerOf(bytes.subarray(0, bytes.length - 1))), {
      code: "corrupt",
    });
  });
});

suite("a large segment, read page by page", () => {
  const random = seeded(4);
  const pages = [
    frameOf(1),
    ...Array.from({ length: 300 }, (_, index) => frameOf(10 + index * 20, 8, random() & 0xff)),
  ];
  const large = encodeSegment(segmentOf({ txId: 500, parentTxId: 400, pages }));

  test("gives any page it holds, reading the one or two frames that hold it", async () => {
    const reader = readerOf(large);
    const segment = await openSegment(reader);
    assert.ok(segment !== undefined);
    const before = reader.bytesRead();

    const page = await segment.readPage(10n + 177n * 20n + 5n);

    assert.deepEqual(new Uint8Array(page ?? []), pages[178]?.data.subarray(5 * 4096, 6 * 4096));
    assert.ok(reader.bytesRead() - before < large.length / 3);
    assert.equal(segment.runs.length, pages.length);
    assert.equal(segment.header.txId, 500n);
  });

  test("has no page that it does not hold", async () => {
    const segment = await openSegment(readerOf(large));

    assert.equal(await segment?.readPage(9n), undefined);
    assert.equal(await segment?.readPage(18n), undefined);
    assert.equal(await segment?.readPage(2n ** 64n - 1n), undefined);
  });

  test("is not opened where there is no page index", async () => {
    assert.equal(await openSegment(readerOf(bytes)), undefined);
  });

  test("whose page index points outside is corrupt", async () => {
    const at = Buffer.from(large).indexOf(Buffer.from("5d2a4d18", "hex")) + 8;
    for (const [field, value] of [
      [0, 99n],
      [8, 0n],
      [8, 2n ** 63n],
      [16, 2n ** 40n],
    ] as const) {
      const broken = Buffer.from(large);
      broken.writeBigUInt64LE(value, at + field);

      await assert.rejects(openSegment(readerOf(broken)), { code: "corrupt" });
    }
  });
});
