import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type ArchiveFacts, indexArchive, type ListedObject } from "./archive-listing.ts";
import { type Generation, packName, parseGeneration, segmentName, snapshotName } from "./names.ts";
import { planRestore } from "./restore-plan.ts";
import { type GenerationTimeline, timelineOf } from "./timeline.ts";
import { txId } from "./txid.ts";

const first = parseGeneration("00000000000000a1");
const second = parseGeneration("00000000000000b2");
const hourMs = 3_600_000;

/** Committed at n seconds, unless told. */
function range(
  parent: number,
  id: number,
  stampMs = id * 1000,
  generation: Generation = first,
): ListedObject {
  return {
    name: segmentName({ generation, parentTxId: txId(parent), txId: txId(id), stampMs }),
    size: 100,
  };
}

function snapshot(id: number, stampMs = id * 1000, generation: Generation = first): ListedObject {
  return { name: snapshotName({ generation, txId: txId(id), stampMs }), size: 1000 };
}

function only(objects: readonly ListedObject[], facts: ArchiveFacts = {}): GenerationTimeline {
  const [timeline] = timelineOf(indexArchive(objects, facts));
  return timeline as GenerationTimeline;
}

const shape = ({ stretches }: GenerationTimeline) =>
  stretches.map(({ from, to, points, granularity, follows }) => [
    Number(from.txId),
    Number(to.txId),
    points,
    granularity.word,
    follows,
  ]);

suite("a timeline", () => {
  test("says from where to where points follow one another, how closely, and what they cost", () => {
    const timeline = only([snapshot(2), range(2, 3), range(3, 4), range(4, 5)]);

    assert.deepEqual(shape(timeline), [[2, 5, 4, "every commit", false]]);
    assert.deepEqual(timeline.stretches[0]?.granularity, { word: "every commit", ms: 1000, txIds: 1 });
    assert.deepEqual([timeline.stretches[0]?.bytes, timeline.stretches[0]?.snapshots], [1300, 1]);
    assert.deepEqual([timeline.points, timeline.bytes, timeline.holes], [4, 1300, []]);
  });

  test("names the range that is missing, and how much lies beyond it", () => {
    const lost = only([snapshot(2), range(2, 4), range(6, 8), range(8, 9), snapshot(12), range(12, 14)]);
    const beyond = only([snapshot(2), range(5, 6), range(6, 7)]);
    const base = only([range(3, 4), range(4, 5)]);

    assert.deepEqual(shape(lost), [
      [12, 14, 2, "1 s", false],
      [2, 4, 2, "1 s", false],
    ]);
    assert.deepEqual(lost.holes, [{ after: 4n, before: 12n, missing: { from: 4n, to: 6n }, unreachable: 2 }]);
    assert.deepEqual(beyond.holes, [
      { after: 2n, before: null, missing: { from: 2n, to: 5n }, unreachable: 2 },
    ]);
    assert.deepEqual(base.holes, [
      { after: null, before: null, missing: { from: 0n, to: 3n }, unreachable: 2 },
    ]);
    assert.deepEqual(base.stretches, []);
  });

  test("takes a base above the history for what it is: between the two there are no points, and nothing is lost", () => {
    const { holes } = only([snapshot(2), range(2, 4), snapshot(9), range(9, 10)]);

    assert.deepEqual(holes, [{ after: 4n, before: 9n, missing: { from: 4n, to: 9n }, unreachable: 0 }]);
  });

  test("misses nothing below a merged range, though some of what was merged is still there", () => {
    const timeline = only([snapshot(2), range(2, 4), range(5, 6), range(2, 8), range(8, 9)]);

    assert.deepEqual([timeline.holes, timeline.points], [[], 4]);
  });

  test("of daily snapshots is one stretch, beside what follows the newest", () => {
    const days = [1, 2, 3, 4].map((day) => snapshot(day * 100, day * 24 * hourMs));
    const timeline = only([...days, range(400, 410, 4 * 24 * hourMs + 1000)]);

    assert.deepEqual(shape(timeline), [
      [400, 410, 2, "1 s", false],
      [100, 300, 3, "1 d", false],
    ]);
  });

  test("is cut where what was merged by hours ends and what was merged by seconds begins", () => {
    const hours = Array.from({ length: 20 }, (_, at) => range(100 * at, 100 * (at + 1), (at + 1) * hourMs));
    const seconds = Array.from({ length: 30 }, (_, at) =>
      range(2000 + 3 * at, 2003 + 3 * at, 20 * hourMs + (at + 1) * 1000),
    );
    const timeline = only([snapshot(0, 0), ...hours, ...seconds]);

    assert.deepEqual(shape(timeline), [
      [2003, 2090, 30, "1 s", true],
      [0, 2000, 21, "1 h", false],
    ]);
  });

  test("is not cut by a quiet moment", () => {
    const stampMs = (id: number): number => id * 1000 + (id > 20 ? hourMs : 0);
    const segments = Array.from({ length: 20 }, (_, at) => range(2 * at, 2 * at + 2, stampMs(2 * at + 2)));

    assert.deepEqual(shape(only([snapshot(0, 0), ...segments])), [[0, 40, 21, "1 s", false]]);
  });

  test("goes through a bridge into the parent, newest generation first", () => {
    const links = new Map([
      [first, { parent: null, epoch: 1 }],
      [second, { parent: { generation: first, txId: txId(4) }, epoch: 2 }],
    ]);
    const objects = [snapshot(2), range(2, 4), range(4, 8, 8000, second)];
    const [child, parent] = timelineOf(indexArchive(objects, { links }));

    assert.deepEqual([child?.generation, child?.parent?.generation, child?.epoch], [second, first, 2]);
    assert.deepEqual([child?.points, child?.holes, parent?.points], [1, [], 2]);
  });

  test("tells when the host took a point, where a pack says so", () => {
    const name = packName({ generation: first, parentTxId: txId(2), txId: txId(4), stampMs: 4000 });
    const inside = [3, 4].map((id) => ({
      parentTxId: txId(id - 1),
      txId: txId(id),
      stampMs: id * 1000,
      receivedMs: id * 1000 + 7,
    }));
    const { stretches } = only([snapshot(2), { name, size: 50 }], { packs: new Map([[name, inside]]) });

    assert.deepEqual([stretches[0]?.from.receivedMs, stretches[0]?.to.receivedMs], [null, 4007]);
  });

  test("of a million points in packs takes seconds at most, and so does a plan to one of them", () => {
    const packs = new Map();
    const objects = [snapshot(0, 0)];
    for (let at = 0; at < 10_000; at += 1) {
      const [parent, last] = [at * 100, (at + 1) * 100];
      const name = packName({
        generation: first,
        parentTxId: txId(parent),
        txId: txId(last),
        stampMs: last * 10,
      });
      objects.push({ name, size: 1000 });
      packs.set(
        name,
        Array.from({ length: 100 }, (_, offset) => ({
          parentTxId: txId(parent + offset),
          txId: txId(parent + offset + 1),
          stampMs: (parent + offset + 1) * 10,
        })),
      );
    }
    const listing = indexArchive(objects, { packs });
    const start = performance.now();

    const [timeline] = timelineOf(listing);
    const plan = planRestore(listing, { timestampMs: 5_000_000 });

    assert.deepEqual([timeline?.points, timeline?.stretches.length, plan.txId], [1_000_001, 1, 500_000n]);
    assert.ok(performance.now() - start < 15_000, `${performance.now() - start} ms`);
  });
});
