import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type ErrorCode, PageferryError } from "@pageferry/format";
import {
  backoffMs,
  errorLine,
  type Outcome,
  outcomeOf,
  settleFanout,
  settleLane,
  worstOf,
} from "./settle.ts";

const error = (code: ErrorCode) => new PageferryError(code, "what happened");
const done: Outcome = { kind: "done" };
const quarantined: Outcome = { kind: "done", isStored: false };
const retry: Outcome = { kind: "retry", error: error("unavailable") };
const dead: Outcome = { kind: "dead", error: error("corrupt") };
const outcomes = (byLane: Record<string, Outcome>) => new Map(Object.entries(byLane));

suite("an error met in a message's items is the fault", () => {
  const faults: readonly (readonly [ErrorCode, Outcome["kind"]])[] = [
    ["unavailable", "retry"],
    ["disk-full", "retry"],
    ["corrupt", "dead"],
    ["bad-name", "dead"],
    ["too-large", "dead"],
    ["not-found", "dead"],
    ["unsupported-version", "dead"],
  ];
  for (const [code, kind] of faults) {
    test(`of ${kind === "retry" ? "the moment" : "the message"} when it is ${code}`, () => {
      assert.equal(outcomeOf(error(code)).kind, kind);
    });
  }

  test("of nobody known when it is unforeseen, which may pass", () => {
    assert.equal(outcomeOf(new TypeError("x is not a function")).kind, "retry");
  });
});

suite("a message after fan-out", () => {
  test("is done when every replica took it", () => {
    assert.deepEqual(settleFanout(7, outcomes({ a: done, b: done })), { id: 7, kind: "done" });
  });

  test("goes on in the lane of each replica that did not, alive or dead, and in no other", () => {
    assert.deepEqual(settleFanout(7, outcomes({ a: done, b: retry, c: dead })), {
      id: 7,
      kind: "done",
      onward: [
        { lane: "b", dead: false, error: "unavailable: what happened" },
        { lane: "c", dead: true, error: "corrupt: what happened" },
      ],
      isStored: true,
    });
  });

  test("is stored nowhere when no replica took it", () => {
    const settled = settleFanout(7, outcomes({ a: retry, b: dead }));

    assert.equal(settled.kind === "done" && settled.isStored, false);
  });
});

suite("a message that went to quarantine", () => {
  test("is not stored by that replica, in fan-out or in its lane: the other lanes keep theirs", () => {
    const settled = settleFanout(7, outcomes({ a: quarantined, b: retry }));

    assert.deepEqual(settled.kind === "done" && [settled.onward?.map(({ lane }) => lane), settled.isStored], [
      ["b"],
      false,
    ]);
    assert.deepEqual(settleLane(7, 1, quarantined, 5), { id: 7, kind: "done", isStored: false });
  });

  test("is stored when another replica has all of it", () => {
    const settled = settleFanout(7, outcomes({ a: quarantined, b: retry, c: done }));

    assert.equal(settled.kind === "done" && settled.isStored, true);
  });
});

suite("a message after a turn in its lane", () => {
  test("is tried again for as long as it is the replica's fault", () => {
    assert.equal(settleLane(7, 1000, retry, 5).kind, "retry");
  });

  test("is dead when it is its own fault, at once, and when what it meets is unforeseen, after ten turns", () => {
    const strange: Outcome = { kind: "retry", error: new TypeError("x") };

    assert.equal(settleLane(7, 1, dead, 5).kind, "dead");
    assert.equal(settleLane(7, 9, strange, 5).kind, "retry");
    assert.equal(settleLane(7, 10, strange, 5).kind, "dead");
    assert.deepEqual(settleLane(7, 1, done, 5), { id: 7, kind: "done", isStored: true });
  });
});

test("of several items the replica's fault counts first, then the message's", () => {
  assert.equal(worstOf([done, dead, retry]).kind, "retry");
  assert.equal(worstOf([done, dead]).kind, "dead");
  assert.deepEqual(worstOf([done, quarantined]), quarantined);
  assert.equal(worstOf([]).kind, "done");
});

test("waits double from a second to a minute, and no two replicas keep step", () => {
  assert.deepEqual(
    [1, 2, 3, 6, 7, 50].map((failures) => backoffMs(failures, 1)),
    [1000, 2000, 4000, 32_000, 60_000, 60_000],
  );
  assert.equal(backoffMs(1, 0), 500);
});

test("an error's line has no stack and an end", () => {
  assert.equal(errorLine(new Error("x".repeat(5000))).length, 1000);
  assert.equal(errorLine("text"), "unexpected: text");
});
