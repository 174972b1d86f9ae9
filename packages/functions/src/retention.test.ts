import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  type ArchiveListing,
  type Generation,
  type GenerationLink,
  generationJsonName,
  indexArchive,
  parseConfig,
  parseGeneration,
  segmentName,
  snapshotName,
  txId,
} from "@pageferry/format";
import { policyOf } from "../testing/policy.ts";
import { planPrune } from "./prune-plan.ts";
import {
  type KeepOptions,
  type KeepReason,
  keepPoints,
  type RetentionPolicy,
  reasonsOf,
  retentionPolicy,
} from "./retention.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const yearMs = 365 * dayMs;
const first = parseGeneration("aaaaaaaaaaaaaaaa");
const second = parseGeneration("bbbbbbbbbbbbbbbb");

/** Sunday. */
const nowMs = Date.UTC(2026, 10, 22, 12);

interface Written {
  readonly id: number;
  /** When the queue took it. */
  readonly receivedMs: number;
  /** Default: the same. */
  readonly stampMs?: number;
  readonly isSnapshot?: boolean;
}

/** A generation whose first transaction is a snapshot, and each later one a segment on the one before, unless it is said to be a snapshot too. */
function lineOf(generation: Generation, written: readonly Written[], link?: GenerationLink) {
  const receipts = new Map<string, number>();
  const names = written.flatMap(({ id, receivedMs, stampMs = receivedMs, isSnapshot }, at) => {
    const before = written[at - 1];
    const mine = [
      ...(before === undefined || isSnapshot === true
        ? [snapshotName({ generation, txId: txId(id), stampMs })]
        : []),
      ...(before === undefined
        ? []
        : [segmentName({ generation, parentTxId: txId(before.id), txId: txId(id), stampMs })]),
    ];
    for (const name of mine) receipts.set(name, receivedMs);
    return mine;
  });
  if (link !== undefined) names.push(generationJsonName(generation));
  return { names, receipts, links: link === undefined ? [] : [[generation, link] as const] };
}

function archiveOf(...lines: readonly ReturnType<typeof lineOf>[]): ArchiveListing {
  return indexArchive(
    lines.flatMap(({ names }) => names).map((name) => ({ name, size: 1000 })),
    {
      receipts: new Map(lines.flatMap(({ receipts }) => [...receipts])),
      links: new Map(lines.flatMap(({ links }) => links)),
    },
  );
}

const nobody: KeepOptions = { pinned: [], leased: [], nowMs };

/** Why each point of a generation stays; those that need not are left out. */
function reasonsIn(
  listing: ArchiveListing,
  policy: RetentionPolicy,
  generation = first,
  options = nobody,
): Record<number, KeepReason[]> {
  const line = keepPoints(listing, policy, options).get(generation);
  assert.ok(line !== undefined);
  const all = line.points.map(({ txId: id }, at) => [Number(id), reasonsOf(line, at)] as const);
  return Object.fromEntries(all.filter(([, reasons]) => reasons.length > 0));
}

const ago = (ms: number) => nowMs - ms;

