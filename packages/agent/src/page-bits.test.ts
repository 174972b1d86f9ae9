import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { createPageBits } from "./page-bits.ts";

suite("a set of page ids", () => {
  test("is what a Set would be, in ascending order, after any adds and removes", () => {
    const id = fc.oneof(fc.nat(100), fc.nat(5_000), fc.nat(3_000_000));
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), id), { maxLength: 200 }), (moves) => {
        const bits = createPageBits();
        const truth = new Set<number>();

        for (const [isAdd, page] of moves) {
          if (isAdd) assert.equal(bits.add(page), !truth.has(page));
          else assert.equal(bits.remove(page), truth.has(page));
          if (isAdd) truth.add(page);
          else truth.delete(page);
        }

        const listed: number[] = [];
        for (let page = bits.next(0); page >= 0; page = bits.next(page + 1)) listed.push(page);
        assert.deepEqual(
          listed,
          [...truth].sort((a, b) => a - b),
        );
        assert.equal(bits.count(), truth.size);
        for (const [, page] of moves) assert.equal(bits.has(page), truth.has(page));
      }),
      { numRuns: 200, seed: 7 },
    );
  });

  test("names what another set lacks", () => {
    const id = fc.oneof(fc.nat(100), fc.nat(3_000));
    fc.assert(
      fc.property(fc.array(id), fc.array(id), (ours, theirs) => {
        const [bits, other] = [createPageBits(), createPageBits()];
        for (const page of ours) bits.add(page);
        for (const page of theirs) other.add(page);

        const missing: number[] = [];
        for (let page = bits.nextNotIn(other, 0); page >= 0; page = bits.nextNotIn(other, page + 1))
          missing.push(page);

        const truth = new Set(ours).difference(new Set(theirs));
        assert.deepEqual(
          missing,
          [...truth].sort((a, b) => a - b),
        );
      }),
      { numRuns: 200, seed: 7 },
    );
  });

  test("is empty again after clear", () => {
    const bits = createPageBits();
    for (const page of [0, 31, 32, 1023, 1024, 70_000]) bits.add(page);

    bits.clear();

    assert.equal(bits.next(0), -1);
    assert.equal(bits.count(), 0);
  });
});
