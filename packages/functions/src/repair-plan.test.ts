import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  type ArchiveFacts,
  type ArchiveListing,
  type Generation,
  type GenerationLink,
  generationJsonName,
  indexArchive,
  type ListedObject,
  type PackPoint,
  packName,
  parseGeneration,
  pointsOf,
  reachOf,
  segmentName,
  snapshotName,
  type TxId,
  txId,
  withoutObjects,
} from "@pageferry/format";
import fc from "fast-check";
import { goPolicy } from "../testing/policy.ts";
import { planPrune } from "./prune-plan.ts";
import { planRepair, type RepairCopy } from "./repair-plan.ts";

const first = parseGeneration("a1".padEnd(16, "0"));
const second = parseGeneration("b2".padEnd(16, "0"));

const stampMs = (id: number): number => 1_000_000 + id * 1000;
const range = (generation: Generation, parent: number, last: number) => ({
  generation,
  parentTxId: txId(parent),
  txId: txId(last),
  stampMs: stampMs(last),
});
const segment = (parent: number, last: number, generation = first): ListedObject => ({
  name: segmentName(range(generation, parent, last)),
  size: 100 + last,
});
const snapshot = (id: number, generation = first): ListedObject => ({
  name: snapshotName({ generation, txId: txId(id), stampMs: stampMs(id) }),
  size: 5000 + id,
});
const begin = (generation: Generation): ListedObject => ({ name: generationJsonName(generation), size: 50 });

/** A pack of single transactions, with what its index says. */
function pack(parent: number, last: number, generation = first) {
  const object = { name: packName(range(generation, parent, last)), size: 1000 };
  const points = Array.from({ length: last - parent }, (_, at): PackPoint => {
    const id = parent + at + 1;
    return { parentTxId: txId(id - 1), txId: txId(id), stampMs: stampMs(id) };
  });
  return { object, points };
}

const plain = (copies: readonly RepairCopy[]) => copies.map(({ to, name }) => [to, name]);
const link = (parent: GenerationLink["parent"], epoch: number): GenerationLink => ({ parent, epoch });

suite("a plan of repair", () => {
  test("copies what one replica lacks, from where it is", () => {
    const whole = [snapshot(1), segment(1, 2), segment(2, 3)];

    const { copies, points } = planRepair([whole, [snapshot(1), segment(2, 3)], []], { nowMs: 0 });

    assert.equal(points, 3);
    assert.deepEqual(copies, [
      { to: 1, name: segment(1, 2).name, size: 102, from: [0] },
      { to: 2, name: snapshot(1).name, size: 5001, from: [0, 1] },
      { to: 2, name: segment(1, 2).name, size: 102, from: [0] },
      { to: 2, name: segment(2, 3).name, size: 103, from: [0, 1] },
    ]);
  });

  test("does nothing where every replica can restore the same, by whatever objects", () => {
    const { object, points } = pack(1, 4);
    const facts: ArchiveFacts = { packs: new Map([[object.name, points]]) };
    const singles = [segment(1, 2), segment(2, 3), segment(3, 4)];

    const { copies } = planRepair(
      [
        [snapshot(1), object],
        [snapshot(1), ...singles],
      ],
      { facts, nowMs: 0 },
    );

    assert.deepEqual(copies, []);
  });

  test("brings together what no replica can restore alone", () => {
    const { copies } = planRepair([[snapshot(1), segment(2, 3)], [segment(1, 2)]], { nowMs: 0 });

    assert.deepEqual(plain(copies), [
      [0, segment(1, 2).name],
      [1, snapshot(1).name],
      [1, segment(2, 3).name],
    ]);
  });

  test("does not bring back what compaction merged, and copies what was made of it only where it is needed", () => {
    const compacted = [snapshot(1), segment(1, 5), segment(5, 6)];
    const fine = [snapshot(1), segment(1, 2), segment(2, 3), segment(3, 4), segment(4, 5), segment(5, 6)];
    const cut = fine.filter(({ name }) => name !== segment(2, 3).name);

    assert.deepEqual(planRepair([compacted, fine], { nowMs: 0 }).copies, []);
    assert.deepEqual(plain(planRepair([compacted, cut], { nowMs: 0 }).copies), [[1, segment(1, 5).name]]);
  });

  test("does not bring back what prune removed", () => {
    const all = [1, 2, 3, 4, 5].map((id) => segment(id, id + 1));
    const whole = [snapshot(1), ...all, snapshot(4)];
    const pruned = [snapshot(4), ...all.slice(3)];
    const policy = { ...goPolicy(1500), graceMs: 0 };

    assert.deepEqual(planRepair([whole, pruned], { policy, nowMs: stampMs(6) }).copies, []);
    assert.equal(planRepair([whole, pruned], { nowMs: stampMs(6) }).copies.length, 3);
  });

  test("keeps what somebody has pinned within reach", () => {
    const whole = [snapshot(1), segment(1, 2), segment(2, 3), snapshot(3)];
    const pinned = [{ generation: first, txId: txId(2) }];
    const policy = { ...goPolicy(10), graceMs: 0, pinned };

    const { copies } = planRepair([whole, [snapshot(3)]], { policy, nowMs: stampMs(100) });

    assert.deepEqual(plain(copies), [
      [1, snapshot(1).name],
      [1, segment(1, 2).name],
    ]);
  });

  test("takes one pack rather than the segments in it", () => {
    const { object, points } = pack(1, 4);
    const facts: ArchiveFacts = { packs: new Map([[object.name, points]]) };
    const whole = [snapshot(1), segment(1, 2), segment(2, 3), object];

    const { copies } = planRepair([whole, [snapshot(1)]], { facts, nowMs: 0 });

    assert.deepEqual(plain(copies), [[1, object.name]]);
  });

  test("copies generation.json with the first object of a generation, and the point it begins at", () => {
    const links = new Map([
      [first, link(null, 1)],
      [second, link({ generation: first, txId: txId(2) }, 2)],
    ]);
    const whole = [begin(first), snapshot(1), segment(1, 2), begin(second), segment(2, 4, second)];

    const { copies } = planRepair([whole, [begin(first), snapshot(1)]], { facts: { links }, nowMs: 0 });

    assert.deepEqual(plain(copies), [
      [1, segment(1, 2).name],
      [1, begin(second).name],
      [1, segment(2, 4, second).name],
    ]);
  });

  test("copies a generation.json that alone is missing, and none of a generation that has no point", () => {
    const lonely = [begin(second)];
    const whole = [begin(first), snapshot(1), ...lonely];

    const { copies } = planRepair([whole, [snapshot(1)]], { nowMs: 0 });

    assert.deepEqual(plain(copies), [[1, begin(first).name]]);
  });
});

