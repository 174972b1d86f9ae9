import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { evenFrames, type RawFrame, type RawFrames, readRawBytes, tableFrames } from "./raw-frames.ts";

/** Frames of these raw lengths, one after the other; 0 is a skippable one, which holds nothing. */
function tableOf(lengths: readonly number[]): RawFrames {
  let rawEnd = 0;
  return tableFrames(
    lengths.map((length, index) => {
      const rawStart = rawEnd;
      rawEnd += length;
      return { storedStart: index * 10, storedEnd: index * 10 + 10, rawStart, rawEnd };
    }),
  );
}

/** What is at a place is the place: whatever is put together wrongly shows. */
const payload = (length: number): Uint8Array => Uint8Array.from({ length }, (_, at) => at % 251);

/** Loads frames out of a payload, and tells which. */
function loaderOf(bytes: Uint8Array) {
  const loaded: number[] = [];
  const load = async ({ index, rawStart, rawEnd }: RawFrame): Promise<Uint8Array> => {
    loaded.push(index);
    return bytes.subarray(rawStart, rawEnd);
  };
  return { load, loaded };
}

suite("frames of a table", () => {
  test("are found by each byte that they hold, and none beyond the end", () => {
    const frames = tableOf([3, 1, 4]);

    assert.deepEqual(
      Array.from({ length: 10 }, (_, byte) => frames.find(byte)?.index),
      [0, 0, 0, 1, 2, 2, 2, 2, undefined, undefined],
    );
    assert.deepEqual(frames.find(4), { index: 2, rawStart: 4, rawEnd: 8 });
  });

  test("that hold nothing are never found: not before, between or behind those that do", () => {
    const frames = tableOf([0, 0, 2, 0, 3, 0]);

    assert.deepEqual(
      Array.from({ length: 6 }, (_, byte) => frames.find(byte)?.index),
      [2, 2, 4, 4, 4, undefined],
    );
  });

  test("are none where there are none, or only such as hold nothing", () => {
    for (const lengths of [[], [0], [0, 0]]) assert.equal(tableOf(lengths).find(0), undefined);
  });

  test("are found as a walk through them would find them", () => {
    const lengthsOf = fc.array(fc.nat({ max: 5 }), { maxLength: 30 });

    fc.assert(
      fc.property(lengthsOf, (lengths) => {
        const frames = tableOf(lengths);
        const walked = lengths.flatMap((length, index) => Array.from({ length }, () => index));
        for (let byte = 0; byte <= walked.length; byte += 1)
          assert.equal(frames.find(byte)?.index, walked[byte], `byte ${byte}`);
      }),
    );
  });
});

suite("even frames", () => {
  test("cut a payload that has none of its own, and the last is as long as is left", () => {
    const frames = evenFrames(10, 4);

    assert.deepEqual(frames.find(0), { index: 0, rawStart: 0, rawEnd: 4 });
    assert.deepEqual(frames.find(7), { index: 1, rawStart: 4, rawEnd: 8 });
    assert.deepEqual(frames.find(9), { index: 2, rawStart: 8, rawEnd: 10 });
    assert.equal(frames.find(10), undefined);
  });

  test("are none of an empty payload", () => {
    assert.equal(evenFrames(0, 4).find(0), undefined);
  });
});

suite("a range of raw bytes", () => {
  test("within one frame is a view of it: nothing is copied", async () => {
    const bytes = payload(20);
    const { load } = loaderOf(bytes);

    const found = await readRawBytes(tableOf([8, 12]), 9, 5, load);

    assert.deepEqual([...found], [...bytes.subarray(9, 14)]);
    assert.equal(found.buffer, bytes.buffer);
  });

  test("over several frames loads each once, in order, and no other", async () => {
    const bytes = payload(30);
    const { load, loaded } = loaderOf(bytes);

    const found = await readRawBytes(tableOf([5, 5, 0, 5, 5, 10]), 7, 10, load);

    assert.deepEqual([...found], [...bytes.subarray(7, 17)]);
    assert.deepEqual(loaded, [1, 3, 4]);
  });

  test("of no length loads nothing, also at the end", async () => {
    const { load, loaded } = loaderOf(payload(10));

    for (const offset of [0, 10])
      assert.equal((await readRawBytes(tableOf([10]), offset, 0, load)).length, 0);
    assert.deepEqual(loaded, []);
  });

  test("that the frames do not hold to its end is corrupt, wherever it begins", async () => {
    const { load } = loaderOf(payload(10));

    for (const [offset, length] of [
      [8, 3],
      [10, 1],
      [1000, 1],
    ] as const)
      await assert.rejects(readRawBytes(tableOf([4, 6]), offset, length, load), { code: "corrupt" });
  });

  test("is the same however the payload is cut", async () => {
    const cutOf = fc.record({
      lengths: fc.array(fc.nat({ max: 7 }), { minLength: 1, maxLength: 20 }),
      evenBytes: fc.integer({ min: 1, max: 9 }),
      from: fc.nat({ max: 1000 }),
      to: fc.nat({ max: 1000 }),
    });

    await fc.assert(
      fc.asyncProperty(cutOf, async ({ lengths, evenBytes, from, to }) => {
        const bytes = payload(lengths.reduce((sum, length) => sum + length, 0));
        const [start = 0, end = 0] = [from, to].map((at) => at % (bytes.length + 1)).sort((a, b) => a - b);
        for (const frames of [tableOf(lengths), evenFrames(bytes.length, evenBytes)]) {
          const found = await readRawBytes(frames, start, end - start, loaderOf(bytes).load);
          assert.deepEqual([...found], [...bytes.subarray(start, end)]);
        }
      }),
    );
  });
});