suite("a point stays", () => {
  const old = { id: 1, receivedMs: ago(100 * dayMs) };
  const cases: readonly {
    readonly why: string;
    readonly written: readonly Written[];
    readonly policy: Partial<RetentionPolicy>;
    readonly kept: Record<number, KeepReason[]>;
  }[] = [
    {
      why: "as the newest, however old it is",
      written: [old, { id: 2, receivedMs: ago(99 * dayMs) }],
      policy: {},
      kept: { 2: ["newest"] },
    },
    {
      why: "each of them, within segmentRetention",
      written: [
        old,
        { id: 2, receivedMs: ago(hourMs + 1) },
        { id: 3, receivedMs: ago(hourMs) },
        { id: 4, receivedMs: ago(1) },
      ],
      policy: { segmentRetentionMs: hourMs, keepWithinMs: hourMs, levelsMs: [30_000, 5 * minuteMs] },
      kept: { 3: ["fine", "within"], 4: ["newest", "fine", "within"] },
    },
    {
      why: "as the last of its window of compaction's second level, within keepWithin",
      written: [
        old,
        { id: 2, receivedMs: ago(2 * dayMs + 1) },
        { id: 3, receivedMs: ago(10 * minuteMs) },
        { id: 4, receivedMs: ago(9 * minuteMs) },
        { id: 5, receivedMs: ago(4 * minuteMs) },
        { id: 6, receivedMs: ago(3 * minuteMs) },
      ],
      policy: { keepWithinMs: 2 * dayMs, levelsMs: [30_000, 5 * minuteMs, hourMs] },
      kept: { 4: ["within"], 6: ["newest", "within"] },
    },
    {
      why: "each of them within keepWithin, where nothing is merged",
      written: [old, { id: 2, receivedMs: ago(dayMs) }, { id: 3, receivedMs: ago(dayMs - 1) }],
      policy: { keepWithinMs: dayMs, levelsMs: [] },
      kept: { 2: ["within"], 3: ["newest", "within"] },
    },
    {
      why: "as a snapshot at a distance from the last one, within keepWithin",
      written: [
        old,
        { id: 2, receivedMs: ago(23 * hourMs), isSnapshot: true },
        { id: 3, receivedMs: ago(20 * hourMs), isSnapshot: true },
        { id: 4, receivedMs: ago(17 * hourMs), isSnapshot: true },
        { id: 5, receivedMs: ago(16 * hourMs) },
      ],
      policy: { keepWithinMs: dayMs, snapshotSpacingMs: 6 * hourMs, levelsMs: [dayMs, 10 * dayMs] },
      kept: { 2: ["snapshot"], 4: ["snapshot"], 5: ["newest", "within"] },
    },
    {
      why: "as the last of its hour, of the newest hours that have any",
      written: [
        old,
        { id: 2, receivedMs: ago(30 * dayMs) },
        { id: 3, receivedMs: ago(30 * dayMs - 1) },
        { id: 4, receivedMs: ago(5 * dayMs) },
      ],
      policy: { keepHourly: 2 },
      kept: { 3: ["hourly"], 4: ["newest", "hourly"] },
    },
    {
      why: "as the best of its day: a snapshot before a later segment",
      written: [
        old,
        { id: 2, receivedMs: ago(2 * dayMs + 2 * hourMs), isSnapshot: true },
        { id: 3, receivedMs: ago(2 * dayMs) },
        { id: 4, receivedMs: ago(dayMs) },
      ],
      policy: { keepDaily: 2 },
      kept: { 2: ["daily"], 4: ["newest", "daily"] },
    },
    {
      why: "as the last of its week, which begins on Monday",
      written: [
        old,
        { id: 2, receivedMs: Date.UTC(2026, 10, 15, 23, 59) },
        { id: 3, receivedMs: Date.UTC(2026, 10, 16, 0, 0) },
        { id: 4, receivedMs: Date.UTC(2026, 10, 22, 11) },
      ],
      policy: { keepWeekly: 2 },
      kept: { 2: ["weekly"], 4: ["newest", "weekly"] },
    },
    {
      why: "as the last of its month",
      written: [
        old,
        { id: 2, receivedMs: Date.UTC(2026, 9, 31, 23, 59) },
        { id: 3, receivedMs: Date.UTC(2026, 10, 1) },
        { id: 4, receivedMs: Date.UTC(2026, 10, 2) },
      ],
      policy: { keepMonthly: 2 },
      kept: { 2: ["monthly"], 4: ["newest", "monthly"] },
    },
  ];
  for (const { why, written, policy, kept } of cases) {
    test(why, () => assert.deepEqual(reasonsIn(archiveOf(lineOf(first, written)), policyOf(policy)), kept));
  }

  test("as one that is pinned or leased", () => {
    const listing = archiveOf(lineOf(first, [old, { ...old, id: 2 }, { ...old, id: 3 }]));
    const pinned = [{ generation: first, txId: txId(1) }];
    const leased = [{ generation: first, txId: txId(2) }];

    assert.deepEqual(reasonsIn(listing, policyOf(), first, { pinned, leased, nowMs }), {
      1: ["pinned"],
      2: ["leased"],
      3: ["newest"],
    });
  });

  test("as the one that another generation begins at", () => {
    const own = { epoch: 1, parent: null, receivedAtMs: ago(100 * dayMs) };
    const child = {
      epoch: 2,
      parent: { generation: first, txId: txId(2) },
      receivedAtMs: ago(50 * dayMs),
    };
    const names = [segmentName({ generation: second, parentTxId: txId(2), txId: txId(9), stampMs: ago(1) })];
    const bridged = { names, receipts: new Map(), links: [[second, child] as const] };
    const listing = archiveOf(lineOf(first, [old, { ...old, id: 2 }, { ...old, id: 3 }], own), bridged);

    const { kept } = planPrune(listing, policyOf({ segmentRetentionMs: 1, keepWithinMs: 1 }), nowMs);

    assert.deepEqual(
      kept.map(({ generation, txId: id, reasons }) => [generation, Number(id), reasons]),
      [
        [second, 9, ["newest", "fine", "within"]],
        [first, 3, ["newest"]],
        [first, 2, ["parent"]],
      ],
    );
  });
});