/** An archive as it may become: a chain, packs, ranges that overlap, snapshots, a child generation that begins with a bridge. */
const archive = fc
  .record({
    length: fc.integer({ min: 1, max: 12 }),
    snapshots: fc.uniqueArray(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 4 }),
    ranges: fc.array(fc.tuple(fc.nat(11), fc.integer({ min: 1, max: 5 })), { maxLength: 6 }),
    packs: fc.array(fc.tuple(fc.nat(11), fc.integer({ min: 2, max: 6 })), { maxLength: 4 }),
    bridge: fc.option(fc.integer({ min: 1, max: 12 })),
  })
  .map(({ length, snapshots, ranges, packs, bridge }) => {
    const objects: ListedObject[] = [];
    const points = new Map<string, readonly PackPoint[]>();
    const links = new Map<Generation, GenerationLink>([[first, link(null, 1)]]);
    const fill = (generation: Generation, from: number, to: number): void => {
      objects.push(begin(generation));
      for (let id = from + 1; id <= to; id += 1) objects.push(segment(id - 1, id, generation));
      for (const [start, count] of ranges) {
        if (start >= from && start + count <= to) objects.push(segment(start, start + count, generation));
      }
      for (const [start, count] of packs) {
        if (start < from || start + count > to) continue;
        const made = pack(start, start + count, generation);
        objects.push(made.object);
        points.set(made.object.name, made.points);
      }
    };
    fill(first, 0, length);
    for (const id of snapshots) if (id <= length) objects.push(snapshot(id));
    if (bridge !== null && bridge <= length) {
      fill(second, bridge, bridge + 4);
      links.set(second, link({ generation: first, txId: txId(bridge) }, 2));
    }
    return {
      objects: [...new Map(objects.map((object) => [object.name, object])).values()],
      facts: { packs: points, links } satisfies ArchiveFacts,
    };
  });

const holdings = archive.chain(({ objects, facts }) =>
  fc.record({
    facts: fc.constant(facts),
    replicas: fc.array(fc.array(fc.nat(3), { minLength: objects.length, maxLength: objects.length }), {
      minLength: 2,
      maxLength: 4,
    }),
    objects: fc.constant(objects),
  }),
);

