import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { txId } from "@pageferry/format";
import {
  decodeRecord,
  encodeRecord,
  isIntactRecord,
  recordLength,
  type ShadowRecord,
} from "./shadow-record.ts";

const record: ShadowRecord = {
  parentTxId: txId(41),
  txId: txId(0xffff_ffff_ffff_ffffn),
  stampMs: 1_767_225_600_123,
  pre: 0n,
  post: 2n ** 128n - 1n,
  rawBytes: 8192,
  freed: Uint32Array.of(7, 9, 2 ** 32 - 2),
  segment: Buffer.from("a segment"),
};

suite("a record of the shadow", () => {
  test("comes back as it was written", () => {
    const framed = encodeRecord(record);

    const decoded = decodeRecord(framed, "record");

    assert.deepEqual({ ...decoded, segment: Buffer.from(decoded.segment) }, record);
    assert.equal(recordLength(framed, framed.length), framed.length);
  });

  test("with any bit flipped is not taken for one", () => {
    const framed = encodeRecord(record);

    for (let bit = 0; bit < framed.length * 8; bit += 1) {
      const broken = Uint8Array.from(framed);
      broken[bit >> 3] = (broken[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const length = recordLength(broken, broken.length);
      const isTaken = length === broken.length && isIntactRecord(broken);
      assert.equal(isTaken, false, `bit ${bit}`);
    }
  });

  test("does not begin in zeros, which is what a file that grew without its data reads as", () => {
    assert.equal(recordLength(new Uint8Array(8), 1000), undefined);
  });

  test("that is changed is refused as corrupt", () => {
    const framed = encodeRecord(record);
    framed[framed.length - 1] = (framed.at(-1) ?? 0) ^ 1;

    assert.throws(() => decodeRecord(framed, "record"), { code: "corrupt" });
  });
});
