import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseDatabaseName } from "@pageferry/format";
import { parseOpenMetrics } from "../testing/open-metrics.ts";
import { unknownDatabase, unknownReplica } from "../testing/unknown-status.ts";
import { createMetrics, type MetricsSources } from "./metrics.ts";
import type { DatabaseStatus } from "./status.ts";
import type { ReplicaStatus } from "./status-replica.ts";

const replica = 'file:///mnt/"odd"\\name';

const unknown: ReplicaStatus = { ...unknownReplica, name: replica };

function sourcesOf(status: Partial<ReplicaStatus>, more: Partial<MetricsSources> = {}): MetricsSources {
  return {
    databases: async () => [parseDatabaseName("app")],
    standing: (name) =>
      ({
        ...{ name, txid: null, lagMs: null, lastHeard: null, parted: null, waiting: 0 },
        replicas: [{ ...unknown, ...status }],
      }) as unknown as DatabaseStatus,
    gaps: () => 0,
    storedBytes: () => undefined,
    queueBytes: () => 0,
    alarms: () => [],
    ...more,
  };
}

const open = () => createMetrics({ version: "1.2.3", startedAtMs: 0 });

suite("metrics", () => {
  test("have no sample of what is not known: a 0 would be a lie", async () => {
    const { body } = await open().text(sourcesOf({}));

    const { samples } = parseOpenMetrics(body);
    assert.ok(samples.every(({ name }) => !/txid|lag|last_|stored/.test(name)));
  });

  test("carry any replica's name whole, and what is known of it", async () => {
    const sources = sourcesOf({
      ...{ txid: "00000000000000ff", lagMs: 1500 },
      verified: { verdict: "FOUND", generation: "a1", txid: "ff", time: "1970-01-01T00:00:07.000Z" },
    });

    const { sampleOf } = parseOpenMetrics((await open().text(sources)).body);

    const labels = { database: "app", replica };
    assert.equal(sampleOf("pageferry_replica_txid", labels), 255);
    assert.equal(sampleOf("pageferry_replica_lag_seconds", labels), 1.5);
    assert.equal(sampleOf("pageferry_replica_last_verified_timestamp_seconds", labels), 7);
  });

  test("tell when an agent was heard of, but not of a database that was let go on purpose", async () => {
    const parting = { since: "1970-01-01T00:00:09.000Z", by: "x", reason: "unregistered" };
    const heard = async (parted: DatabaseStatus["parted"]) => {
      const standing = (name: string) =>
        ({ ...unknownDatabase, name, lastHeard: "1970-01-01T00:00:09.000Z", parted }) as DatabaseStatus;
      const { body } = await open().text(sourcesOf({}, { standing }));
      return parseOpenMetrics(body).sampleOf("pageferry_last_heard_timestamp_seconds", { database: "app" });
    };

    assert.deepEqual([await heard(null), await heard(parting)], [9, undefined]);
  });

  test("cost one look at the databases however many ask at once", async () => {
    let looks = 0;
    const databases = async () => {
      looks += 1;
      return [];
    };
    const metrics = open();

    const texts = await Promise.all([1, 2, 3].map(() => metrics.text(sourcesOf({}, { databases }))));

    assert.deepEqual([looks, new Set(texts).size], [1, 1]);
  });
});