const retention = fc.option(
  fc
    .tuple(fc.integer({ min: 0, max: 12_000 }), fc.constantFrom(0, 2000))
    .map(([retentionMs, spacingMs]) => ({ ...goPolicy(retentionMs, spacingMs), graceMs: 0 })),
);

/** What a listing can restore, as texts. A link counts where the generation.json is. */
function restorable(objects: readonly ListedObject[], facts: ArchiveFacts): Set<string> {
  const names = new Set(objects.map(({ name }) => name));
  const links = new Map(
    [...(facts.links ?? [])].filter(([generation]) => names.has(generationJsonName(generation))),
  );
  const listing = indexArchive(objects, { ...facts, links });
  return new Set(
    [...listing.generations.values()].flatMap((index) =>
      pointsOf(listing, index).map((point) => `${point.generation} ${point.txId}`),
    ),
  );
}

/** Points inside of a range that a replica holds: there it was merged. */
function passedOver(
  objects: readonly ListedObject[],
  facts: ArchiveFacts,
  wanted: ReadonlySet<string>,
): Set<string> {
  const over = new Set<string>();
  for (const index of indexArchive(objects, facts).generations.values()) {
    for (const object of index.ranges) {
      let from: TxId = object.parentTxId;
      for (const { txId: to } of object.points ?? [object]) {
        if (wanted.has(`${index.generation} ${to}`)) {
          for (let id = from + 1n; id < to; id += 1n) over.add(`${index.generation} ${id}`);
        }
        from = to;
      }
    }
  }
  return over;
}

/** Points that generations begin at, which are needed whatever a replica holds around them. */
function bridgesOf(listing: ArchiveListing): Set<string> {
  const bridges = [...listing.generations.values()].flatMap((index) => reachOf(listing, index).bridge ?? []);
  return new Set(bridges.map(({ generation, txId: id }) => `${generation} ${id}`));
}

suite("whatever replicas hold, a plan of repair", () => {
  test("lets each restore all that they can together within retention, with no copy too many", () => {
    let copied = 0;
    fc.assert(
      fc.property(holdings, retention, fc.nat(20_000), ({ objects, replicas, facts }, policy, age) => {
        const held = replicas.map((shares) => objects.filter((_, at) => shares[at] !== 0));
        const nowMs = stampMs(0) + age;
        const union = [...new Map(held.flat().map((object) => [object.name, object])).values()];
        const names = new Set(union.map(({ name }) => name));
        // A generation whose generation.json nobody has is one that nobody knows the parent of.
        const links = new Map(
          [...facts.links].filter(([generation]) => names.has(generationJsonName(generation))),
        );
        const known = { ...facts, links };
        const plan = policy === null ? undefined : planPrune(indexArchive(union, known), policy, nowMs);
        const doomed = new Set(plan?.doomed.map(({ name }) => name));
        const wanted = restorable(
          union.filter(({ name }) => !doomed.has(name)),
          known,
        );

        const { copies } = planRepair(held, {
          facts: known,
          nowMs,
          ...(policy === null ? {} : { policy }),
        });

        copied += copies.length;
        const parents = bridgesOf(withoutObjects(indexArchive(union, known), doomed));
        for (const [at, own] of held.entries()) {
          const mine = copies.filter(({ to }) => to === at);
          const over = passedOver(own, known, wanted);
          const needed = [...wanted].filter((point) => !over.has(point) || parents.has(point));
          const after = (without?: string) =>
            restorable([...own, ...mine.filter(({ name }) => name !== without)], known);
          const lacking = (without?: string) => {
            const can = after(without);
            return needed.filter((point) => !can.has(point));
          };
          assert.deepEqual(lacking(), [], "it cannot restore");
          for (const { name, from } of mine) {
            assert.ok(!doomed.has(name), "what retention removes is copied");
            assert.ok(!own.some((object) => object.name === name), "what is there is copied");
            assert.ok(
              from.length > 0 && from.every((source) => held[source]?.some((object) => object.name === name)),
            );
            // A generation.json belongs to whatever is there of its generation.
            if (!name.endsWith("generation.json"))
              assert.notDeepEqual(lacking(name), [], `${name} is superfluous`);
          }
        }
        // A second plan, from what the first one leads to, has nothing left to do.
        const again = held.map((own, at) => [...own, ...copies.filter(({ to }) => to === at)]);
        assert.deepEqual(
          planRepair(again, { facts: known, nowMs, ...(policy === null ? {} : { policy }) }).copies,
          [],
        );
      }),
      { numRuns: 800 },
    );
    assert.ok(copied > 500, "the replicas hardly differed");
  });
});
