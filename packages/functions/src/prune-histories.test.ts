import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  type ArchiveFacts,
  type ArchiveListing,
  type Generation,
  type GenerationLink,
  generationJsonName,
  indexArchive,
  isPageferryError,
  type ListedObject,
  type PackPoint,
  packName,
  parseGeneration,
  planRestore,
  pointsOf,
  segmentName,
  snapshotName,
  txId,
} from "@pageferry/format";
import fc from "fast-check";
import { type PrunePlan, type PrunePolicy, planPrune } from "./prune-plan.ts";

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;
const generations = ["a1", "b2", "c3"].map((word) => parseGeneration(word.padEnd(16, "0")));

interface History {
  readonly objects: readonly ListedObject[];
  readonly facts: {
    readonly links: ReadonlyMap<Generation, GenerationLink>;
    readonly packs: ReadonlyMap<string, readonly PackPoint[]>;
    readonly receipts: ReadonlyMap<string, number | null>;
  };
}

const listingOf = ({ objects, facts }: History): ArchiveListing => {
  const names = new Set(objects.map(({ name }) => name));
  const links = new Map([...facts.links].filter(([generation]) => names.has(generationJsonName(generation))));
  return indexArchive(objects, { ...facts, links } satisfies ArchiveFacts);
};

const without = ({ objects, facts }: History, plan: PrunePlan): History => {
  const doomed = new Set(plan.doomed.map(({ name }) => name));
  return { facts, objects: objects.filter(({ name }) => !doomed.has(name)) };
};

const isRestorable = (listing: ArchiveListing, generation: Generation, id: bigint): boolean => {
  try {
    return planRestore(listing, { generation, txId: txId(id) }).generation === generation;
  } catch (error) {
    assert.ok(isPageferryError(error));
    return false;
  }
};

/** One generation: where it begins, how its objects lie, and when each was received; a stamp may be gone wild. */
const content = fc.record({
  snapshots: fc.array(fc.nat(20), { maxLength: 3 }),
  ranges: fc.array(fc.tuple(fc.nat(19), fc.integer({ min: 1, max: 5 })), { maxLength: 10 }),
  packs: fc.array(fc.tuple(fc.nat(18), fc.integer({ min: 2, max: 4 })), { maxLength: 2 }),
  beginsAt: fc.option(fc.nat(20)),
  isChain: fc.boolean(),
  drift: fc.constantFrom(0, 0, 0, -400 * dayMs, 400 * dayMs),
  epochStep: fc.constantFrom(0, 1, 1, 1),
  hasLink: fc.constantFrom(true, true, true, false),
});
const chance = fc.infiniteStream(fc.nat(99));

/** Transaction T is received T quarter days after its generation began. */
const historyWith = (isToldAll: boolean) =>
  fc.tuple(fc.array(content, { minLength: 1, maxLength: 3 }), chance).map(([contents, chances]): History => {
    const next = (): number => chances.next().value as number;
    const objects = new Map<string, ListedObject>();
    const links = new Map<Generation, GenerationLink>();
    const packs = new Map<string, readonly PackPoint[]>();
    const receipts = new Map<string, number | null>();
    let epoch = 0;
    for (const [at, one] of contents.entries()) {
      const generation = generations[at] as Generation;
      const beganMs = 1000 * dayMs + at * 3 * dayMs;
      const receivedMs = (id: number): number =>
        beganMs + id * (dayMs / 4) + (isToldAll ? 0 : (next() % 10) * minuteMs);
      const stampMs = (id: number): number => beganMs + id * (dayMs / 4) + one.drift;
      const add = (name: string): void => {
        objects.set(name, { name, size: 1 + next() * 5000 });
      };
      const note = (name: string, id: number): void => {
        const roll = next();
        if (isToldAll || roll < 70) receipts.set(name, receivedMs(id));
        else if (roll < 85) receipts.set(name, null);
      };
      epoch += one.epochStep;
      const parent =
        at === 0 || one.beginsAt === null
          ? null
          : { generation: generations[at - 1] as Generation, txId: txId(one.beginsAt) };
      if (one.hasLink) {
        add(generationJsonName(generation));
        links.set(generation, { parent, epoch, receivedAtMs: beganMs });
      }
      const lowest = parent !== null && next() < 70 ? Number(parent.txId) : 0;
      const place = (id: number): number => lowest + id;
      for (const id of one.snapshots) {
        const name = snapshotName({
          generation,
          txId: txId(place(id) + (lowest > 0 ? 1 : 0)),
          stampMs: stampMs(place(id)),
        });
        add(name);
        note(name, place(id));
      }
      const chain = one.isChain ? Array.from({ length: 20 }, (_, id): [number, number] => [id, 1]) : [];
      for (const [start, length] of [...chain, ...one.ranges]) {
        const last = place(start + length);
        const name = segmentName({
          generation,
          parentTxId: txId(place(start)),
          txId: txId(last),
          stampMs: stampMs(last),
        });
        add(name);
        note(name, last);
      }
      for (const [start, length] of one.packs) {
        const last = place(start + length);
        const name = packName({
          generation,
          parentTxId: txId(place(start)),
          txId: txId(last),
          stampMs: stampMs(last),
        });
        add(name);
        if (next() < 80 || isToldAll) {
          packs.set(
            name,
            Array.from({ length }, (_, step): PackPoint => {
              const id = place(start + step + 1);
              return {
                parentTxId: txId(id - 1),
                txId: txId(id),
                stampMs: stampMs(id),
                ...((next() < 80 || isToldAll) && { receivedMs: receivedMs(id) }),
              };
            }),
          );
        }
      }
    }
    return { objects: [...objects.values()], facts: { links, packs, receipts } };
  });

