import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { suite, test } from "node:test";
import { isPageferryError, sqsBytesMax } from "@pageferry/format";
import fc from "fast-check";
import { batchEntriesMax, chooseBatch, isFull, outcomesOf } from "./sqs-batch.ts";

const md5 = (text: string) => createHash("md5").update(text).digest("hex");

suite("a batch", () => {
  test("holds ten messages, the oldest", () => {
    assert.deepEqual(chooseBatch(Array.from({ length: 12 }, () => 1)), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test("holds 1 MiB; what does not fit waits, and smaller ones go before it", () => {
    const half = sqsBytesMax / 2;
    assert.deepEqual(chooseBatch([half, half + 1, half, 1]), [0, 2]);
    assert.deepEqual(chooseBatch([sqsBytesMax, 1]), [0]);
  });

  test("of any sizes is within both bounds, and has the oldest", () => {
    const size = fc.integer({ min: 1, max: sqsBytesMax });
    fc.assert(
      fc.property(fc.array(size, { minLength: 1, maxLength: 30 }), (sizes) => {
        const chosen = chooseBatch(sizes);
        assert.equal(chosen[0], 0);
        assert.ok(chosen.length <= batchEntriesMax);
        assert.ok(chosen.reduce((sum, at) => sum + (sizes[at] ?? 0), 0) <= sqsBytesMax);
      }),
    );
  });

  test("is full with ten, when nothing more fits, or when something did not", () => {
    assert.equal(isFull([], 1), false);
    assert.equal(isFull([10, 10], 1), false);
    assert.equal(
      isFull(
        Array.from({ length: 10 }, () => 1),
        1,
      ),
      true,
    );
    assert.equal(isFull([sqsBytesMax - 5], 6), true);
    assert.equal(isFull([sqsBytesMax - 5, 100], 1), true);
  });
});

suite("the answer to a batch", () => {
  test("speaks for each message alone", () => {
    const [first, second, third, fourth] = outcomesOf(
      ["a", "b", "c", "d"],
      {
        taken: [
          { id: "3", md5: md5("other") },
          { id: "0", md5: md5("a") },
        ],
        failed: [{ id: "1", code: "AccessDenied", message: "", isOurFault: true }],
      },
      "queue",
    );

    assert.equal(first, "taken");
    assert.ok(isPageferryError(second, "unauthorized"));
    assert.ok(isPageferryError(third, "unavailable"), "it is not mentioned");
    assert.ok(isPageferryError(fourth, "unavailable"), "its digest is another");
  });

  test("that names a message as taken and as failed has not taken it", () => {
    const failed = [{ id: "0", code: "InternalError", message: "", isOurFault: false }];
    const [outcome] = outcomesOf(["a"], { taken: [{ id: "0", md5: md5("a") }], failed }, "queue");

    assert.ok(isPageferryError(outcome, "unavailable"));
  });
});
