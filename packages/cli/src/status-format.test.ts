import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { AnswerOf, databasesRoute } from "@pageferry/functions/routes";
import { formatStatus } from "./status-format.ts";

type Replica = AnswerOf<typeof databasesRoute>["databases"][number]["replicas"][number];

const replica: Replica = {
  ...{ name: "s3://b", txid: "1", time: null, lagMs: 0, waiting: 0, waitingBytes: 0, deadLetters: 0 },
  ...{ quarantined: 0, breaker: "closed", failures: 0, error: null, needsRepair: false, verified: null },
  ...{ lagTransactions: 0, gaps: [], gapCount: 0, lanes: [], snapshot: null, compaction: null },
  ...{ prune: null, repair: null, storage: null, month: null, restore: null },
};

const known = {
  ...{ name: "app", generation: null, host: null, epoch: null, txid: "1", time: null, lastHeard: null },
  ...{ queued: null, lagMs: 0, lagTransactions: 0, gaps: [], gapCount: 0, waiting: 0, alarms: [] },
  ...{ generations: [], generationCount: 0 },
};

const nowMs = Date.parse("2026-01-02T06:04:06.000Z");

const lastLine = (more: Partial<Replica>): string => {
  const answer = { databases: [{ ...known, replicas: [{ ...replica, ...more }] }], alarms: [] };
  return formatStatus(answer, { nowMs }).trimEnd().split("\n").at(-1) ?? "";
};

suite("a database in the status", () => {
  test("that was let go on purpose has a line that says since when, and by whom", () => {
    const parted = {
      since: "2026-01-02T03:04:06.000Z",
      by: "pageferry unregister on vm",
      reason: "unregistered",
    };
    for (const columns of [undefined, 40]) {
      const databases = [{ ...known, parted, replicas: [replica] }];
      assert.match(
        formatStatus({ databases, alarms: [] }, { nowMs, columns }),
        /^app is no longer backed up, since 2026-01-02T03:04:06\.000Z, by pageferry unregister on vm; its backups stay$/m,
      );
    }
    assert.doesNotMatch(lastLine({}), /no longer/);
  });
});

suite("a replica in the status", () => {
  test("is ok, or away, or being asked, as its circuit breaker has it", () => {
    assert.match(lastLine({ breaker: "closed" }), /- +ok$/);
    assert.match(lastLine({ breaker: "open" }), /- +away$/);
    assert.match(lastLine({ breaker: "half-open" }), /- +being asked$/);
  });

  test("tells what else is to be done about it", () => {
    const line = lastLine({
      breaker: "open",
      needsRepair: true,
      deadLetters: 3,
      waiting: 2,
      waitingBytes: 2048,
    });

    assert.match(line, /2 \(2\.0 KiB\)( +-){5} +away, needs repair, 3 set aside$/);
  });

  test("tells what was verified last, and its verdict where it is not FOUND", () => {
    const verified = { generation: "a1", txid: "7", time: "2026-01-02T03:04:05.000Z" };

    assert.match(lastLine({ verified: { ...verified, verdict: "FOUND" } }), / 3h ago( +-){3} +ok$/);
    assert.match(lastLine({ verified: { ...verified, verdict: "CORRUPT" } }), /CORRUPT 3h ago/);
  });
});

const full: Replica = {
  ...replica,
  ...{
    txid: "00000000000004d0",
    lagMs: 2300,
    lagTransactions: 2,
    waiting: 2,
    waitingBytes: 2048,
    gapCount: 1,
  },
  snapshot: { txid: "00000000000004c0", time: "2026-01-02T05:59:05.000Z", bytes: 12_582_912 },
  verified: {
    verdict: "FOUND",
    generation: "a1",
    txid: "00000000000004c0",
    time: "2026-01-02T03:04:05.000Z",
  },
  compaction: { time: "2026-01-02T06:04:05.000Z", objects: 10, bytes: 0 },
  storage: { bytes: 50_000_000, objects: 1204, amplification: 3.97, kinds: {} },
  month: { requests: 12_345, usd: 0.4123 },
  restore: { ms: 2345, bytes: 13_000_000, objects: 14 },
};
const database = {
  ...known,
  ...{ name: "app", txid: "00000000000004d2", time: "2026-01-02T06:04:00.000Z", replicas: [full, replica] },
  ...{ gaps: [{ from: "00000000000004c1", to: "00000000000004c4" }], gapCount: 2 },
};

