import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  type ArchiveListing,
  type Generation,
  type GenerationLink,
  generationJsonName,
  indexArchive,
  isPageferryError,
  parseGeneration,
  planRestore,
  points,
  segmentName,
  snapshotName,
  txId,
} from "@pageferry/format";
import fc from "fast-check";
import { goPolicy } from "../testing/policy.ts";
import { type PrunePolicy, planPrune } from "./prune-plan.ts";

const hourMs = 3_600_000;
const first = parseGeneration("aaaaaaaaaaaaaaaa");
const second = parseGeneration("bbbbbbbbbbbbbbbb");

/** Transaction T was committed T hours after the epoch. */
const snapshot = (generation: Generation, id: number) =>
  snapshotName({ generation, txId: txId(id), stampMs: id * hourMs });
const segment = (generation: Generation, parent: number, last: number) =>
  segmentName({ generation, parentTxId: txId(parent), txId: txId(last), stampMs: last * hourMs });

const listingOf = (
  names: readonly string[],
  links: readonly (readonly [Generation, GenerationLink])[] = [],
): ArchiveListing =>
  indexArchive(
    names.map((name) => ({ name, size: 1 })),
    { links: new Map(links) },
  );

const policy = (retentionHours: number, intervalHours = 0): PrunePolicy => ({
  ...goPolicy(retentionHours * hourMs, intervalHours * hourMs),
  graceMs: 0,
});

const doomedBy = (...args: Parameters<typeof planPrune>): string[] =>
  planPrune(...args)
    .doomed.map(({ name }) => name)
    .sort();

const isRestorable = (listing: ArchiveListing, generation: Generation, id: bigint): boolean => {
  try {
    planRestore(listing, { generation, txId: txId(id) });
    return true;
  } catch (error) {
    assert.ok(isPageferryError(error));
    return false;
  }
};

