import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { type ArchiveFacts, indexArchive, type ListedObject, type PackPoint } from "./archive-listing.ts";
import {
  type Generation,
  generationJsonName,
  packName,
  parseGeneration,
  segmentName,
  snapshotName,
} from "./names.ts";
import { points } from "./points.ts";
import { missingFacts } from "./restore-facts.ts";
import { planRestore, type RestorePlan } from "./restore-plan.ts";
import { txId } from "./txid.ts";

const first = parseGeneration("00000000000000a1");
const second = parseGeneration("00000000000000b2");
const third = parseGeneration("00000000000000c3");

/** Transaction n is committed at n seconds. */
function range(
  parent: number,
  id: number,
  options: { generation?: Generation; pack?: boolean; size?: number } = {},
): ListedObject {
  const make = options.pack === true ? packName : segmentName;
  const generation = options.generation ?? first;
  const name = make({ generation, parentTxId: txId(parent), txId: txId(id), stampMs: id * 1000 });
  return { name, size: options.size ?? 100 };
}

function goSegment(id: number, generation = first): ListedObject {
  return { name: `${generation}/segments/${id.toString(16).padStart(16, "0")}.segment.cbor`, size: 50 };
}

function snapshot(id: number, generation = first): ListedObject {
  return { name: snapshotName({ generation, txId: txId(id), stampMs: id * 1000 }), size: 1000 };
}

const pointOf = (parent: number, id: number): PackPoint => ({
  parentTxId: txId(parent),
  txId: txId(id),
  stampMs: id * 1000,
});
const ends = (plan: RestorePlan): number[] =>
  [plan.snapshot.txId, ...plan.steps.map((step) => step.to)].map(Number);
const hex = (id: number): string => id.toString(16).padStart(16, "0");

const bridged: ArchiveFacts = {
  links: new Map([
    [first, { parent: null, epoch: 1 }],
    [second, { parent: { generation: first, txId: txId(5) }, epoch: 2 }],
    [third, { parent: { generation: second, txId: txId(12) }, epoch: 3 }],
  ]),
};

suite("a plan to the newest point", () => {
  test("begins with the newest snapshot and takes the fewest ranges, also overlapping ones", () => {
    const listing = indexArchive([
      snapshot(2),
      snapshot(5),
      range(5, 6),
      range(6, 7),
      range(3, 8),
      range(7, 8),
      range(7, 12),
      range(8, 9),
      range(9, 13),
    ]);

    assert.deepEqual(ends(planRestore(listing)), [5, 8, 12, 13]);
  });

  test("takes the smaller of two objects that lead to the same transaction", () => {
    const listing = indexArchive([snapshot(5), range(2, 8, { size: 900 }), range(5, 8, { size: 10 })]);

    assert.equal(planRestore(listing).bytes, 1010);
  });

  test("falls back to an older snapshot where the newest leads nowhere", () => {
    const listing = indexArchive([snapshot(2), snapshot(5), range(2, 4), range(4, 9)]);

    assert.deepEqual(ends(planRestore(listing)), [5, 9]);
    const broken = planRestore(listing, {}, { without: new Set([snapshot(5).name]) });
    assert.deepEqual(ends(broken), [2, 4, 9]);
  });

  test("names what it had to leave out, when a range before newer ones is missing", () => {
    const plan = planRestore(indexArchive([snapshot(2), range(2, 4), range(5, 6)]));

    assert.equal(plan.txId, 4n);
    assert.match(plan.warnings.join(), new RegExp(`${hex(6)} cannot.*\\(${hex(4)}, ${hex(5)}\\] is missing`));
  });

  test("may rest on a snapshot above the last segment", () => {
    const plan = planRestore(indexArchive([snapshot(2), range(2, 4), snapshot(9)]));

    assert.deepEqual(ends(plan), [9]);
    assert.deepEqual(plan.warnings, []);
  });

  test("of an archive without objects is not-found", () => {
    assert.throws(() => planRestore(indexArchive([])), { code: "not-found" });
  });

  test("of segments without any snapshot is a gap", () => {
    assert.throws(() => planRestore(indexArchive([range(2, 4), range(4, 5)])), { code: "gap" });
    assert.throws(() => planRestore(indexArchive([range(2, 4)], bridged)), { code: "gap" });
  });
});

