import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { createStateSum, formatStateHash, parseStateHash } from "./state-hash.ts";

const modulus = 1n << 128n;
const digests = fc.array(fc.uint8Array({ minLength: 16, maxLength: 16 }), { maxLength: 40 });

suite("a state hash", () => {
  test("is the sum of the digests as big-endian numbers, modulo 2^128", () => {
    fc.assert(
      fc.property(digests, fc.bigInt({ min: 0n, max: modulus - 1n }), (all, initial) => {
        const sum = createStateSum(initial);
        for (const digest of all) sum.add(digest, 0);

        assert.equal(
          sum.value(),
          all.reduce((total, digest) => (total + bigOf(digest)) % modulus, initial),
        );
      }),
    );
  });

  test("does not depend on the order of its pages", () => {
    fc.assert(
      fc.property(digests, (all) => {
        const [forwards, backwards] = [createStateSum(), createStateSum()];
        for (const digest of all) forwards.add(digest, 0);
        for (const digest of all.toReversed()) backwards.add(digest, 0);

        assert.equal(forwards.value(), backwards.value());
      }),
    );
  });

  test("is as before when what was added is taken away, also before it is added", () => {
    fc.assert(
      fc.property(digests, fc.bigInt({ min: 0n, max: modulus - 1n }), (all, initial) => {
        const sum = createStateSum(initial);
        for (const digest of all) sum.subtract(digest, 0);
        const below = sum.value();
        for (const digest of all) sum.add(digest, 0);

        assert.equal(sum.value(), initial);
        assert.ok(below >= 0n && below < modulus);
      }),
    );
  });

  test("stays exact over millions of the largest digests", () => {
    const sum = createStateSum();
    const largest = new Uint8Array(16).fill(0xff);

    for (let count = 0; count < 2 ** 21 + 3; count += 1) sum.add(largest, 0);

    assert.equal(sum.value(), ((modulus - 1n) * BigInt(2 ** 21 + 3)) % modulus);
  });

  test("takes digests out of a table, and refuses one that is outside of it", () => {
    const table = Uint8Array.from({ length: 32 }, (_, index) => index);
    const sum = createStateSum();

    sum.add(table, 16);

    assert.equal(formatStateHash(sum.value()), "101112131415161718191a1b1c1d1e1f");
    assert.throws(() => sum.add(table, 17), RangeError);
    assert.throws(() => sum.subtract(table, -1), RangeError);
  });

  test("is text of 32 lower-case hex digits, and back", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: modulus - 1n }), (hash) => {
        assert.match(formatStateHash(hash), /^[0-9a-f]{32}$/);
        assert.equal(parseStateHash(formatStateHash(hash)), hash);
      }),
    );
  });

  test("is not read from any other text", () => {
    const wrong = [
      "",
      "0".repeat(31),
      "0".repeat(33),
      "A".repeat(32),
      `0x${"0".repeat(30)}`,
      `${"0".repeat(32)}\n`,
    ];

    for (const text of wrong) assert.throws(() => parseStateHash(text), { code: "corrupt" });
    assert.throws(() => formatStateHash(modulus), RangeError);
    assert.throws(() => formatStateHash(-1n), RangeError);
  });
});

function bigOf(digest: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(digest).toString("hex")}`);
}
