import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { encodeSegment } from "./segment.ts";
import { decodeSegmentFile } from "./segment-file.ts";
import { readSegmentHeader } from "./segment-range.ts";
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