suite("a plan to a transaction", () => {
  const listing = indexArchive([snapshot(2), range(2, 4), range(4, 9), range(10, 12), snapshot(20)]);

  test("ends exactly there", () => {
    assert.deepEqual(ends(planRestore(listing, { txId: txId(4) })), [2, 4]);
    assert.deepEqual(ends(planRestore(listing, { txId: txId(2) })), [2]);
  });

  test("between two points is not-found, and names both", () => {
    assert.throws(() => planRestore(listing, { txId: txId(7) }), {
      code: "not-found",
      message: new RegExp(`${hex(4)} and ${hex(9)}`),
    });
    assert.throws(() => planRestore(listing, { txId: txId(21) }), {
      code: "not-found",
      message: new RegExp(`newest is ${hex(20)}`),
    });
    assert.throws(() => planRestore(listing, { txId: txId(1) }), {
      code: "not-found",
      message: new RegExp(`oldest is ${hex(2)}`),
    });
  });

  test("behind a missing range is a gap that names it, and the points on both sides", () => {
    assert.throws(() => planRestore(listing, { txId: txId(12) }), {
      code: "gap",
      message: new RegExp(`\\(${hex(9)}, ${hex(10)}\\].*${hex(9)} is the last.*${hex(20)} the first`),
    });
  });

  test("inside a pack needs the pack's index, and applies it up to there", () => {
    const pack = range(2, 9, { pack: true });
    const unread = indexArchive([snapshot(2), pack]);

    assert.deepEqual(
      missingFacts(unread, { txId: txId(5) }).packs.map((object) => object.name),
      [pack.name],
    );
    assert.throws(() => planRestore(unread, { txId: txId(5) }), { code: "not-found" });
    const read = indexArchive([snapshot(2), pack], {
      packs: new Map([[pack.name, [pointOf(2, 5), pointOf(5, 9)]]]),
    });
    assert.deepEqual(missingFacts(read, { txId: txId(5) }).packs, []);
    assert.deepEqual(ends(planRestore(read, { txId: txId(5) })), [2, 5]);
    assert.throws(() => planRestore(read, { txId: txId(6) }), { code: "not-found" });
  });

  test("together with a time is a bad request", () => {
    assert.throws(() => planRestore(listing, { txId: txId(4), timestampMs: 4 }), { code: "bad-request" });
  });
});

suite("a plan to a time", () => {
  const listing = indexArchive([snapshot(2), range(2, 4), range(4, 9), snapshot(20)]);

  test("takes the newest point that is not later", () => {
    assert.equal(planRestore(listing, { timestampMs: 8999 }).txId, 4n);
    assert.equal(planRestore(listing, { timestampMs: 9000 }).txId, 9n);
    assert.equal(planRestore(listing, { timestampMs: 1e9 }).txId, 20n);
  });

  test("before the oldest point is not-found", () => {
    assert.throws(() => planRestore(listing, { timestampMs: 1999 }), {
      code: "not-found",
      message: /1970-01-01T00:00:02.000Z/,
    });
  });

  test("inside a pack needs only the one pack whose end is the first that is later", () => {
    const packs = [range(2, 9, { pack: true }), range(9, 12, { pack: true })];
    const unread = indexArchive([snapshot(2), ...packs]);

    const missing = missingFacts(unread, { timestampMs: 5500 });

    assert.deepEqual(
      missing.packs.map((object) => object.name),
      [packs[0]?.name],
    );
    assert.deepEqual(missingFacts(unread, { timestampMs: 12_000 }).packs, []);
  });

  test("among Go-made segments, whose names hold no time, is found by halving", () => {
    const segments = Array.from({ length: 1000 }, (_, at) => goSegment(at + 3));
    const stamps = new Map<string, number>();
    let asked = 0;
    for (;;) {
      const listing = indexArchive([snapshot(2), ...segments], { stamps });
      const missing = missingFacts(listing, { timestampMs: 700_500 });
      if (missing.stamps.length === 0) {
        assert.equal(planRestore(listing, { timestampMs: 700_500 }).txId, 700n);
        break;
      }
      for (const object of missing.stamps) stamps.set(object.name, Number(object.txId) * 1000);
      asked += missing.stamps.length;
    }
    assert.ok(asked <= 12, `${asked} headers were read`);
  });
});

