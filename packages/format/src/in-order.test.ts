import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { inOrder } from "./in-order.ts";

const done = { done: Promise.resolve() };
const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

suite("work that is begun ahead", () => {
  test("is taken in order, never above its bounds, whatever takes how long", async () => {
    const items = fc.array(
      fc.record({ weight: fc.integer({ min: 1, max: 20 }), begin: fc.nat(3), finish: fc.nat(3) }),
      { maxLength: 12 },
    );
    await fc.assert(
      fc.asyncProperty(
        items,
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 30 }),
        async (list, countMax, weightMax) => {
          let count = 0;
          let weight = 0;
          const taken: number[] = [];
          const numbered = list.map((item, index) => ({ ...item, index }));

          await inOrder(
            numbered,
            { countMax, weightMax, weight: (item) => item.weight },
            async (item) => {
              count += 1;
              weight += item.weight;
              assert.ok(
                count === 1 || (count <= countMax && weight <= weightMax),
                `${count} of ${countMax}, ${weight} of ${weightMax}`,
              );
              await turns(item.begin);
              return item.index;
            },
            async (index, item) => {
              taken.push(index);
              const finished = turns(item.finish).then(() => {
                count -= 1;
                weight -= item.weight;
              });
              return { done: finished };
            },
          );

          assert.equal(count, 0);
          assert.deepEqual(
            taken,
            numbered.map((item) => item.index),
          );
        },
      ),
      { numRuns: 100 },
    );
  });

  for (const where of ["begin", "take", "done"] as const) {
    test(`ends with the first failure of ${where}, after all that was begun`, async () => {
      let underWay = 0;
      const bounds = { countMax: 3, weightMax: 100, weight: () => 1 };
      const running = inOrder(
        [0, 1, 2, 3, 4, 5, 6, 7],
        bounds,
        async (item, signal) => {
          underWay += 1;
          await turns(2);
          underWay -= 1;
          if (where === "begin" && item === 2) throw new Error("broken");
          assert.ok(item <= 5 || signal.aborted);
          return item;
        },
        async (item) => {
          if (where === "take" && item === 2) throw new Error("broken");
          if (where === "done" && item === 2)
            return { done: turns(1).then(() => Promise.reject(new Error("broken"))) };
          return done;
        },
      );

      await assert.rejects(running, /broken/);
      assert.equal(underWay, 0);
    });
  }

  test("does not overlook that the last item did not finish", async () => {
    const running = inOrder(
      [0, 1],
      { countMax: 2, weightMax: 100, weight: () => 1 },
      async (item) => item,
      async (item) => ({ done: item === 0 ? Promise.reject(new Error("broken")) : turns(3) }),
    );

    await assert.rejects(running, /broken/);
  });

  test("ends with the signal's reason", async () => {
    const stop = new AbortController();
    const running = inOrder(
      [0, 1, 2],
      { countMax: 1, weightMax: 1, weight: () => 1 },
      async (item, signal) => {
        if (item === 1) stop.abort(new Error("enough"));
        signal.throwIfAborted();
        return item;
      },
      async () => done,
      stop.signal,
    );

    await assert.rejects(running, /enough/);
  });
});
