import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { imageSource } from "../../testing/golden.ts";
import { check, type Sample, sample } from "../../testing/sample.ts";
import { parseStateHash } from "../state-hash.ts";
import { checkDatabase } from "./check.ts";

const soundStateHash = parseStateHash("e948d1f56c86080fe8aefbb7c4e1f790");

/** A way to break the sample, and what has to be said of it; "quick": by the quick check as well. */
type Break = readonly [name: string, edit: (database: Sample) => void, problem: RegExp, mode?: "quick"];

const breaks: readonly Break[] = [
  ["a page that names another", ({ u32 }) => u32(49, 0, 50), /^page 49: its header says page 50/, "quick"],
  ["a tree page of another kind", ({ u8 }) => u8(49, 8, 0x10), /^page 49: flags 0x10/, "quick"],
  ["a page of zeros", (d) => d.bytes.fill(0, 49 * 4096, 50 * 4096), /^page 49: /, "quick"],
  [
    "a child beyond the high-water mark",
    ({ u32 }) => u32(71, 16 + 8, 189),
    /^page 71: refers to page 189/,
    "quick",
  ],
  ["a child that is a meta page", ({ u32 }) => u32(71, 16 + 8, 1), /^page 71: refers to page 1,/, "quick"],
  [
    "a child above 2^32",
    ({ u32 }) => u32(71, 16 + 12, 1),
    /^page 71: element 0 refers to page 4294967298/,
    "quick",
  ],
  [
    "a page that is referred to twice",
    ({ u32 }) => u32(71, 32 + 8, 8),
    /^page 8: referred to twice/,
    "quick",
  ],
  [
    "a child that is an ancestor",
    ({ u32 }) => u32(28, 16 + 8, 71),
    /^page 71: referred to twice \(reached by 72 > 71 > 2 > 34 > 28\)/,
    "quick",
  ],
  [
    "a branch that is its own child",
    ({ u32 }) => u32(28, 16 + 8, 28),
    /^page 28: referred to twice/,
    "quick",
  ],
  ["a child that is the freelist", ({ u32 }) => u32(71, 32 + 8, 73), /^page 73: flags 0x10/, "quick"],
  ["a branch without children", ({ u8 }) => u8(28, 10, 0), /^page 28: a branch without children/, "quick"],
  ["a root that is a free page", (d) => d.setMeta({ root: d.free[0] as number }), /^page \d+: /, "quick"],
  [
    "a root beyond the high-water mark",
    (d) => d.setMeta({ root: 189 }),
    /^page 189: the root is outside/,
    "quick",
  ],
  [
    "overflow blocks that are other pages",
    ({ u32 }) => u32(52, 12, 1),
    /^page 53: referred to twice/,
    "quick",
  ],
  [
    "overflow blocks beyond the high-water mark",
    ({ u32 }) => u32(49, 12, 140),
    /^page 49: 140 overflow blocks end beyond/,
    "quick",
  ],
  [
    "overflow of 2^32-1 blocks",
    ({ u32 }) => u32(49, 12, 2 ** 32 - 1),
    /^page 49: 4294967295 overflow blocks/,
    "quick",
  ],
  [
    "overflow blocks that are missing",
    ({ u32 }) => u32(79, 12, 3),
    /^page 79: element \d ends beyond/,
    "quick",
  ],
  [
    "more elements than the page holds",
    ({ u8 }) => u8(49, 11, 1),
    /^page 49: 273 elements do not fit/,
    "quick",
  ],
  [
    "an element beyond its page",
    ({ u32 }) => u32(49, 16 + 12, 5000),
    /^page 49: element 0 ends beyond/,
    "quick",
  ],
  ["two keys swapped", (d) => d.swapElements(49, 3), /^page 49: key 4 is below the key before it/],
  ["a key that is there twice", (d) => d.sameElement(49, 3), /^page 49: key 4 is there twice/],
  [
    "two children swapped, with their keys",
    (d) => d.swapElements(71, 3),
    /^page 71: key 4 is below the key before it/,
  ],
  [
    "two children swapped, without their keys",
    (d) => d.swapChildren(71, 3),
    /^page \d+: its (first key is below|last key is not below)/,
  ],
  [
    "a first key below its key in the parent",
    (d) => d.keyByte(8, 0, 0),
    /^page 8: its first key is below its key in page 71/,
  ],
  [
    "a last key not below the next in the parent",
    (d) => d.keyByte(8, 9, 0xff),
    /^page 8: its last key is not below the next key in page 71/,
  ],
  ["an empty key", ({ u32 }) => u32(49, 16 + 8, 0), /^page 49: key 0 is empty/],
  [
    "a live page in the freelist",
    (d) => d.setFree([...d.free, 49]),
    /^page 49: live, and in the freelist of page 73/,
  ],
  [
    "a live overflow block in the freelist",
    (d) => d.setFree([...d.free, 85]),
    /^page 85: live, and in the freelist/,
  ],
  [
    "the freelist itself in the freelist",
    (d) => d.setFree([...d.free, 73]),
    /^page 73: live, and in the freelist/,
  ],
  [
    "a page lost from the freelist",
    (d) => d.setFree(d.free.slice(1)),
    /^page \d+: neither live nor in the freelist of page 73/,
  ],
  ["the last page lost from the freelist", (d) => d.setMeta({ highWaterMark: 190 }), /^page 189: /],
  [
    "a page in the freelist twice",
    (d) => d.setFree([...d.free, d.free[0] as number]),
    /^page 73: the freelist holds page \d+ twice/,
  ],
  [
    "a page beyond the high-water mark in the freelist",
    (d) => d.setFree([...d.free, 189]),
    /^page 189: in the freelist, but not below/,
  ],
  [
    "a meta page in the freelist",
    (d) => d.setFree([1, ...d.free]),
    /^page 73: freelist entry 0 is page 1/,
    "quick",
  ],
  [
    "a freelist that does not fit",
    ({ u8 }) => u8(73, 11, 0x7f),
    /^page 73: \d+ free pages do not fit/,
    "quick",
  ],
  [
    "a freelist that is a leaf",
    (d) => d.setMeta({ freelist: 49 }),
    /^page 49: flags 0x2, expected a freelist/,
    "quick",
  ],
  [
    "a freelist beyond the high-water mark",
    (d) => d.setMeta({ freelist: 200 }),
    /^page 200: the freelist is outside/,
    "quick",
  ],
  [
    "a freelist whose overflow is a live page",
    (d) => d.growFreelist(),
    /^page \d+: (referred to twice|live, and in)/,
  ],
  ["a meta page that names another", ({ u8 }) => u8(0, 0, 7), /^page 0: its header says page 7/, "quick"],
  [
    "a meta page of another kind",
    ({ u8 }) => u8(1, 8, 2),
    /^page 1: flags 0x2, expected a meta page/,
    "quick",
  ],
  ["two torn metas", (d) => d.tearMetas(), /^page 0 and page 1: neither holds a valid meta/, "quick"],
  [
    "a high-water mark beyond the file",
    (d) => d.setMeta({ highWaterMark: 2 ** 32 - 1 }),
    /^page 189: the file ends at 774144 bytes/,
    "quick",
  ],
];