suite("the newest generation", () => {
  test("is the one with the highest epoch", () => {
    const listing = indexArchive([snapshot(50), snapshot(5, second), snapshot(6, third)], bridged);

    assert.equal(planRestore(listing).generation, third);
    assert.equal(planRestore(listing, { generation: first }).generation, first);
    assert.throws(() => planRestore(listing, { generation: parseGeneration("00000000000000ff") }), {
      code: "not-found",
    });
  });

  test("of one epoch is the one that descends from the other, else a bad request that names both", () => {
    const objects = [snapshot(5), snapshot(5, second)];
    const parent = { generation: first, txId: txId(5) };
    const descends = new Map([
      [first, { parent: null, epoch: 0 }],
      [second, { parent, epoch: 0 }],
    ]);
    const tied = new Map([
      [first, { parent: null, epoch: 0 }],
      [second, { parent: null, epoch: 0 }],
    ]);

    assert.equal(planRestore(indexArchive(objects, { links: descends })).generation, second);
    assert.throws(() => planRestore(indexArchive(objects, { links: tied })), {
      code: "bad-request",
      message: new RegExp(`${first} and ${second}`),
    });
  });

  test("that the Go implementation wrote is the one with the newest snapshot", () => {
    const listing = indexArchive([snapshot(9), snapshot(5, second)]);
    assert.equal(planRestore(listing).generation, first);

    const offset = {
      name: `${second}/snapshots/1970-01-01T00:00:01.5-05:30-${hex(3)}.snapshot.cbor`,
      size: 1,
    };
    assert.equal(planRestore(indexArchive([snapshot(9), offset])).generation, second);
    assert.throws(() => planRestore(indexArchive([snapshot(9), snapshot(9, second)])), {
      code: "bad-request",
    });
  });

  test("is no guess when a generation that nothing dates holds later transactions", () => {
    const listing = indexArchive([snapshot(2), goSegment(3, second)]);

    assert.throws(() => planRestore(listing), { code: "gap", message: new RegExp(second) });
    assert.deepEqual(ends(planRestore(listing, { generation: first })), [2]);
  });

  test("that has nothing to restore yet leaves the parent's point, and says so", () => {
    const listing = indexArchive(
      [snapshot(2), range(2, 5), range(5, 6), range(12, 14, { generation: second })],
      bridged,
    );

    const plan = planRestore(listing);

    assert.deepEqual([plan.generation, plan.txId], [first, 5n]);
    assert.equal(plan.warnings.length, 1);
  });
});