suite("age is reckoned by receipt", () => {
  const policy = policyOf({
    segmentRetentionMs: hourMs,
    keepWithinMs: dayMs,
    levelsMs: [30_000, 5 * minuteMs],
  });
  const receivedMs = [3 * dayMs, 2 * dayMs, 20 * hourMs, 10 * hourMs, 30 * minuteMs, minuteMs].map(ago);
  for (const [clock, stampOf] of [
    ["right", (ms: number) => ms],
    ["a year ahead", (ms: number) => ms + yearMs],
    ["a year behind", (ms: number) => ms - yearMs],
  ] as const) {
    test(`by a host's clock that is ${clock}, the same points stay`, () => {
      const written = receivedMs.map((ms, at) => ({ id: at + 1, receivedMs: ms, stampMs: stampOf(ms) }));

      assert.deepEqual(reasonsIn(archiveOf(lineOf(first, written)), policy), {
        3: ["within"],
        4: ["within"],
        5: ["fine", "within"],
        6: ["newest", "fine", "within"],
      });
    });
  }

  test("by a clock that stands still, windows are counted in transactions", () => {
    const stampMs = ago(yearMs);
    const written = Array.from({ length: 20_000 }, (_, at) => {
      return { id: at + 1, receivedMs: ago((20_000 - at) * 1000), stampMs };
    });

    const kept = reasonsIn(archiveOf(lineOf(first, written)), policyOf({ ...policy, keepDaily: 1 }));

    const reasons = Object.values(kept);
    assert.equal(reasons.filter((all) => all.includes("fine")).length, 3600);
    const coarse = Object.entries(kept).filter(([, all]) => all.includes("within") && !all.includes("fine"));
    assert.deepEqual(
      coarse.map(([id]) => Number(id)),
      [4095, 8191, 12_287, 16_383],
    );
  });
});

suite("a flood of one day", () => {
  const policy = policyOf({ keepDaily: 7, supersededRetentionMs: 0 });
  const daily = Array.from({ length: 6 }, (_, at) => ({ id: at + 1, receivedMs: ago((6 - at) * dayMs) }));
  const daysOf = (listing: ArchiveListing): number[] =>
    planPrune(listing, policy, nowMs)
      .kept.filter(({ reasons }) => reasons.includes("daily"))
      .map(({ receivedMs }) => Math.floor((nowMs - receivedMs) / dayMs));

  test("of 10,000 points leaves the points of earlier days", () => {
    const flood = Array.from({ length: 10_000 }, (_, at) => ({ id: 7 + at, receivedMs: ago(10_000 - at) }));

    assert.deepEqual(daysOf(archiveOf(lineOf(first, [...daily, ...flood]))), [0, 1, 2, 3, 4, 5, 6]);
  });

  test("of 10,000 generations, too", () => {
    const flood = Array.from({ length: 10_000 }, (_, at) => {
      const receivedMs = ago(10_000 - at);
      const generation = parseGeneration((at + 1).toString(16).padStart(16, "0"));
      const link = { epoch: at + 2, parent: null, receivedAtMs: receivedMs };
      return lineOf(generation, [{ id: 1, receivedMs }], link);
    });
    const link = { epoch: 1, parent: null, receivedAtMs: ago(6 * dayMs) };

    assert.deepEqual(daysOf(archiveOf(lineOf(first, daily, link), ...flood)), [0, 1, 2, 3, 4, 5, 6]);
  });
});