suite("a broken database is noticed:", () => {
  for (const [name, edit, problem, mode] of breaks) {
    test(name, () => {
      const database = sample();
      edit(database);

      const full = check(database);
      const quick = check(database, "quick");

      assert.ok(
        full.problems.some((one) => problem.test(one)),
        `${full.problems.join("\n")}\nhas no ${problem}`,
      );
      if (mode === "quick")
        assert.ok(
          quick.problems.some((one) => problem.test(one)),
          quick.problems.join("\n"),
        );
    });
  }

  test("a file that is cut short, though the tree is whole", () => {
    const database = sample();
    const cut = database.bytes.subarray(0, database.bytes.length - 3 * 4096);

    for (const mode of ["full", "quick"] as const) {
      const options = { mode, expectedStateHash: soundStateHash };
      const { problems } = checkDatabase(imageSource(cut, 4096), options);

      assert.match(problems[0] ?? "", /^page 186: the file ends at 761856 bytes, its 189 pages need 774144/);
    }
  });

  test("a file that is cut inside of the tree, or is hardly there", () => {
    const { bytes } = sample();

    for (const pages of [1, 2, 60, 100]) {
      const { problems, stateHash } = checkDatabase(imageSource(bytes.subarray(0, pages * 4096), 4096), {
        mode: "full",
      });

      assert.ok(problems.length > 0);
      assert.equal(stateHash, undefined);
    }
  });

  test("one flipped bit of a value, by the state hash alone", () => {
    const database = sample();
    database.bytes[80 * 4096 + 1000] = (database.bytes[80 * 4096 + 1000] as number) ^ 4;

    const blind = check(database);
    const options = { mode: "quick", expectedStateHash: soundStateHash } as const;
    const knowing = checkDatabase(imageSource(database.bytes, 4096), options);

    assert.deepEqual(blind.problems, []);
    assert.match(
      knowing.problems.join(),
      /^page 72: the state hash of .* expected e948d1f56c86080fe8aefbb7c4e1f790$/,
    );
  });

  test("a page of another size than the metas say", () => {
    const { bytes } = sample();

    const { problems } = checkDatabase(imageSource(bytes, 2048), { mode: "full" });

    assert.ok(problems.length > 0);
  });

  test("or passes, but never hangs or throws: 600 databases with seeded damage", () => {
    const database = sample();
    const { bytes } = database;
    const sound = bytes.slice();
    const random = seeded(42);
    let noticed = 0;

    for (let round = 0; round < 600; round += 1) {
      for (let count = random(8); count >= 0; count -= 1) {
        // Headers and elements are where damage hurts.
        const at = random(189) * 4096 + random(random(2) === 0 ? 64 : 4096);
        bytes[at] = random(256);
      }
      if (check(database).problems.length > 0) noticed += 1;
      bytes.set(sound);
    }

    assert.ok(noticed > 200 && noticed < 600, `${noticed} noticed`);
  });
});

/** Numbers below a bound, the same in every run. */
function seeded(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}
