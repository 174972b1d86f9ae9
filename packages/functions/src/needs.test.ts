import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseDatabaseName, parseObjectName } from "@pageferry/format";
import { type History, historyOf, id } from "../testing/history.ts";
import type { StateObjectName } from "./describe.ts";
import { createHoldings, type Holdings } from "./holdings.ts";
import { computeNeeds, type NeedsOptions } from "./needs.ts";
import type { Source } from "./sources.ts";

const history = historyOf("a1");
const child = historyOf("b2", "", { epoch: 2, parent: { generation: history.generation, txId: id(6) } });
const { generation } = history;

function holdingsOf(
  ...contents: readonly (readonly [History, readonly number[], readonly (readonly [number, number])[]])[]
): Holdings {
  const holdings = createHoldings();
  for (const [from, snapshots, ranges] of contents) {
    const held = holdings.of(from.generation);
    held.begin = { version: 1, ...from.begin, receivedAtMs: 1 };
    for (const at of snapshots) held.add(parseObjectName(from.snapshot(at).name) as StateObjectName, 1);
    for (const [parent, last] of ranges)
      held.add(parseObjectName(from.segment(parent, last).name) as StateObjectName, 1);
  }
  return holdings;
}

function sourceOf(acceptedTxId: number): Source {
  return {
    database: parseDatabaseName("app"),
    generation,
    host: "host",
    newestTxId: null,
    newestStampMs: null,
    lastSeenMs: 0,
    parting: null,
    generations: new Map([[generation, { epoch: 1, acceptedTxId: id(acceptedTxId), acceptedAtMs: 0 }]]),
  };
}

/** Asks twice, the second time when everything has settled. */
function settled(replicas: readonly Holdings[], more: Partial<NeedsOptions> = {}) {
  const options = {
    replicas,
    source: undefined,
    isPending: false,
    settleMs: 1000,
    firstSeen: new Map<string, number>(),
    ...more,
  };
  const first = computeNeeds({ ...options, nowMs: 0 });
  return { first, later: computeNeeds({ ...options, nowMs: 1000 }), options };
}

