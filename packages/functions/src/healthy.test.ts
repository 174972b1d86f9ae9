import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { unknownDatabase, unknownReplica } from "../testing/unknown-status.ts";
import { ailmentOf } from "./healthy.ts";
import type { AlarmStatus, DatabaseStatus } from "./status.ts";
import type { ReplicaStatus } from "./status-replica.ts";

const nowMs = Date.UTC(2026, 0, 2, 3, 4, 5);
const ago = (ms: number) => new Date(nowMs - ms).toISOString();

const replica: ReplicaStatus = {
  ...unknownReplica,
  ...{ txid: "0000000000000005", time: ago(9000), lagMs: 0, lagTransactions: 0 },
};
const well: DatabaseStatus = {
  ...unknownDatabase,
  ...{ generation: "a1".padEnd(16, "0"), host: "host", epoch: 1 },
  ...{ txid: "0000000000000005", time: ago(9000), lastHeard: ago(9000), lagMs: 0, replicas: [replica] },
};
const alarm = (code: string, more: Partial<AlarmStatus> = {}): AlarmStatus => ({
  ...{ code, message: "", hint: "", since: ago(0) },
  ...more,
});

suite("a database is healthy", () => {
  const cases: readonly (readonly [string, Partial<DatabaseStatus>, RegExp | undefined])[] = [
    ["when all is there", {}, undefined],
    ["when a replica lags within the threshold", { replicas: [{ ...replica, lagMs: 30_000 }] }, undefined],
    ["when it was heard of a minute ago", { lastHeard: ago(60_000) }, undefined],
    ["not when its agent was not heard of since", { lastHeard: ago(60_001) }, /not heard/],
    ["not when its agent was never heard of", { lastHeard: null }, /not heard/],
    ["not when it was heard of at no time that can be read", { lastHeard: "soon" }, /not heard/],
    ["not when one replica of two lags", { replicas: [replica, { ...replica, lagMs: 30_001 }] }, /lags/],
    ["not when it is unknown how a replica stands", { replicas: [{ ...replica, lagMs: null }] }, /not known/],
    ["not without a replica", { replicas: [] }, /no replica/],
    ["not when it has an alarm", { alarms: [alarm("gap", { database: "app" })] }, /alarm gap/],
    [
      "not when a replica of it has an alarm",
      { alarms: [alarm("dead-letter", { database: "app", replica: "a" })] },
      /alarm dead-letter/,
    ],
    [
      "not when a replica of all is away",
      { alarms: [alarm("unavailable", { replica: "a" })] },
      /unavailable/,
    ],
    ["not when the queue fails", { alarms: [alarm("queue")] }, /alarm queue/],
    [
      "when what is wrong is not about it",
      { alarms: [alarm("webhook"), alarm("retained", { replica: "a" })] },
      undefined,
    ],
  ];
  for (const [name, more, expected] of cases) {
    test(name, () => {
      const ailment = ailmentOf({ ...well, ...more }, { nowMs, lagMsMax: 30_000 });

      if (expected === undefined) assert.equal(ailment, undefined);
      else assert.match(ailment ?? "", expected);
    });
  }
});
