import { strict as assert } from "node:assert";
import { suite, test } from "node:test";
import fc from "fast-check";
import { mergePages, type PageRun } from "./merge-pages.ts";

const pageSize = 8;

/** Runs of one layer, ascending, each block filled with the layer's number. */
const anyLayers = fc
  .array(fc.array(fc.record({ gap: fc.nat(4), pages: fc.integer({ min: 1, max: 5 }) }), { maxLength: 6 }), {
    maxLength: 6,
  })
  .map((layers) =>
    layers.map((runs, layer) => {
      let next = 0;
      return runs.map(({ gap, pages }) => {
        const run = {
          id: next + gap,
          overflow: pages - 1,
          data: new Uint8Array(pages * pageSize).fill(layer + 1),
        };
        next += gap + pages;
        return run;
      });
    }),
  );

/** Every page by itself: the plainest way to apply layers in order. */
function applied(layers: readonly (readonly PageRun[])[], highWaterMark = 1000): Map<number, number[]> {
  const image = new Map<number, number[]>();
  for (const { id, overflow, data } of layers.flat()) {
    for (let page = 0; page <= overflow; page += 1) {
      if (id + page >= 2 && id + page < highWaterMark) {
        image.set(id + page, [...data.subarray(page * pageSize, (page + 1) * pageSize)]);
      }
    }
  }
  return new Map([...image].sort(([a], [b]) => a - b));
}

const options = { pageSize, highWaterMark: 1000 };

suite("merging pages", () => {
  test("gives what applying the layers in order gives", () => {
    fc.assert(
      fc.property(anyLayers, fc.integer({ min: 2, max: 40 }), (layers, highWaterMark) => {
        const merged = mergePages(layers, { pageSize, highWaterMark });

        assert.deepEqual(applied([merged]), applied(layers, highWaterMark));
      }),
    );
  });

  test("gives runs that ascend and never touch: each is as long as can be", () => {
    fc.assert(
      fc.property(anyLayers, (layers) => {
        const merged = mergePages(layers, options);

        for (const [index, run] of merged.entries()) {
          const before = merged[index - 1];
          assert.ok(before === undefined || run.id > before.id + before.overflow + 1);
          assert.equal(run.data.length, (run.overflow + 1) * pageSize);
        }
      }),
    );
  });

  test("is the same however it is done in steps", () => {
    fc.assert(
      fc.property(anyLayers, fc.nat(6), fc.nat(6), (layers, a, b) => {
        const [first, second] = [Math.min(a, b), Math.max(a, b)];
        const parts = [layers.slice(0, first), layers.slice(first, second), layers.slice(second)];

        const stepwise = mergePages(
          parts.map((part) => mergePages(part, options)),
          options,
        );

        assert.deepEqual(stepwise, mergePages(layers, options));
      }),
    );
  });

  test("keeps the stale page 12 out of a later run 10 to 13", () => {
    const old = [{ id: 12, overflow: 0, data: new Uint8Array(pageSize).fill(5) }];
    const young = [{ id: 10, overflow: 3, data: new Uint8Array(4 * pageSize).fill(7) }];

    assert.deepEqual(mergePages([old, young], options), young);
    assert.deepEqual(applied([mergePages([young, old], options)]).get(12), new Array(pageSize).fill(5));
  });

  test("leaves out meta pages, and what is at or above the high-water mark", () => {
    const runs = [{ id: 0, overflow: 9, data: new Uint8Array(10 * pageSize) }];

    assert.deepEqual(
      mergePages([runs], { pageSize, highWaterMark: 5 }).map(({ id, overflow }) => [id, overflow]),
      [[2, 2]],
    );
  });

  test("copies nothing where a run comes from one place", () => {
    const data = new Uint8Array(4 * pageSize);

    const [run] = mergePages([[{ id: 10, overflow: 3, data }]], options);

    assert.equal(run?.data.buffer, data.buffer);
  });
});