suite("an agent is asked", () => {
  test("for nothing where nothing is known", () => {
    assert.deepEqual(settled([]).later, { version: 1, newestEpoch: 0, generations: {} });
  });

  test("for what no replica has, once it has been missing for long enough", () => {
    const { first, later } = settled([
      holdingsOf([
        history,
        [2],
        [
          [2, 5],
          [8, 9],
          [12, 14],
        ],
      ]),
      holdingsOf([
        history,
        [2],
        [
          [2, 6],
          [8, 10],
        ],
      ]),
    ]);

    assert.deepEqual(first.generations[generation], { storedTxId: 6n, missing: [], snapshot: false });
    assert.deepEqual(later.generations[generation], {
      storedTxId: 6n,
      missing: [
        [6n, 8n],
        [10n, 12n],
      ],
      snapshot: false,
    });
  });

  test("not for a hole that was filled meanwhile, and anew when it comes back", () => {
    const { options } = settled([
      holdingsOf([
        history,
        [2],
        [
          [2, 5],
          [8, 9],
        ],
      ]),
    ]);
    const whole = [holdingsOf([history, [2], [[2, 9]]])];

    computeNeeds({ ...options, replicas: whole, nowMs: 1500 });
    const again = computeNeeds({ ...options, nowMs: 2000 });

    assert.deepEqual(again.generations[generation]?.missing, []);
  });

  test("not for a hole below a newer snapshot: what lies between is no point", () => {
    const { later } = settled([
      holdingsOf([
        history,
        [2, 20],
        [
          [2, 5],
          [8, 9],
          [20, 21],
        ],
      ]),
    ]);

    assert.deepEqual(later.generations[generation], { storedTxId: 21n, missing: [], snapshot: false });
  });

  test("for what was accepted and came nowhere, unless it still waits", () => {
    const replicas = [holdingsOf([history, [2], [[2, 5]]])];

    assert.deepEqual(settled(replicas, { source: sourceOf(7) }).later.generations[generation]?.missing, [
      [5n, 7n],
    ]);
    assert.deepEqual(
      settled(replicas, { source: sourceOf(7), isPending: true }).later.generations[generation]?.missing,
      [],
    );
    assert.deepEqual(settled(replicas, { source: sourceOf(5) }).later.generations[generation]?.missing, []);
  });

  test("for a snapshot where nothing of a generation can be restored, unless something still waits", () => {
    const replicas = [holdingsOf([history, [], [[2, 5]]])];

    assert.equal(settled(replicas).first.generations[generation]?.snapshot, false);
    assert.deepEqual(settled(replicas).later.generations[generation], {
      storedTxId: null,
      missing: [],
      snapshot: true,
    });
    assert.equal(settled(replicas, { isPending: true }).later.generations[generation]?.snapshot, false);
  });

  test("for nothing of a generation that begins with a bridge from a point that is there", () => {
    const { later } = settled([holdingsOf([history, [2], [[2, 6]]], [child, [], [[6, 9]]])]);

    assert.deepEqual(later.generations[child.generation], { storedTxId: 9n, missing: [], snapshot: false });
    assert.equal(later.newestEpoch, 2);
  });

  test("for nothing of a generation that has nothing yet, and begins at a point that is there", () => {
    const empty = historyOf("c3", "", {
      ...child.begin,
      ...historyOf("c3").begin,
      epoch: 2,
      parent: child.begin.parent,
      parentStateHash: history.stateHash(6),
    });
    const unsaid = historyOf("c3", "", { epoch: 2, parent: child.begin.parent });
    const needed = (begun: History, last: number) =>
      settled([holdingsOf([history, [2], [[2, last]]], [begun, [], []])]).later.generations[begun.generation];

    assert.deepEqual(needed(empty, 6), { storedTxId: 6n, missing: [], snapshot: false });
    // The point is gone, or was never there.
    assert.deepEqual(needed(empty, 5), { storedTxId: null, missing: [], snapshot: true });
    assert.deepEqual(needed(empty, 8), { storedTxId: null, missing: [], snapshot: true });
    assert.deepEqual(needed(unsaid, 6), { storedTxId: null, missing: [], snapshot: true });
    // What was lost of it is missed from the point on.
    const lost = settled([holdingsOf([history, [2], [[2, 6]]], [empty, [], [[8, 9]]])]).later;
    assert.deepEqual(lost.generations[empty.generation], {
      storedTxId: 6n,
      missing: [[6n, 8n]],
      snapshot: false,
    });
  });

  test("for a snapshot where the bridge begins inside a merged range, which is no point", () => {
    const { later } = settled([holdingsOf([history, [2], [[2, 8]]], [child, [], [[6, 9]]])]);

    assert.deepEqual(later.generations[child.generation], { storedTxId: null, missing: [], snapshot: true });
  });

  test("for a snapshot where the bridge's other end is missing", () => {
    const { later } = settled([holdingsOf([history, [2], [[2, 5]]], [child, [], [[6, 9]]])]);

    assert.deepEqual(later.generations[child.generation], { storedTxId: null, missing: [], snapshot: true });
  });
});

suite("where snapshots are built out of the archive, an agent", () => {
  const hourMs = 3_600_000;
  // Transaction n is n seconds after the first: snapshots at 4 and 20,000, the newest commit at 50,000.
  const holdings = holdingsOf([history, [4, 20_000], [[4, 50_000]]]);

  test("is told so, and asked for none as long as one was built in time", () => {
    const { later } = settled([holdings], { snapshotIntervalMs: 6 * hourMs });
    assert.equal(later.buildsSnapshots, true);
    assert.equal(later.generations[generation]?.snapshot, false);
    assert.equal(settled([holdings]).later.buildsSnapshots, undefined);
  });

  test("is asked for one when none was built for twice the time, on no replica", () => {
    const wanted = (...all: readonly Holdings[]) =>
      settled(all, { snapshotIntervalMs: 4 * hourMs }).later.generations[generation]?.snapshot;
    const newer = holdingsOf([history, [4, 40_000], [[4, 50_000]]]);
    assert.equal(wanted(holdings), true);
    assert.equal(wanted(holdings, newer), false);
  });
});