suite("a generation that begins with a bridge", () => {
  const objects = [
    snapshot(2),
    range(2, 5),
    range(5, 6),
    range(5, 12, { generation: second }),
    range(12, 13, { generation: second }),
  ];

  test("is restored through its parent's point", () => {
    const plan = planRestore(indexArchive([...objects, range(12, 40, { generation: third })], bridged));

    assert.deepEqual(ends(plan), [2, 5, 12, 40]);
    assert.deepEqual(
      plan.steps.map((step) => step.generation),
      [first, second, third],
    );
  });

  test("is its parent's point until it has something of its own, where it is said to be just that state", () => {
    const begun = (generation: Generation): ListedObject => ({
      name: generationJsonName(generation),
      size: 1,
    });
    const parts = [...objects.slice(0, 3), begun(second)];
    const links = new Map([...(bridged.links ?? [])].filter(([generation]) => generation !== third));
    const said = { parent: { generation: first, txId: txId(5) }, epoch: 2, parentStateHash: 5n };
    const listing = indexArchive(parts, { links: new Map([...links, [second, said]]) });
    const asked = (plan: RestorePlan) => [
      plan.generation,
      Number(plan.txId),
      plan.heir,
      plan.warnings.length,
    ];

    assert.deepEqual(asked(planRestore(listing)), [first, 5, second, 0]);
    assert.deepEqual(asked(planRestore(listing, { txId: txId(5) })), [first, 5, second, 0]);
    // It is told of what the parent holds after it, in another history.
    assert.deepEqual(asked(planRestore(listing, { timestampMs: 9000 })), [first, 5, second, 1]);
    // Not what lies before, nor where only the parent was asked for, nor where it does not say so.
    assert.deepEqual(asked(planRestore(listing, { txId: txId(2) })), [first, 2, undefined, 0]);
    assert.deepEqual(asked(planRestore(listing, { txId: txId(5), generation: first })), [
      first,
      5,
      undefined,
      0,
    ]);
    assert.deepEqual(asked(planRestore(indexArchive(parts, { links }))), [first, 5, undefined, 1]);
    // One that has something which cannot be reached is told of.
    const late = [...parts, range(7, 9, { generation: second })];
    const lacking = planRestore(indexArchive(late, { links: new Map([...links, [second, said]]) }));
    assert.deepEqual(asked(lacking), [first, 5, second, 1]);
  });

  test("gives the parent's point where a time falls after it was left and before the child's first point", () => {
    const listing = indexArchive([snapshot(2), range(2, 5), range(5, 12, { generation: second })], bridged);

    for (const timestampMs of [5000, 9000, 11_999]) {
      const plan = planRestore(listing, { timestampMs });
      assert.deepEqual([plan.generation, plan.txId, plan.warnings], [first, 5n, []]);
    }
    assert.deepEqual(planRestore(listing, { timestampMs: 12_000 }).generation, second);
  });

  test("leaves what its parent holds beyond it to those who name it: it is another history", () => {
    const listing = indexArchive(objects, bridged);

    const byTime = planRestore(listing, { timestampMs: 6500 });
    const byNumber = planRestore(listing, { txId: txId(6) });
    const chosen = planRestore(listing, { timestampMs: 6500, generation: first });

    assert.deepEqual([byTime.generation, byTime.txId], [first, 5n]);
    assert.match(
      byTime.warnings.join(),
      new RegExp(`${hex(6)} of generation ${first}.*--generation ${first}`),
    );
    assert.deepEqual([byNumber.generation, byNumber.txId, byNumber.warnings.length], [first, 6n, 1]);
    assert.deepEqual([chosen.txId, chosen.warnings], [6n, []]);
    assert.ok(points(listing).some((point) => point.generation === first && point.txId === 6n));
  });

  test("of a generation that names it among its grandparents is found in the history that goes on", () => {
    const links = new Map([
      [first, { parent: null, epoch: 1 }],
      [second, { parent: { generation: first, txId: txId(9) }, epoch: 2 }],
      [third, { parent: { generation: second, txId: txId(7) }, epoch: 3 }],
    ]);
    // The second holds 8 after the third left it; the first holds the 8 that the third comes from.
    const held = [snapshot(2), range(2, 8), snapshot(7, second), range(7, 8, { generation: second })];
    const listing = indexArchive([...held, snapshot(30, third)], { links });

    const plan = planRestore(listing, { txId: txId(8) });

    assert.deepEqual([plan.generation, plan.warnings], [first, []]);
  });

  test("inside of a pack of its parent asks for the pack's index, unless its own snapshot will do", () => {
    const pack = range(2, 9, { pack: true });
    const child = range(5, 12, { generation: second });
    const unread = indexArchive([snapshot(2), pack, child], bridged);
    const based = indexArchive([snapshot(2), pack, child, snapshot(13, second)], bridged);

    assert.deepEqual(
      missingFacts(unread, {}).packs.map(({ name }) => name),
      [pack.name],
    );
    assert.deepEqual(missingFacts(based, {}).packs, []);
    assert.equal(missingFacts(based, { txId: txId(12) }).packs.length, 1);
    assert.equal(missingFacts(based, { timestampMs: 12_500 }).packs.length, 1);
    const packs = new Map([[pack.name, [pointOf(2, 5), pointOf(5, 9)]]]);
    const read = indexArchive([snapshot(2), pack, child], { ...bridged, packs });
    assert.deepEqual(missingFacts(read, {}).packs, []);
    assert.deepEqual(ends(planRestore(read)), [2, 5, 12]);
  });

  test("by time asks for the pack that holds the last points before the parent was left", () => {
    const pack = range(2, 9, { pack: true });
    const child = [snapshot(12, second), range(12, 13, { generation: second })];
    const listing = indexArchive([snapshot(2), pack, ...child], bridged);

    assert.equal(missingFacts(listing, { timestampMs: 11_000 }).packs.length, 1);
    const packs = new Map([[pack.name, [pointOf(2, 4), pointOf(4, 5), pointOf(5, 9)]]]);
    const read = indexArchive([snapshot(2), pack, ...child], { ...bridged, packs });
    assert.equal(planRestore(read, { timestampMs: 11_000 }).txId, 5n);
    assert.equal(planRestore(read, { timestampMs: 4500 }).txId, 4n);
  });

  test("before the oldest point of all its ancestors is not-found, and names that one", () => {
    assert.throws(() => planRestore(indexArchive(objects, bridged), { timestampMs: 1500 }), {
      code: "not-found",
      message: /the oldest is of 1970-01-01T00:00:02.000Z/,
    });
  });

  test("whose parent is gone is a gap that names it", () => {
    const listing = indexArchive(objects.slice(3), bridged);

    assert.throws(() => planRestore(listing), {
      code: "gap",
      message: new RegExp(`${hex(5)} of generation ${first}, which is not`),
    });
    assert.deepEqual(points(listing), []);
  });

  test("is not one when its own history passes the parent's txid", () => {
    const own = [range(4, 5, { generation: second }), range(5, 7, { generation: second })];
    const listing = indexArchive([snapshot(2), range(2, 5), ...own], bridged);

    assert.throws(() => planRestore(listing, { txId: txId(7) }), { code: "gap" });
  });

  test("does not loop when two generations name each other as parent", () => {
    const links = new Map([
      [first, { parent: { generation: second, txId: txId(1) }, epoch: 1 }],
      [second, { parent: { generation: first, txId: txId(1) }, epoch: 1 }],
    ]);

    assert.throws(
      () => planRestore(indexArchive([range(1, 2), range(1, 2, { generation: second })], { links })),
      {
        code: /gap|bad-request/,
      },
    );
  });
});