suite("the status", () => {
  test("is a table where that fits", () => {
    const text = formatStatus({ databases: [database], alarms: [] }, { nowMs });

    const [head = "", first = "", second = "", gap] = text.split("\n");
    assert.match(
      head,
      /^DATABASE +NEWEST +COMMITTED +REPLICA +STORED +LAG +WAITING +SNAPSHOT +VERIFIED +SIZE +MONTH/,
    );
    assert.match(
      first,
      /2\.3s \(2 tx\) +2 \(2\.0 KiB\) +12\.0 MiB, 5m ago +3h ago +47\.7 MiB \(3\.97 x\) +\$0\.41 /,
    );
    assert.match(first, / about 2\.3s +1 gap$/);
    assert.match(second, /^ +s3:\/\/b +1 +0s( +-){6} +ok$/);
    assert.equal(gap, "gap in app: no replica has (00000000000004c1, 00000000000004c4], and 1 more");
  });

  test("is a paragraph for each replica in 80 columns, none of its own lines longer", () => {
    const text = formatStatus({ databases: [database], alarms: [] }, { nowMs, columns: 80 });

    assert.ok(
      text.split("\n").every((line) => line.length <= 80),
      text,
    );
    assert.match(text, /^app: 00000000000004d2, committed 6s ago\ngap in app: /);
    assert.match(text, /\n {2}s3:\/\/b: 1 gap\n {4}stored {4}00000000000004d0, lag 2\.3s \(2 tx\)\n/);
    assert.match(text, /\n {4}upkeep {4}merged 1s ago\n/);
    assert.match(text, /\n {4}month {5}\$0\.41, 12345 requests\n/);
    assert.match(text, /\n {2}s3:\/\/b: ok\n {4}stored {4}1, lag 0s\n$/);
    assert.match(text, /\n {4}restore {3}about 2\.3s: 12\.4 MiB in 14 objects\n/);
  });

  test("names the histories where there are several, and counts those that are left out", () => {
    const generations = ["c3", "b2", "a1", "a0"].map((name, index) => ({
      ...{
        generation: name.repeat(8),
        reason: index === 3 ? "first" : "restored",
        epoch: 4 - index,
        host: `h${index}`,
      },
      ...{ begun: "2026-01-02T06:04:00.000Z", txid: index === 1 ? null : "00000000000004d0" },
      parent: index === 3 ? null : { generation: "a0".repeat(8), txid: "0000000000000007" },
    }));
    const text = (columns?: number) =>
      formatStatus(
        { databases: [{ ...database, generations, generationCount: 4 }], alarms: [] },
        { nowMs, columns },
      );

    for (const columns of [undefined, 80]) {
      assert.match(
        text(columns),
        /\n {2}c3c3c3c3c3c3c3c3 by h0, 6s ago: restored; up to 00000000000004d0\n {4}after 0000000000000007 of a0a0a0a0a0a0a0a0\n/,
      );
      assert.match(text(columns), /\n {2}b2b2b2b2b2b2b2b2 by h1, .*; nothing of it can be restored\n/);
      assert.match(text(columns), /^app has 4 histories, newest first:\n/m);
      assert.match(text(columns), /\n {2}and 1 older\n/);
    }
    assert.doesNotMatch(formatStatus({ databases: [database], alarms: [] }, { nowMs }), /histories/);
  });
});
