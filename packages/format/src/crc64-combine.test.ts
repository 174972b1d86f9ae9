import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { crc64 } from "./crc64.ts";
import { crc64Combine } from "./crc64-combine.ts";

test("the CRC of two pieces combined is the CRC of both together", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      fc.uint8Array({ maxLength: 70_000, size: "max" }),
      (a, b) => {
        const both = Buffer.concat([a, b]);

        assert.equal(crc64Combine(crc64(a), crc64(b), b.length), crc64(both));
      },
    ),
    { numRuns: 100 },
  );
});

test("an empty piece changes nothing", () => {
  const some = crc64(new Uint8Array([1, 2, 3]));
  const none = crc64(new Uint8Array(0));

  assert.equal(crc64Combine(some, none, 0), some);
  assert.equal(crc64Combine(none, some, 3), some);
});