const wanted = fc.array(
  fc.record({ generation: fc.constantFrom(...generations), txId: fc.nat(20).map((id) => txId(id)) }),
  { maxLength: 2 },
);
const days = (most: number) =>
  fc.integer({ min: 0, max: most * 4 }).map((quarters) => (quarters * dayMs) / 4);
const policy = fc
  .record({
    fineDays: days(2),
    withinDays: days(5),
    snapshotSpacingMs: days(2),
    supersededRetentionMs: days(4),
    keepHourly: fc.nat(2),
    keepDaily: fc.nat(4),
    keepWeekly: fc.nat(2),
    keepMonthly: fc.nat(1),
    levelsMs: fc.constantFrom([], [dayMs / 2], [dayMs / 4, dayMs / 2, dayMs]),
    pinned: wanted,
    leased: wanted,
  })
  .map(
    ({ fineDays, withinDays, ...rest }): PrunePolicy => ({
      ...rest,
      segmentRetentionMs: Math.min(fineDays, withinDays),
      keepWithinMs: Math.max(fineDays, withinDays),
    }),
  );
const now = fc.nat(60).map((quarters) => 1000 * dayMs + quarters * (dayMs / 4));

/** Everything that a plan promises of what is left after it. */
function assertKept(before: History, plan: PrunePlan, rules: PrunePolicy): void {
  const listing = listingOf(before);
  const after = listingOf(without(before, plan));
  for (const { generation, txId: id } of plan.kept) {
    assert.ok(isRestorable(after, generation, id), `${generation} at ${id}`);
  }
  const top = Math.max(...[...listing.generations.values()].map(({ link }) => link?.epoch ?? 0));
  for (const index of listing.generations.values()) {
    const newest = pointsOf(listing, index).at(-1);
    const hasKept = plan.kept.some(({ generation }) => generation === index.generation);
    if (newest === undefined || !(hasKept || (index.link?.epoch ?? 0) === top)) continue;
    assert.ok(isRestorable(after, index.generation, newest.txId), "its newest point is gone");
  }
  for (const { generation, txId: id } of [...(rules.pinned ?? []), ...(rules.leased ?? [])]) {
    const index = listing.generations.get(generation);
    const isPoint = index !== undefined && pointsOf(listing, index).some((point) => point.txId === id);
    if (isPoint) assert.ok(isRestorable(after, generation, id), "a pinned or leased point is gone");
  }
}

suite("of whatever history, a prune", () => {
  test("leaves each kept point whole, the newest among them, and comes to an end with as many days kept", () => {
    const calendar = ["hourly", "daily", "weekly", "monthly"] as const;
    const countsOf = ({ kept }: PrunePlan) =>
      calendar.map((unit) => kept.filter(({ reasons }) => reasons.includes(unit)).length);
    let removed = 0;
    fc.assert(
      fc.property(
        fc.boolean().chain((isToldAll) => fc.tuple(fc.constant(isToldAll), historyWith(isToldAll))),
        policy,
        now,
        ([isToldAll, before], rules, nowMs) => {
          let left = before;
          let plan = planPrune(listingOf(left), rules, nowMs);
          const counts = countsOf(plan);
          removed += plan.doomed.length;
          for (let round = 0; plan.doomed.length > 0; round += 1) {
            assert.ok(round < 8, "it does not come to an end");
            assertKept(left, plan, rules);
            left = without(left, plan);
            plan = planPrune(listingOf(left), rules, nowMs);
            // Where nobody told when, or a time to come, a point may move to another day when what stood beside it is gone.
            if (!isToldAll || [...before.facts.receipts.values()].some((ms) => (ms ?? 0) > nowMs)) continue;
            for (const [at, count] of countsOf(plan).entries())
              assert.ok(count >= (counts[at] ?? 0), calendar[at]);
          }
        },
      ),
      { numRuns: 10_000 },
    );
    assert.ok(removed > 10_000, "hardly anything was removed");
  });
});
