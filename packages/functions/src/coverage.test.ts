import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { txId } from "@pageferry/format";
import fc from "fast-check";
import { createCoverage, missingFromAll } from "./coverage.ts";

const coverageOf = (...ranges: readonly (readonly [number, number])[]) => {
  const coverage = createCoverage();
  for (const [parent, last] of ranges) coverage.add(txId(parent), txId(last));
  return coverage;
};

const plain = (stretches: readonly { readonly from: bigint; readonly to: bigint }[]) =>
  stretches.map(({ from, to }) => [Number(from), Number(to)]);

suite("coverage", () => {
  test("joins ranges that touch or overlap, in whatever order they come", () => {
    assert.deepEqual(plain(coverageOf([4, 6], [1, 2], [2, 4], [9, 12], [10, 11]).stretches()), [
      [1, 6],
      [9, 12],
    ]);
    assert.deepEqual(plain(coverageOf([1, 2], [3, 4], [5, 6], [0, 9]).stretches()), [[0, 9]]);
  });

  test("leads on from every state within a stretch, and from its beginning, not from its end or beyond", () => {
    const coverage = coverageOf([2, 5], [5, 8], [10, 12]);

    assert.equal(coverage.reachFrom(txId(2)), 8n);
    assert.equal(coverage.reachFrom(txId(6)), 8n);
    assert.equal(coverage.reachFrom(txId(8)), 8n);
    assert.equal(coverage.reachFrom(txId(1)), 1n);
    assert.equal(coverage.reachFrom(txId(9)), 9n);
    assert.equal(coverage.reachFrom(txId(13)), 13n);
  });

  test("covers what lies after a parent up to the last, the parent excluded", () => {
    const coverage = coverageOf([2, 5]);

    assert.deepEqual(
      [2, 3, 5, 6].map((id) => coverage.covers(txId(id))),
      [false, true, true, false],
    );
  });

  test("misses only what no replica has", () => {
    const here = coverageOf([2, 5], [8, 12], [15, 20]);
    const there = coverageOf([2, 6], [9, 16]);

    assert.deepEqual(plain(missingFromAll([here, there], txId(2))), [[6, 8]]);
    assert.deepEqual(plain(missingFromAll([here, there], txId(0))), [
      [0, 2],
      [6, 8],
    ]);
    assert.deepEqual(plain(missingFromAll([here], txId(10))), [[12, 15]]);
  });

  test("is the same as walking the ranges one by one", () => {
    const range = fc
      .tuple(fc.nat(40), fc.integer({ min: 1, max: 8 }))
      .map(([from, length]) => [from, from + length] as const);
    fc.assert(
      fc.property(fc.array(range, { maxLength: 20 }), fc.nat(50), (ranges, start) => {
        const coverage = coverageOf(...ranges);
        let reached = start;
        for (let found = true; found; ) {
          const next = ranges.find(([from, to]) => from <= reached && reached < to);
          found = next !== undefined;
          if (next !== undefined) reached = next[1];
        }

        assert.equal(coverage.reachFrom(txId(start)), BigInt(reached));
        assert.equal(
          coverage.covers(txId(start)),
          ranges.some(([from, to]) => from < start && start <= to),
        );
      }),
    );
  });
});
