import { strict as assert } from "node:assert";
import { suite, test } from "node:test";
import fc from "fast-check";
import { crc64, createCrc64 } from "./crc64.ts";

/** The definition, a bit at a time: reflected polynomial 0xD800000000000000, all ones before and after. */
function bitwise(bytes: Uint8Array): bigint {
  let crc = 0xffff_ffff_ffff_ffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit += 1) {
      crc = (crc >> 1n) ^ (crc & 1n ? 0xd800_0000_0000_0000n : 0n);
    }
  }
  return crc ^ 0xffff_ffff_ffff_ffffn;
}

suite("a CRC-64", () => {
  test("is what its definition says", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => assert.equal(crc64(bytes), bitwise(bytes))),
    );
  });

  test("is the same whole and in parts, with others running beside it", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array()), fc.array(fc.uint8Array()), (a, b) => {
        const [first, second] = [createCrc64(), createCrc64()];
        for (let part = 0; part < Math.max(a.length, b.length); part += 1) {
          first.update(a[part] ?? new Uint8Array(0));
          crc64(Uint8Array.of(1, 2, 3));
          second.update(b[part] ?? new Uint8Array(0));
        }

        assert.equal(first.digest(), bitwise(Buffer.concat(a)));
        assert.equal(second.digest(), bitwise(Buffer.concat(b)));
      }),
    );
  });
});
