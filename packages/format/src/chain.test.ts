import { strict as assert } from "node:assert";
import { suite, test } from "node:test";
import fc from "fast-check";
import { checkChain, checkSegment } from "./chain.ts";
import { frameOf, segmentOf } from "./fixtures.ts";
import { decodeSegment, encodeSegment, type Segment } from "./segment.ts";
import { txId } from "./txid.ts";

const link = (parentTxId: number, to: number) => ({ parentTxId: txId(parentTxId), txId: txId(to) });

suite("a chain", () => {
  for (const [links, gap] of [
    [[], undefined],
    [[[5, 6]], undefined],
    [
      [
        [5, 6],
        [6, 9],
        [9, 10],
      ],
      undefined,
    ],
    [[[6, 7]], [5, 6]],
    [
      [
        [5, 6],
        [7, 8],
      ],
      [6, 7],
    ],
    [
      [
        [5, 6],
        [5, 7],
      ],
      [6, 5],
    ],
    [
      [
        [5, 6],
        [6, 7],
        [9, 12],
        [15, 16],
      ],
      [7, 9],
    ],
  ] as const) {
    test(`from 5 over ${JSON.stringify(links)} ${gap ? `has its first gap at ${gap}` : "is whole"}`, () => {
      const result = checkChain(
        txId(5),
        links.map(([parent, to]) => link(parent, to)),
      );

      assert.deepEqual(result, gap ? { ok: false, gap: link(gap[0], gap[1]) } : { ok: true });
    });
  }

  test("without any one of its links but the last has exactly that gap", () => {
    const steps = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 20 });
    fc.assert(
      fc.property(steps, fc.nat(), (sizes, pick) => {
        let reached = 100;
        const links = sizes.map((size) => {
          reached += size;
          return link(reached - size, reached);
        });
        const [missing] = links.splice(pick % (links.length - 1), 1);

        assert.deepEqual(checkChain(txId(100), links), { ok: false, gap: missing });
      }),
    );
  });
});

suite("a segment to be applied", () => {
  const good = decodeSegment(
    encodeSegment(segmentOf({ txId: 9, pages: [frameOf(3, 2)], highWaterMark: 5n })),
  );
  const withHeader = (changes: object): Segment => ({ ...good, header: { ...good.header, ...changes } });

  test("holds as many frames as it says, below its high-water mark, and leads on", () => {
    checkSegment(good);
  });

  for (const [what, segment] of [
    ["leads nowhere", withHeader({ parentTxId: txId(9) })],
    ["leads back", withHeader({ parentTxId: txId(10) })],
    ["holds fewer frames than it says", withHeader({ pageCount: 2n })],
    ["holds a page at its high-water mark", withHeader({ highWaterMark: 4n })],
  ] as const) {
    test(`that ${what} is corrupt`, () => {
      assert.throws(() => checkSegment(segment), { code: "corrupt" });
    });
  }
});