suite("a prune plan", () => {
  test("removes what lies before the newest snapshot that the oldest kept point needs", () => {
    const names = [
      snapshot(first, 2),
      segment(first, 2, 5),
      snapshot(first, 5),
      segment(first, 5, 8),
      snapshot(first, 8),
      segment(first, 8, 9),
      segment(first, 9, 12),
    ];

    const doomed = doomedBy(listingOf(names), policy(3), 12 * hourMs);

    assert.deepEqual(
      doomed,
      [segment(first, 2, 5), segment(first, 5, 8), snapshot(first, 2), snapshot(first, 5)].sort(),
    );
  });

  test("keeps the newest point of a generation, however old it is", () => {
    const names = [snapshot(first, 2), segment(first, 2, 5), segment(first, 5, 6)];

    assert.deepEqual(doomedBy(listingOf(names), policy(1), 1_000_000 * hourMs), []);
  });

  test("keeps what a generation that begins with a bridge needs of its parent", () => {
    const names = [
      snapshot(first, 2),
      segment(first, 2, 5),
      segment(first, 5, 8),
      snapshot(first, 8),
      segment(second, 5, 9),
    ];
    const bridge = [second, { epoch: 2, parent: { generation: first, txId: txId(5) } }] as const;

    // What leads on from the bridge to a snapshot is of no use: both ends stand by themselves.
    assert.deepEqual(doomedBy(listingOf(names, [bridge]), policy(1), 100 * hourMs), [segment(first, 5, 8)]);
    assert.equal(doomedBy(listingOf(names.slice(0, 4)), policy(1), 100 * hourMs).length, 3);
    // Where its generation.json is gone, it may begin there all the same.
    assert.deepEqual(doomedBy(listingOf(names), policy(1), 100 * hourMs), [segment(first, 5, 8)]);
  });

  test("keeps the point that a restored file is, as long as its generation has nothing of its own", () => {
    const names = [snapshot(first, 2), segment(first, 2, 5), segment(first, 5, 8), snapshot(first, 8)];
    const begin = { epoch: 2, parent: { generation: first, txId: txId(5) }, receivedAtMs: 50 * hourMs };
    const restored = [second, { ...begin, parentStateHash: 5n }] as const;
    const begun = generationJsonName(second);
    type Begun = readonly [Generation, GenerationLink];
    const at = (hour: number, link: Begun, ...more: readonly string[]) =>
      doomedBy(listingOf([...names, ...more, begun], [link]), policy(1), hour * hourMs);

    assert.deepEqual(at(100_000, restored), [segment(first, 5, 8)]);
    // Without it, and where another generation says that it began there and not that it is the same, all that is old goes.
    const older = [segment(first, 2, 5), segment(first, 5, 8), snapshot(first, 2)];
    assert.deepEqual(doomedBy(listingOf(names), policy(1), 100 * hourMs), older);
    assert.deepEqual(at(100, [second, begin]), older);
    // From its own snapshot on it stands by itself.
    assert.deepEqual(at(100, restored, snapshot(second, 5)), older);
    // What it lacks may still come.
    assert.deepEqual(at(100, restored, segment(second, 7, 9)), [segment(first, 5, 8)]);
  });

  test("keeps a point that somebody reads", () => {
    const names = [snapshot(first, 2), segment(first, 2, 5), snapshot(first, 5), snapshot(first, 9)];
    const pinned = [{ generation: first, txId: txId(5) }];

    assert.deepEqual(doomedBy(listingOf(names), { ...policy(1), pinned }, 100 * hourMs), [
      segment(first, 2, 5),
      snapshot(first, 2),
    ]);
  });

  test("thins snapshots that segments lead to as well, and no others", () => {
    const names = [
      snapshot(first, 1),
      segment(first, 1, 3),
      snapshot(first, 3),
      segment(first, 3, 6),
      snapshot(first, 5),
      segment(first, 6, 9),
      snapshot(first, 9),
    ];

    assert.deepEqual(doomedBy(listingOf(names), policy(100, 6), 10 * hourMs), [snapshot(first, 3)]);
  });

  test("says why each goes, and what stays for which reason", () => {
    const names = [
      snapshot(first, 2),
      segment(first, 2, 5),
      segment(first, 5, 8),
      segment(first, 8, 9),
      snapshot(first, 9),
    ];
    const pinned = [{ generation: first, txId: txId(5) }];

    const { doomed, kept, notes } = planPrune(listingOf(names), { ...policy(1), pinned }, 100 * hourMs);

    assert.deepEqual(
      doomed.map(({ name, why }) => [name, why]),
      [
        [segment(first, 5, 8), "older than 1h"],
        [segment(first, 8, 9), "covered by others"],
      ],
    );
    assert.deepEqual(
      kept.map((point) => [point.txId, point.reasons]),
      [
        [9n, ["newest"]],
        [5n, ["pinned"]],
      ],
    );
    assert.deepEqual(notes, []);
  });

  test("leaves alone what nothing leads to while it is young: what is missing may still come", () => {
    const names = [snapshot(first, 2), segment(first, 50, 51), segment(first, 97, 98)];

    const { doomed, notes } = planPrune(listingOf(names), policy(24), 100 * hourMs);

    assert.deepEqual(
      doomed.map(({ name, why }) => [name, why]),
      [[segment(first, 50, 51), "cannot be reached"]],
    );
    assert.match(notes[0] ?? "", /1 object of generation a+ cannot be reached, the first is .*62-/);
  });

  test("lets what was received within the grace be, whatever nothing needs of it", () => {
    const names = [
      snapshot(first, 2),
      segment(first, 2, 5),
      segment(first, 5, 8),
      snapshot(first, 8),
      snapshot(first, 9),
    ];
    const graceMs = 2 * hourMs;

    assert.deepEqual(doomedBy(listingOf(names), { ...policy(0), graceMs }, 10 * hourMs), [
      segment(first, 2, 5),
      snapshot(first, 2),
    ]);
  });

  test("tells of a pin on what is no point", () => {
    const pinned = [{ generation: first, txId: txId(7) }];

    const { notes } = planPrune(listingOf([snapshot(first, 2)]), { ...policy(1), pinned }, 100 * hourMs);

    assert.match(notes.join(), /transaction 0{15}7 of generation a+ is pinned, and cannot be restored/);
  });

  test("of one generation leaves the others alone", () => {
    const names = [snapshot(first, 2), snapshot(first, 5), snapshot(second, 2), snapshot(second, 5)];

    const doomed = doomedBy(listingOf(names), { ...policy(1), generation: second }, 100 * hourMs);

    assert.deepEqual(doomed, [snapshot(second, 2)]);
  });

  test("never takes a kept point, nor a generation's newest, from any archive", () => {
    const range = fc.tuple(fc.integer({ min: 1, max: 24 }), fc.integer({ min: 1, max: 6 }));
    const generation = fc.record({
      snapshots: fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 5 }),
      ranges: fc.array(range, { maxLength: 25 }),
    });
    fc.assert(
      fc.property(
        generation,
        generation,
        fc.nat(30),
        fc.nat(40),
        fc.nat(10),
        (one, two, leftAt, retention, interval) => {
          const names = (
            [
              [first, one],
              [second, two],
            ] as const
          ).flatMap(([name, content]) => [
            ...content.snapshots.map((id) => snapshot(name, id)),
            ...content.ranges.map(([parent, length]) => segment(name, parent, parent + length)),
          ]);
          const links = [[second, { epoch: 2, parent: { generation: first, txId: txId(leftAt) } }]] as const;
          const before = listingOf(names, links);
          const nowMs = 31 * hourMs;
          const all = points(before);
          const newest = new Map(all.toReversed().map((point) => [point.generation, point.txId]));

          const doomed = new Set(doomedBy(before, policy(retention, interval), nowMs));

          const after = listingOf(
            names.filter((name) => !doomed.has(name)),
            links,
          );
          for (const { generation, txId: id, stampMs } of all) {
            const isKept = (stampMs ?? 0) >= nowMs - retention * hourMs || newest.get(generation) === id;
            if (isKept)
              assert.ok(
                isRestorable(after, generation, id),
                `${generation} at ${id} of ${names} without ${[...doomed]}`,
              );
          }
          assert.deepEqual(
            doomedBy(after, policy(retention, interval), nowMs).filter((name) => doomed.has(name)),
            [],
          );
        },
      ),
      { numRuns: 500 },
    );
  });
});
