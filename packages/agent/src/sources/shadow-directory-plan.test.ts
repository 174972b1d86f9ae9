import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type Generation, parseGeneration, txId } from "@pageferry/format";
import type { ListedSnapshot } from "./shadow-directory-listing.ts";
import {
  type Candidate,
  decideJump,
  decideSegment,
  type JumpFacts,
  trimSnapshot,
} from "./shadow-directory-plan.ts";

const [a, b, c] = ["a", "b", "c"].map((letter) => parseGeneration(letter.repeat(16))) as [
  Generation,
  Generation,
  Generation,
];

function candidate(generation: Generation, changes: Partial<Candidate> = {}): Candidate {
  return {
    generation,
    post: 1n,
    isOwn: false,
    ageMs: 60_000,
    goesOn: false,
    snapshot: undefined,
    ...changes,
  };
}

suite("the next transaction", () => {
  const cases: [string, Candidate[], ReturnType<typeof decideSegment>][] = [
    ["is waited for where nobody has it", [], { kind: "none" }],
    ["does not follow: it is not taken", [candidate(a, { isOwn: true, post: undefined })], { kind: "none" }],
    [
      "is taken from the generation that we are in, whatever others say",
      [candidate(b, { post: 2n, snapshot: 2n }), candidate(a, { isOwn: true, ageMs: 0 })],
      { kind: "take", generation: a },
    ],
    [
      "is taken from another one whose snapshot agrees",
      [candidate(b, { ageMs: 0, snapshot: 1n })],
      { kind: "take", generation: b },
    ],
    [
      "waits for a snapshot to be read",
      [candidate(b, { snapshot: "unread" })],
      { kind: "read", generation: b },
    ],
    [
      "waits for a snapshot that is being written",
      [candidate(b, { snapshot: "unfinished" })],
      { kind: "wait" },
    ],
    ["is another's where the snapshot differs", [candidate(b, { snapshot: 2n })], { kind: "none" }],
    [
      "is not taken at once from a generation that may be a new process",
      [candidate(b, { ageMs: 500 })],
      { kind: "wait" },
    ],
    ["is taken when no snapshot came", [candidate(b, { ageMs: 2000 })], { kind: "take", generation: b }],
    [
      "is taken when the process went on without a snapshot",
      [candidate(b, { ageMs: 0, goesOn: true })],
      { kind: "take", generation: b },
    ],
    [
      "is taken from either of two that are the same",
      [candidate(b), candidate(c)],
      { kind: "take", generation: b },
    ],
    ["is not taken from two that differ", [candidate(b), candidate(c, { post: 2n })], { kind: "none" }],
  ];
  for (const [what, candidates, decision] of cases) {
    test(what, () => assert.deepEqual(decideSegment(candidates), decision));
  }
});

const nowMs = 1_000_000_000;

function snapshot(generation: Generation, id: number, createdAtMs = nowMs - 60_000): ListedSnapshot {
  return { generation, txId: txId(id), createdAtMs, path: `${generation}/${id}` };
}

suite("where no segment leads on", () => {
  const jump = (changes: Partial<JumpFacts>) => {
    const found = decideJump({
      position: { txId: txId(50), stampMs: nowMs - 100_000 },
      snapshots: [],
      isOurs: (generation) => generation === a,
      isPassed: () => false,
      nowMs,
      ...changes,
    });
    return found && `${found.seam} ${found.snapshot.path}`;
  };

  test("a history begins with the earliest snapshot", () => {
    const snapshots = [snapshot(b, 9, 2000), snapshot(a, 3, 1000)];
    assert.equal(jump({ position: null, snapshots }), `first ${a}/3`);
  });

  test("a later snapshot of one of our generations goes on with our history", () => {
    assert.equal(jump({ snapshots: [snapshot(a, 60)] }), `same ${a}/60`);
  });

  test("a later snapshot of another one is another history", () => {
    assert.equal(jump({ snapshots: [snapshot(b, 60)] }), `unprovable ${b}/60`);
  });

  test("a snapshot made later of an earlier transaction is another database", () => {
    assert.equal(jump({ snapshots: [snapshot(b, 40)] }), `replaced ${b}/40`);
    assert.equal(jump({ snapshots: [snapshot(b, 40, nowMs - 200_000)] }), undefined);
    assert.equal(jump({ snapshots: [snapshot(a, 40)] }), undefined);
  });

  test("the earliest is gone on from first", () => {
    const snapshots = [snapshot(a, 90, nowMs - 10_000), snapshot(b, 60, nowMs - 20_000)];
    assert.equal(jump({ snapshots }), `unprovable ${b}/60`);
  });

  test("one that was just made is waited with, in case the transaction comes late", () => {
    assert.equal(jump({ snapshots: [snapshot(a, 60, nowMs - 4000)] }), undefined);
  });

  test("one that is not sound is passed over", () => {
    const snapshots = [snapshot(a, 60), snapshot(a, 70, nowMs - 30_000)];
    assert.equal(jump({ snapshots, isPassed: ({ txId: id }) => id === 60n }), `same ${a}/70`);
  });
});

test("trimmed is below the newest of our snapshots that is not above what is stored", () => {
  const snapshots = [snapshot(a, 20), snapshot(a, 40), snapshot(b, 45), snapshot(a, 60)];
  const isOurs = (generation: Generation) => generation === a;
  assert.equal(trimSnapshot(snapshots, txId(59), isOurs)?.path, `${a}/40`);
  assert.equal(trimSnapshot(snapshots, txId(60), isOurs)?.path, `${a}/60`);
  assert.equal(trimSnapshot(snapshots, txId(19), isOurs), undefined);
});
