import { strict as assert } from "node:assert";
import { suite, test } from "node:test";
import fc from "fast-check";
import {
  encodePageIndex,
  encodeSeekTable,
  encodeSkippable,
  findPageIndex,
  findSeekTable,
  readPageIndex,
  readSeekTable,
} from "./seekable.ts";
import { zstdDecompressSync } from "./zstd.ts";

const u32 = fc.integer({ min: 0, max: 1_000_000 });
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

suite("a seek table", () => {
  test("reads back to the frames it was made of", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ storedBytes: u32, decodedBytes: u32 }, { noNullPrototype: true })),
        (entries) => {
          const table = encodeSeekTable(entries);
          const payloadBytes = entries.reduce((sum, { storedBytes }) => sum + storedBytes, table.length);

          assert.deepEqual(readSeekTable(table, payloadBytes, "x"), entries);
        },
      ),
    );
  });

  test("is nothing to a decoder", () => {
    const table = encodeSeekTable([{ storedBytes: 1, decodedBytes: 2 }]);

    assert.equal(zstdDecompressSync(table, { outputBytesMax: 0 }).length, 0);
  });

  test("with a checksum for each frame is read too", () => {
    const content = Buffer.from("0a000000140000000badc0de" + "01000000" + "80" + "b1ea928f", "hex");
    const table = encodeSkippable(0x184d2a5e, content);

    assert.deepEqual(readSeekTable(table, table.length + 10, "x"), [{ storedBytes: 10, decodedBytes: 20 }]);
  });

  test("that does not fill its payload is corrupt", () => {
    const table = encodeSeekTable([{ storedBytes: 10, decodedBytes: 20 }]);

    assert.throws(() => readSeekTable(table, table.length + 11, "x"), { code: "corrupt" });
    assert.throws(() => readSeekTable(table.subarray(1), table.length + 10, "x"), { code: "corrupt" });
    assert.throws(() => findSeekTable(table.subarray(8), "x"), { code: "corrupt" });
  });

  test("of more frames than a payload has is refused before it is read", () => {
    const footer = Buffer.from("ffffffff" + "00" + "b1ea928f", "hex");

    assert.throws(() => findSeekTable(footer, "x"), { code: "corrupt" });
  });

  test("is not seen where there is none", () => {
    assert.equal(findSeekTable(new Uint8Array(20), "x"), undefined);
    assert.equal(findSeekTable(new Uint8Array(3), "x"), undefined);
  });
});

suite("a page index", () => {
  test("reads back to the runs it was made of", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ pageId: u64, count: u64, offset: u64 }, { noNullPrototype: true })),
        (entries) => {
          const index = encodePageIndex(entries);
          const table = encodeSeekTable([{ storedBytes: index.length, decodedBytes: 0 }]);

          assert.deepEqual(readPageIndex(index, "x"), entries);
          assert.deepEqual(findPageIndex(Buffer.concat([index, table]), "x"), entries);
        },
      ),
    );
  });

  test("is looked for only in its own kind of frame", () => {
    const other = encodeSkippable(0x184d2a53, new Uint8Array(24));
    const table = encodeSeekTable([{ storedBytes: other.length, decodedBytes: 0 }]);

    assert.equal(findPageIndex(Buffer.concat([other, table]), "x"), undefined);
  });

  test("of broken length is corrupt", () => {
    const index = encodePageIndex([{ pageId: 1n, count: 1n, offset: 1n }]);

    assert.throws(() => readPageIndex(index.subarray(0, -1), "x"), { code: "corrupt" });
    assert.throws(() => readPageIndex(encodeSkippable(0x184d2a5d, new Uint8Array(23)), "x"), {
      code: "corrupt",
    });
    assert.throws(() => readPageIndex(new Uint8Array(3), "x"), { code: "corrupt" });
  });
});
