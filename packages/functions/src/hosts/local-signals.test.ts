import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { txId } from "@pageferry/format";
import { epochMs, historyOf } from "../../testing/history.ts";
import { parseOpenMetrics } from "../../testing/open-metrics.ts";
import { openReceiver } from "../../testing/receiver.ts";
import { type LocalHost, type LocalHostConfig, localHost } from "./local.ts";

const history = historyOf("a1");

async function open(t: TestContext, more: Partial<LocalHostConfig> = {}) {
  const dataDir = await mkdtemp(join(tmpdir(), "pageferry-signals-"));
  t.after(() => rm(dataDir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }));
  const listen = { host: "127.0.0.1", port: 0 };
  const host = await localHost({ dataDir, listen, ...more }, { settleMs: 50 });
  t.after(() => host.close());
  return { host, replica: `file://${dataDir}/replica` };
}

function scrape(host: LocalHost, authorization = `Bearer ${host.token}`): Promise<Response> {
  return fetch(`${host.url}/metrics`, { headers: { authorization } });
}

const metricsOf = async (host: LocalHost) => parseOpenMetrics(await (await scrape(host)).text());

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 30_000; !(await condition()); await sleep(50)) {
    assert.ok(Date.now() < end, "it did not come in time");
  }
}

suite("the metrics of a host", () => {
  test("are OpenMetrics, for those who have its token", async (t) => {
    const { host } = await open(t);

    const answer = await scrape(host);

    assert.equal(answer.status, 200);
    assert.match(answer.headers.get("content-type") ?? "", /^application\/openmetrics-text; version=1\.0\.0/);
    assert.equal(parseOpenMetrics(await answer.text()).sampleOf("pageferry_build_info"), 1);
    assert.equal((await scrape(host, "Bearer nobody")).status, 401);
  });

  test("show what is stored, what waits, and what was done", async (t) => {
    const { host } = await open(t);
    const newest = { newestTxId: txId(6), newestStampMs: epochMs };
    const envelope = history.envelope([history.snapshot(4), history.segment(4, 6)], newest);
    await host.queue.send(envelope);
    await assert.rejects(host.queue.send(Uint8Array.of(1, 2, 3)), { code: "corrupt" });
    await until(async () => (await host.status("app")).replicas[0]?.txid === "0000000000000006");
    await until(async () => {
      const { sampleOf } = await metricsOf(host);
      return sampleOf("pageferry_replica_txid", { database: "app" }) === 6;
    });

    const { sampleOf, samples } = await metricsOf(host);

    const [status] = (await host.status("app")).replicas;
    const labels = { database: "app", replica: status?.name ?? "" };
    assert.deepEqual(
      [
        ["pageferry_replica_lag_seconds", 0],
        ["pageferry_replica_queue_depth", 0],
        ["pageferry_replica_dead_letters", 0],
        ["pageferry_replica_needs_repair", 0],
      ].map(([name, value]) => [sampleOf(String(name), labels), value]),
      [0, 0, 0, 0].map((zero) => [zero, zero]),
    );
    assert.equal(sampleOf("pageferry_lag_seconds", { database: "app" }), 0);
    assert.equal(sampleOf("pageferry_gap_count", { database: "app" }), 0);
    assert.ok((sampleOf("pageferry_last_heard_timestamp_seconds", { database: "app" }) ?? 0) > 1.7e9);
    assert.equal(sampleOf("pageferry_replica_up", { replica: labels.replica }), 1);
    assert.equal(sampleOf("pageferry_ingest_envelopes_total"), 1);
    assert.equal(sampleOf("pageferry_ingest_bytes_total"), envelope.length);
    assert.equal(sampleOf("pageferry_ingest_errors_total", { code: "corrupt" }), 1);
    const put = { replica: labels.replica, operation: "put" };
    assert.equal(sampleOf("pageferry_replica_operation_total", put), 3);
    assert.ok((sampleOf("pageferry_replica_operation_bytes_total", put) ?? 0) > 0);
    assert.equal(sampleOf("pageferry_replica_operation_duration_seconds_count", put), 3);
    // Nobody has proved a restore yet: there is nothing to say.
    assert.ok(!samples.some(({ name }) => name.includes("last_verified")));
  });

  test("hold no secret", async (t) => {
    const { host } = await open(t, {
      replicas: [
        {
          ...{ type: "s3", bucket: "b", endpoint: "http://127.0.0.1:1", region: "r", forcePathStyle: true },
          ...{ accessKey: "K3Y-secret", secretKey: "S3CRET-secret", prefix: "" },
          ...{ insecure: true, rootCAs: [] },
        },
      ],
      alarms: {
        webhooks: [{ url: "http://user-secret:pa55-secret@127.0.0.1:1/T0-secret", format: "json" }],
        heartbeat: "http://127.0.0.1:1/HB-secret/{database}",
        allowPrivate: false,
      },
    });
    await host.queue.send(history.envelope([history.snapshot(4)]));
    await until(() => host.alarms().some(({ code }) => code === "webhook"));

    const text = await (await scrape(host)).text();

    assert.match(text, /pageferry_alarms\{code="webhook"/);
    for (const shown of [text, JSON.stringify(host.alarms())]) {
      assert.doesNotMatch(shown, /-secret/);
      assert.ok(!shown.includes(host.token));
    }
  });

  test("of two hosts in one process are each host's own, and are asked at once without harm", async (t) => {
    const [one, other] = [await open(t), await open(t)];
    await one.host.queue.send(history.envelope([history.snapshot(4)]));

    const all = await Promise.all(
      [one, one, one, other, other].map(async ({ host }) =>
        (await metricsOf(host)).sampleOf("pageferry_ingest_envelopes_total"),
      ),
    );

    assert.deepEqual(all.slice(0, 3), [1, 1, 1]);
    assert.deepEqual(all.slice(3), [0, 0]);
  });
});

suite("a host", () => {
  test("tells a webhook of an alarm and of its end, and raises one for a hole that nothing fills", async (t) => {
    const { url, received } = await openReceiver(t);
    const { host } = await open(t, {
      alarms: { webhooks: [{ url, format: "json", codes: ["gap"] }], allowPrivate: true },
    });
    await host.queue.send(history.envelope([history.snapshot(4), history.segment(5, 6)]));

    await until(() => received.length === 1);
    assert.equal((await metricsOf(host)).sampleOf("pageferry_gap_count", { database: "app" }), 1);
    await host.queue.send(history.envelope([history.segment(4, 5)]));
    await until(() => received.length === 2);

    const told = received.map(({ body }) => JSON.parse(body) as Record<string, string>);
    assert.deepEqual(
      told.map(({ event, code, database }) => [event, code, database]),
      [
        ["raised", "gap", "app"],
        ["cleared", "gap", "app"],
      ],
    );
    assert.match(told[0]?.message ?? "", /after 0000000000000004 up to 0000000000000005/);
  });

  test("tells of the alarms of an agent beside it like its own, until they are over", async (t) => {
    const { url, received } = await openReceiver(t);
    const { host } = await open(t, {
      alarms: { webhooks: [{ url, format: "json" }], allowPrivate: true },
    });
    const alarm = {
      code: "source-unlinked",
      database: "app",
      message: "it is another file",
      hint: "Restart it.",
    };

    host.raise(alarm);
    await until(() => received.length === 1);
    assert.deepEqual(
      host.alarms().map(({ code, database }) => [code, database]),
      [["source-unlinked", "app"]],
    );
    host.clear(alarm);
    await until(() => received.length === 2);

    assert.deepEqual(host.alarms(), []);
  });

  test("raises storage when a database takes more than its ceiling", async (t) => {
    const { host } = await open(t, { storageBytesMax: 100 });
    await host.queue.send(history.envelope([history.snapshot(4, 4096)]));

    await until(() => host.alarms().some(({ code, database }) => code === "storage" && database === "app"));

    const { sampleOf } = await metricsOf(host);
    assert.ok((sampleOf("pageferry_replica_stored_bytes", { database: "app" }) ?? 0) > 100);
    assert.equal(sampleOf("pageferry_alarms", { code: "storage", database: "app" }), 1);
  });
});