/** A history of eight pages: what page p holds at T is the last transaction up to T that wrote it. */
const historyArbitrary = fc.record({
  writes: fc.array(fc.array(fc.nat(7), { maxLength: 4 }), { minLength: 1, maxLength: 30 }),
  ranges: fc.array(fc.tuple(fc.nat(30), fc.nat(30), fc.nat(3)), { maxLength: 60 }),
  snapshots: fc.array(fc.nat(30), { maxLength: 4 }),
});

function stateAt(writes: readonly number[][], id: number): number[] {
  const state = new Array<number>(8).fill(0);
  for (let at = 1; at <= id; at += 1) for (const page of writes[at - 1] ?? []) state[page] = at;
  return state;
}

test("a plan gives the exact state or says gap, and says gap only where there is no way", () => {
  fc.assert(
    fc.property(historyArbitrary, ({ writes, ranges, snapshots }) => {
      const newest = writes.length;
      const valid = ranges.filter(([parent, id]) => parent < id && id <= newest);
      const bases = snapshots.filter((id) => id <= newest);
      const objects = [
        ...valid.map(([p, t, size]) => range(p, t, { size })),
        ...bases.map((id) => snapshot(id)),
      ];
      const listing = indexArchive(objects);
      const reachable = new Set(bases);
      for (let id = 1; id <= newest; id += 1) {
        if (valid.some(([p, t]) => t === id && [...reachable].some((from) => from >= p && from < id)))
          reachable.add(id);
      }
      if (objects.length === 0) return;

      const restorable = points(listing).map((point) => Number(point.txId));
      assert.deepEqual(new Set(restorable), reachable);
      for (let id = 0; id <= newest; id += 1) {
        const isPoint = bases.includes(id) || valid.some(([, t]) => t === id);
        const target = { txId: txId(id), generation: first };
        if (!reachable.has(id)) {
          assert.throws(() => planRestore(listing, target), { code: isPoint ? "gap" : "not-found" });
          continue;
        }
        const plan = planRestore(listing, target);
        const state = stateAt(writes, Number(plan.snapshot.txId));
        for (const step of plan.steps) {
          assert.ok(step.from >= step.parentTxId && step.from < step.to);
          for (let at = Number(step.parentTxId) + 1; at <= step.to; at += 1)
            for (const page of writes[at - 1] ?? []) state[page] = at;
        }
        assert.deepEqual(state, stateAt(writes, id));
      }
    }),
    { numRuns: 500 },
  );
});
