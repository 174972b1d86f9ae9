import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { errorTable } from "@pageferry/format";
import type { ReplicaVerdict, VerifyReport } from "@pageferry/functions";
import { failureOf, formatVerify } from "./verify-format.ts";

const row = (verdict: ReplicaVerdict["verdict"], more: Partial<ReplicaVerdict> = {}): ReplicaVerdict => ({
  ...{ replica: "s3://b", verdict, newest: null, points: [], problems: [], problemCount: 0 },
  ...{ restorable: 5, lost: 0, lostRanges: [], objects: null, bytesRead: 0, error: null, warnings: [] },
  ...more,
});

const report = (replicas: readonly ReplicaVerdict[], isSound = false): VerifyReport => ({
  ...{ database: "app", depth: "drill", isSound, replicas, unlisted: [], next: null },
});

suite("the end of a verification", () => {
  test("is a failure by the worst verdict, with an exit code of its own", () => {
    const exitOf = (...verdicts: ReplicaVerdict["verdict"][]): number | undefined => {
      const failure = failureOf([report(verdicts.map((verdict) => row(verdict)))]);
      return failure && errorTable[failure.code].exitCode;
    };

    assert.equal(failureOf([report([row("FOUND")], true)]), undefined);
    assert.deepEqual(
      [exitOf("FOUND", "LATE"), exitOf("LATE", "LOST"), exitOf("LOST", "CORRUPT"), exitOf("CORRUPT", "FORK")],
      [9, 7, 4, 5],
    );
    assert.equal(exitOf(null, "FOUND"), 9);
  });

  test("names what is broken, and what remains", () => {
    const problem = { verdict: "CORRUPT", object: "a1/x", why: "corrupt: checksum" } as const;
    const lost = { lost: 2, lostRanges: [{ generation: "a1", from: "06", to: "07", points: 2 }] };
    const text = formatVerify([report([row("CORRUPT", { problems: [problem], problemCount: 1, ...lost })])]);

    assert.match(text, /s3:\/\/b +CORRUPT.*1 problem\n/);
    assert.match(text, /CORRUPT: a1\/x: corrupt: checksum\n {2}5 points remain.*06 to 07/);
  });
});
