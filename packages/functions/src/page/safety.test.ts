import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { unknownDatabase, unknownReplica } from "../../testing/unknown-status.ts";
import { ailmentOf } from "../healthy.ts";
import type { AlarmStatus, DatabaseStatus } from "../status.ts";
import type { ReplicaStatus } from "../status-replica.ts";
import { judgeAll, standingOf, verdictOf } from "./safety.ts";

const nowMs = Date.parse("2026-01-02T03:04:05Z");
const options = { nowMs, lagMsMax: 60_000 };

function replica(name: string, more: Partial<ReplicaStatus> = {}): ReplicaStatus {
  const counts = { waiting: 0, waitingBytes: 0, deadLetters: 0, quarantined: 0, failures: 0 };
  const sound = { breaker: "closed", error: null, needsRepair: false, verified: null } as const;
  return { ...unknownReplica, name, txid: "0000000000000007", lagMs: 0, ...counts, ...sound, ...more };
}

function database(name: string, more: Partial<DatabaseStatus> = {}): DatabaseStatus {
  return {
    ...unknownDatabase,
    ...{ name, generation: "a100000000000000", host: "vm", epoch: 1, txid: "0000000000000007" },
    ...{
      time: new Date(nowMs).toISOString(),
      lastHeard: new Date(nowMs).toISOString(),
      lagMs: 0,
      waiting: 0,
    },
    ...{ replicas: [replica("a"), replica("b")], alarms: [] },
    ...more,
  };
}

const alarm = (code: string, more: Partial<AlarmStatus> = {}): AlarmStatus => ({
  ...{ code, message: `${code} happened`, hint: "Do this.", since: new Date(nowMs).toISOString() },
  ...more,
});

const levelOf = (more: Partial<DatabaseStatus>) => standingOf(database("app", more), options).level;

suite("a database", () => {
  test("is safe when its agent is heard of and every replica has everything", () => {
    assert.deepEqual(standingOf(database("app"), options), {
      level: "safe",
      what: "all 2 replicas lag less than 5 s",
    });
  });

  test("is said to be safe in words that do not change with each commit", () => {
    const said = [0, 200, 1200, 4999].map(
      (lagMs) => standingOf(database("app", { replicas: [replica("a", { lagMs })] }), options).what,
    );

    assert.deepEqual(new Set(said), new Set(["its replica lags less than 5 s"]));
  });

  test("is not safe when its agent is not heard of, or never was, or it has no replica", () => {
    assert.equal(levelOf({ lastHeard: new Date(nowMs - 61_000).toISOString() }), "unsafe");
    assert.equal(levelOf({ lastHeard: null }), "unsafe");
    assert.equal(levelOf({ replicas: [] }), "unsafe");
  });

  test("that was let go on purpose is neither safe nor unsafe, unless what it has does not hold", () => {
    const lastHeard = new Date(nowMs - 86_400_000).toISOString();
    const parted = { since: lastHeard, by: "pageferry unregister on vm", reason: "unregistered" };
    const { level, what } = standingOf(database("app", { lastHeard, parted }), options);

    assert.equal(level, "ended");
    assert.equal(
      what,
      "it is no longer backed up, since 2026-01-01 03:04:05 UTC, by pageferry unregister on vm; its backups stay",
    );
    assert.equal(levelOf({ lastHeard, parted, alarms: [alarm("verify", { database: "app" })] }), "unsafe");
    assert.equal(levelOf({ lastHeard, parted, replicas: [replica("a", { lagMs: 90_000 })] }), "unsafe");
    assert.equal(levelOf({ lastHeard, parted, replicas: [replica("a", { lagMs: null })] }), "unknown");
  });

  test("is not safe when no replica has its last commits, and needs a look when one has", () => {
    const late = replica("a", { lagMs: 90_000 });

    assert.equal(levelOf({ replicas: [late, { ...late, name: "b" }] }), "unsafe");
    assert.equal(levelOf({ replicas: [late, replica("b")] }), "look");
  });

  test("is not safe when a restore was tried and did not hold, and needs a look when it was late", () => {
    const tried = (verdict: "LATE" | "CORRUPT") => ({
      replicas: [
        replica("a", {
          verified: { verdict, generation: "a1", txid: "07", time: new Date(nowMs).toISOString() },
        }),
      ],
    });

    assert.equal(levelOf(tried("CORRUPT")), "unsafe");
    assert.equal(levelOf(tried("LATE")), "look");
  });

  test("says an alarm of its own with what to do, and leaves those of the host to the host", () => {
    const own = standingOf(database("app", { alarms: [alarm("gap", { database: "app" })] }), options);

    assert.deepEqual(own, { level: "unsafe", what: "gap happened", todo: "Do this." });
    assert.equal(levelOf({ alarms: [alarm("growth", { database: "app" })] }), "look");
    assert.equal(levelOf({ alarms: [alarm("webhook")] }), "safe");
  });

  test("is not known, rather than safe, while a replica was not looked at", () => {
    assert.equal(levelOf({ replicas: [replica("a"), replica("b", { lagMs: null })] }), "unknown");
  });

  test("needs a look when messages were set aside, or a replica needs repair", () => {
    assert.equal(levelOf({ replicas: [replica("a", { deadLetters: 2 })] }), "look");
    assert.equal(levelOf({ replicas: [replica("a", { needsRepair: true })] }), "look");
  });

  test("is never called safe where its heartbeat would not be sent because of itself", () => {
    const lag = fc.option(fc.integer({ min: 0, max: 200_000 }));
    const made = fc.record({
      lags: fc.array(lag, { maxLength: 3 }),
      heardMs: fc.option(fc.integer({ min: 0, max: 120_000 })),
      codes: fc.array(fc.constantFrom("gap", "lag", "growth", "behind", "silent", "fork"), { maxLength: 2 }),
    });
    fc.assert(
      fc.property(made, ({ lags, heardMs, codes }) => {
        const status = database("app", {
          replicas: lags.map((lagMs, at) => replica(`r${at}`, { lagMs })),
          lastHeard: heardMs === null ? null : new Date(nowMs - heardMs).toISOString(),
          alarms: codes.map((code) => alarm(code, { database: "app" })),
        });
        const { level } = standingOf(status, options);

        if (level === "safe") assert.equal(ailmentOf({ ...status, alarms: [] }, options), undefined);
        if (codes.some((code) => code === "gap" || code === "fork")) assert.equal(level, "unsafe");
      }),
    );
  });
});

