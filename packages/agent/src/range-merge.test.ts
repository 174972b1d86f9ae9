import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { txId } from "@pageferry/format";
import fc from "fast-check";
import { createRangeMerge, type RangePart } from "./range-merge.ts";

const pageSize = 512;

/** Transaction `id` writing runs `[first page, pages]`, each page filled with the transaction's number. */
function partOf(
  id: number,
  runs: readonly (readonly [number, number])[],
  freed: readonly number[] = [],
): RangePart {
  const meta = { id: id % 2, overflow: 0, data: new Uint8Array(pageSize).fill(id) };
  const frames = runs.map(([first, pages]) => ({
    id: first,
    overflow: pages - 1,
    data: new Uint8Array(pages * pageSize).fill(id),
  }));
  return {
    parentTxId: txId(id - 1),
    txId: txId(id),
    pageSize,
    highWaterMark: 100,
    pre: BigInt(id - 1),
    post: BigInt(id),
    stampMs: 1000 + id,
    frames: [meta, ...frames],
    freed: Uint32Array.from(freed),
  };
}

function merged(parts: readonly RangePart[]): RangePart {
  const merge = createRangeMerge();
  for (const part of parts) merge.add(part);
  return merge.range();
}

/** Page id → the transaction whose bytes it holds. */
function pagesOf(part: RangePart): Map<number, number> {
  const pages = new Map<number, number>();
  for (const frame of part.frames) {
    for (let block = 0; block <= frame.overflow; block += 1) {
      const page = frame.data.subarray(block * pageSize, (block + 1) * pageSize);
      assert.ok(page.every((byte) => byte === page[0]));
      pages.set(frame.id + block, page[0] ?? -1);
    }
  }
  return pages;
}

suite("a merged range", () => {
  test("goes from the first parent to the last transaction, with the states of both ends", () => {
    const range = merged([partOf(5, [[10, 1]]), partOf(6, [[11, 1]])]);

    assert.deepEqual(
      [range.parentTxId, range.txId, range.pre, range.post, range.stampMs],
      [4n, 6n, 4n, 6n, 1006],
    );
  });

  test("keeps the newest of every page, also where a run covers pages of older frames", () => {
    const range = merged([partOf(5, [[12, 1]]), partOf(7, [[10, 4]])]);

    assert.deepEqual(
      [...pagesOf(range)],
      [
        [1, 7],
        [10, 7],
        [11, 7],
        [12, 7],
        [13, 7],
      ],
    );
  });

  test("holds only the newest meta page, as a frame of its own", () => {
    const range = merged([partOf(5, [[2, 1]]), partOf(6, [[3, 2]]), partOf(7, [])]);

    assert.deepEqual(
      range.frames.map((frame) => [frame.id, frame.overflow]),
      [
        [1, 0],
        [2, 2],
      ],
    );
    assert.equal(range.frames[0]?.data[0], 7);
  });

  test("leaves out pages that a later transaction freed, and names them as freed", () => {
    const range = merged([partOf(5, [[10, 3]], [20]), partOf(6, [[30, 1]], [11])]);

    assert.deepEqual([...pagesOf(range).keys()], [0, 10, 12, 30]);
    assert.deepEqual([...range.freed], [11, 20]);
  });

  test("holds a page that was freed and written again, and does not name it as freed", () => {
    const range = merged([partOf(5, [[10, 1]]), partOf(6, [], [10]), partOf(7, [[10, 1]])]);

    assert.equal(pagesOf(range).get(10), 7);
    assert.deepEqual([...range.freed], []);
  });

  test("is the same whether folded at once or from ranges, and as a plain replay of it", () => {
    const transaction = fc.record({
      runs: fc.array(fc.tuple(fc.integer({ min: 2, max: 40 }), fc.integer({ min: 1, max: 3 })), {
        maxLength: 4,
      }),
      freed: fc.array(fc.integer({ min: 2, max: 44 }), { maxLength: 6 }),
    });
    fc.assert(
      fc.property(fc.array(transaction, { minLength: 1, maxLength: 12 }), fc.nat(), (transactions, cut) => {
        const live = new Map<number, number>();
        const parts = transactions.map(({ runs, freed }, index) => {
          const disjoint = runs
            .sort((a, b) => a[0] - b[0])
            .filter(([first], at, all) => all.slice(0, at).every(([other, pages]) => other + pages <= first));
          const written = new Set(
            disjoint.flatMap(([first, pages]) => Array.from({ length: pages }, (_, n) => first + n)),
          );
          return partOf(
            index + 2,
            disjoint,
            freed.filter((id) => !written.has(id)),
          );
        });
        for (const part of parts) {
          for (const id of [0, 1, ...part.freed]) live.delete(id);
          for (const [id, by] of pagesOf(part)) live.set(id, by);
        }

        const atOnce = merged(parts);
        const at = cut % parts.length;
        const [head, tail] = [parts.slice(0, at), parts.slice(at)];
        const inTwo = merged(head.length === 0 ? [merged(tail)] : [merged(head), merged(tail)]);

        assert.deepEqual(atOnce, inTwo);
        assert.deepEqual(new Map([...pagesOf(atOnce)]), new Map([...live].sort((a, b) => a[0] - b[0])));
      }),
    );
  });
});
