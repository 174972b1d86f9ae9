import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  type GenerationIndex,
  type GenerationLink,
  indexArchive,
  type PackPoint,
  packName,
  parseGeneration,
  segmentName,
  snapshotName,
  txId,
} from "@pageferry/format";
import { receiptsWanted, receiptTrack } from "./receipts.ts";

const generation = parseGeneration("aaaaaaaaaaaaaaaa");
const stampMs = (id: number) => id * 1000;
const nowMs = 1_000_000;

const rangeOf = (parent: number, id: number) => ({
  ...{ generation, parentTxId: txId(parent), txId: txId(id) },
  stampMs: stampMs(id),
});
const segment = (parent: number, id: number) => segmentName(rangeOf(parent, id));
const snapshot = (id: number) => snapshotName({ generation, txId: txId(id), stampMs: stampMs(id) });
const pack = packName(rangeOf(2, 4));

interface Facts {
  /** null: it was read, and says nothing. */
  readonly receipts?: Readonly<Record<string, number | null>>;
  readonly points?: readonly PackPoint[];
  readonly link?: GenerationLink;
}

function archiveOf(names: readonly string[], { receipts = {}, points, link }: Facts = {}) {
  const listing = indexArchive(
    names.map((name) => ({ name, size: 1 })),
    {
      receipts: new Map(Object.entries(receipts)),
      packs: new Map(points === undefined ? [] : [[pack, points]]),
      links: new Map(link === undefined ? [] : [[generation, link]]),
    },
  );
  return { listing, index: listing.generations.get(generation) as GenerationIndex };
}

const timesOf = (index: GenerationIndex, ids: readonly number[]) => {
  const track = receiptTrack(index, nowMs);
  return ids.map((id) => track.at(txId(id), stampMs(id)));
};

suite("when the queue took a transaction", () => {
  const chain = [snapshot(1), segment(1, 2), segment(2, 3), segment(3, 4), segment(4, 5)];

  test("is what an object that ends there says, else what the next one above says, above all: now", () => {
    const { index } = archiveOf(chain, { receipts: { [segment(1, 2)]: 7000, [segment(3, 4)]: 9000 } });

    assert.deepEqual(timesOf(index, [1, 2, 3, 4, 5]), [7000, 7000, 9000, 9000, nowMs]);
  });

  test("is the same in whatever order it is asked", () => {
    const { index } = archiveOf(chain, { receipts: { [segment(1, 2)]: 7000, [segment(3, 4)]: 9000 } });

    assert.deepEqual(timesOf(index, [4, 1, 5, 3, 2]), [9000, 7000, nowMs, 9000, 7000]);
  });

  test("is the earliest of several that end there", () => {
    const { index } = archiveOf([...chain, segment(2, 4)], {
      receipts: { [segment(2, 4)]: 9500, [segment(3, 4)]: 9000 },
    });

    assert.deepEqual(timesOf(index, [4]), [9000]);
  });

  test("is told by a pack for each point in it", () => {
    const points = [3, 4].map((id) => {
      return { parentTxId: txId(id - 1), txId: txId(id), stampMs: stampMs(id), receivedMs: 500 * id };
    });
    const { index } = archiveOf([snapshot(1), segment(1, 2), pack], { points });

    assert.deepEqual(timesOf(index, [2, 3, 4]), [1500, 1500, 2000]);
  });

  test("is the stamp where nobody ever said it, and never ahead of now", () => {
    const { index } = archiveOf(chain);

    assert.deepEqual(timesOf(index, [2, 5]), [2000, 5000]);
    assert.equal(receiptTrack(index, nowMs).at(txId(5), nowMs + 1), nowMs);
    assert.equal(receiptTrack(index, nowMs).at(txId(5), null), nowMs);
  });

  test("is the stamp, but not before the last receipt, for what was read above it and says nothing", () => {
    const receipts = { [segment(1, 2)]: 4500, [segment(3, 4)]: null, [segment(4, 5)]: null };
    const { index } = archiveOf(chain, { receipts });

    assert.deepEqual(timesOf(index, [3, 4, 5]), [nowMs, 4500, 5000]);
  });

  test("is not before the generation began", () => {
    const link = { epoch: 1, parent: null, receivedAtMs: 8000 };
    const { index } = archiveOf(chain, { link, receipts: { [segment(1, 2)]: 7000 } });

    assert.deepEqual(timesOf(index, [2]), [8000]);
    assert.deepEqual(timesOf(archiveOf(chain, { link }).index, [2, 5]), [8000, 8000]);
  });

  suite("by a clock that has since been set back", () => {
    test("is what the next one above says that does not lie ahead", () => {
      const receipts = { [segment(1, 2)]: nowMs + 1, [segment(3, 4)]: 9000 };

      assert.deepEqual(timesOf(archiveOf(chain, { receipts }).index, [1, 2, 4]), [9000, 9000, 9000]);
    });

    test("is now where there is none, though something beside it says nothing", () => {
      const receipts = {
        [segment(1, 2)]: 3000,
        [segment(3, 4)]: null,
        [segment(4, 5)]: null,
        [snapshot(5)]: nowMs + 1,
      };
      const { index } = archiveOf([...chain, snapshot(5)], { receipts });
      const track = receiptTrack(index, nowMs);

      assert.deepEqual(timesOf(index, [4, 5]), [nowMs, nowMs]);
      assert.deepEqual(
        track.witnesses(txId(4)).map((group) => group.map(({ name }) => name)),
        [[snapshot(5)]],
      );
    });
  });

  test("is witnessed by what it is known from", () => {
    const { index } = archiveOf([...chain, segment(2, 4), snapshot(4)], {
      receipts: {
        [segment(1, 2)]: 7000,
        [segment(2, 4)]: 9000,
        [segment(3, 4)]: 9000,
        [snapshot(4)]: 9500,
        [segment(4, 5)]: null,
      },
    });
    const track = receiptTrack(index, nowMs);
    const witnessesOf = (id: number) =>
      track.witnesses(txId(id)).map((group) => group.map(({ name }) => name));

    assert.deepEqual(witnessesOf(3), [[segment(2, 4), segment(3, 4)]]);
    const above = [[segment(2, 4), segment(3, 4)], [segment(4, 5)]];
    assert.deepEqual(witnessesOf(5), above, "above all, the last one, and the one that says nothing");
    assert.deepEqual(receiptTrack(archiveOf(chain).index, nowMs).witnesses(txId(3)), []);
  });
});

suite("what must be read before a plan is right", () => {
  const levelsMs = [1000, 4000];
  const wantedOf = (names: readonly string[], facts: Facts = {}) =>
    receiptsWanted(archiveOf(names, facts).listing, levelsMs).map(({ name }) => name);

  test("are snapshots, the ends of windows of the second level, and the newest", () => {
    const chain = Array.from({ length: 9 }, (_, at) => segment(at + 1, at + 2));

    assert.deepEqual(wantedOf([snapshot(1), ...chain]), [
      snapshot(1),
      segment(2, 3),
      segment(6, 7),
      segment(9, 10),
    ]);
  });

  test("is of several that end there the one that spans most, and none where one is known", () => {
    const names = [segment(1, 2), segment(2, 3), segment(1, 3)];

    assert.deepEqual(wantedOf(names), [segment(1, 3)]);
    assert.deepEqual(wantedOf(names, { receipts: { [segment(1, 3)]: 5 } }), []);
    assert.deepEqual(wantedOf(names, { receipts: { [segment(1, 3)]: null } }), []);
  });

  test("is no pack: its index says it", () => {
    assert.deepEqual(wantedOf([pack]), []);
  });
});