suite("a generation whose place another one took", () => {
  const link = (
    epoch: number,
    receivedAtMs: number | undefined,
    parent: GenerationLink["parent"] = null,
  ) => ({
    ...{ epoch, parent },
    ...(receivedAtMs === undefined ? {} : { receivedAtMs }),
  });
  const written = [
    { id: 1, receivedMs: ago(30 * dayMs) },
    { id: 2, receivedMs: ago(29 * dayMs) },
  ];
  const archive = (supersededMs: number | undefined): ArchiveListing =>
    archiveOf(
      lineOf(first, written, link(1, ago(30 * dayMs))),
      lineOf(second, [{ id: 5, receivedMs: ago(hourMs) }], link(2, supersededMs)),
    );
  const policy = policyOf({ supersededRetentionMs: 7 * dayMs });

  test("keeps its last point for supersededRetention", () => {
    assert.deepEqual(reasonsIn(archive(ago(7 * dayMs - 1)), policy), { 2: ["newest", "superseded"] });
    assert.deepEqual(reasonsIn(archive(ago(7 * dayMs)), policy), {});
  });

  test("then goes as a whole, its generation.json last", () => {
    const { doomed } = planPrune(archive(ago(7 * dayMs)), policy, nowMs);

    const [one, two] = written.map(({ receivedMs }) => receivedMs);
    const why = `superseded generation ${first}`;
    assert.deepEqual(
      doomed.map((removal) => [removal.name, removal.why]),
      [
        [segmentName({ generation: first, parentTxId: txId(1), txId: txId(2), stampMs: two as number }), why],
        [snapshotName({ generation: first, txId: txId(1), stampMs: one as number }), why],
        [generationJsonName(first), why],
      ],
    );
  });

  test("stays where nobody knows since when, and where no other has its place", () => {
    assert.deepEqual(reasonsIn(archive(undefined), policy), { 2: ["newest"] });
    assert.deepEqual(reasonsIn(archive(ago(30 * dayMs)), policy, second), { 5: ["newest"] });
  });

  test("keeps its generation.json as long as one that it came from has a point", () => {
    const third = parseGeneration("cccccccccccccccc");
    const ancient = ago(30 * dayMs);
    const listing = archiveOf(
      lineOf(first, written, link(1, ancient)),
      lineOf(
        second,
        [{ id: 5, receivedMs: ancient }],
        link(2, ancient, { generation: first, txId: txId(2) }),
      ),
      lineOf(
        third,
        [{ id: 9, receivedMs: ancient }],
        link(3, ancient, { generation: second, txId: txId(5) }),
      ),
    );
    const pinned = [{ generation: first, txId: txId(1) }];

    const { doomed } = planPrune(listing, { ...policy, pinned }, nowMs);

    assert.deepEqual(
      doomed.map(({ name }) => name),
      [snapshotName({ generation: second, txId: txId(5), stampMs: ancient })],
    );
  });

  test("is left alone where its generation.json cannot be read", () => {
    const listing = archive(ago(8 * dayMs));
    const index = listing.generations.get(first);
    assert.ok(index !== undefined);
    const generations = new Map(listing.generations).set(first, {
      ...index,
      link: null,
      linkProblem: "not JSON",
    });

    const { doomed, notes } = planPrune({ generations }, policy, nowMs);

    assert.deepEqual(doomed, []);
    assert.deepEqual(notes, [`generation ${first} is left alone: not JSON`]);
  });
});

suite("what a configuration says of what stays", () => {
  test("is nothing where it says nothing: then nothing may go", () => {
    assert.equal(retentionPolicy({}), undefined);
    assert.equal(retentionPolicy({ snapshotIntervalMs: 100 }), undefined);
  });

  test("thins snapshots that are clearly closer than the interval, retention's own before the other", () => {
    assert.equal(retentionPolicy(parseConfig({ snapshotInterval: "10h" }))?.snapshotSpacingMs, 9 * hourMs);
    const both = { snapshotInterval: "10h", retention: { snapshotInterval: "20h" } };
    assert.equal(retentionPolicy(parseConfig(both))?.snapshotSpacingMs, 18 * hourMs);
  });

  test("by default is an hour of all, a day of five minutes, seven days, four weeks", () => {
    assert.deepEqual(retentionPolicy(parseConfig(undefined)), {
      segmentRetentionMs: hourMs,
      keepWithinMs: dayMs,
      snapshotSpacingMs: 5.4 * hourMs,
      keepHourly: 0,
      keepDaily: 7,
      keepWeekly: 4,
      keepMonthly: 0,
      supersededRetentionMs: 7 * dayMs,
      levelsMs: [30_000, 300_000, hourMs],
    });
  });
});