suite("the sentence at the top", () => {
  const judge = (...all: DatabaseStatus[]) => judgeAll(all, options);

  test("says that everything is safe only when everything is", () => {
    const verdict = verdictOf(judge(database("a"), database("b")), []);

    assert.deepEqual(verdict, {
      level: "safe",
      sentence: "Everything is safe: all 2 databases.",
      because: "No replica lags by 5 s.",
    });
  });

  test("does not count what was let go on purpose, and says so where nothing else is there", () => {
    const parted = { since: new Date(nowMs).toISOString(), by: "x", reason: "unregistered" };
    const gone = database("gone", { parted });

    const verdict = verdictOf(judge(gone, database("a"), database("b")), []);
    const alone = verdictOf(judge(gone), []);

    assert.equal(verdict.sentence, "Everything is safe: all 2 databases.");
    assert.deepEqual([alone.level, alone.sentence], ["unknown", "No database is backed up here any more."]);
    assert.match(alone.because ?? "", /^gone: it is no longer backed up, since /);
  });

  test("names the worst first, with what to do", () => {
    const all = judge(
      database("fine"),
      database("zoo", { alarms: [alarm("gap", { database: "zoo" })] }),
      database("old", { alarms: [alarm("growth", { database: "old" })] }),
    );

    const verdict = verdictOf(all, []);

    assert.deepEqual(
      all.map(({ status }) => status.name),
      ["zoo", "old", "fine"],
    );
    assert.equal(verdict.sentence, "1 of 3 databases is not safe.");
    assert.equal(verdict.because, "zoo: gap happened");
    assert.equal(verdict.todo, "Do this.");
  });

  test("tells what ails the host though each database is well", () => {
    const verdict = verdictOf(judge(database("a")), [alarm("queue")]);

    assert.equal(verdict.level, "unsafe");
    assert.equal(verdict.because, "queue happened");
  });

  test("says that all is on one disk instead of that all is safe, and nothing less than what is wrong", () => {
    const caution = { sentence: "Not off this machine yet.", because: "One disk.", todo: "Add one." };

    assert.deepEqual(verdictOf(judge(database("a")), [], caution), { level: "look", ...caution });
    assert.equal(verdictOf(judge(database("a", { lastHeard: null })), [], caution).level, "unsafe");
  });

  test("says how to begin where there is nothing", () => {
    assert.match(verdictOf([], []).todo ?? "", /pageferry up/);
  });
});
