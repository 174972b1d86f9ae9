import assert from "node:assert/strict";
import { suite, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { WebhookConfig } from "@pageferry/format";
import { answering, openReceiver } from "../testing/receiver.ts";
import { createAlarmSinks } from "./alarm-sinks.ts";
import type { Alarm } from "./alarms.ts";

const sinceMs = Date.UTC(2026, 0, 2, 3, 4, 5);
const lag: Alarm = {
  code: "lag",
  database: "app",
  replica: "s3://b/x",
  message: "s3://b/x lacks <commits> & more",
  hint: "`pageferry status` shows what waits.",
  sinceMs,
};

function open(t: TestContext, webhooks: readonly WebhookConfig[], timeoutMs = 200) {
  const troubles: (string | undefined)[] = [];
  const told: string[] = [];
  const sinks = createAlarmSinks({
    webhooks,
    host: "nas",
    allowPrivate: true,
    timeoutMs,
    random: () => 0,
    pauseMs: () => 5,
    onTrouble: (message) => troubles.push(message),
    onTold: (result) => told.push(result),
  });
  t.after(() => sinks.stop());
  return { sinks, troubles, told };
}

async function until(condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !condition(); await sleep(5)) {
    assert.ok(Date.now() < end, "it did not come in time");
  }
}

const json = (url: string): WebhookConfig => ({ url, format: "json" });

suite("a webhook is told of an alarm", () => {
  test("when it is raised and when it is over, as JSON", async (t) => {
    const { url, received } = await openReceiver(t);
    const { sinks } = open(t, [json(`${url}/hook`)]);

    sinks.raised(lag);
    await until(() => received.length === 1);
    sinks.cleared(lag);
    await until(() => received.length === 2);

    const { sinceMs: _, ...words } = lag;
    const expected = { ...words, since: "2026-01-02T03:04:05.000Z", host: "nas" };
    assert.deepEqual(
      received.map(({ body }) => JSON.parse(body) as unknown),
      [
        { event: "raised", ...expected },
        { event: "cleared", ...expected },
      ],
    );
    assert.equal(received[0]?.headers["content-type"], "application/json");
  });

  test("as Slack and ntfy take it", async (t) => {
    const { url, received } = await openReceiver(t);
    const { sinks } = open(t, [
      { url: `${url}/slack`, format: "slack" },
      { url: `${url}/ntfy`, format: "ntfy" },
    ]);

    sinks.raised(lag);
    await until(() => received.length === 2);

    const [slack, ntfy] = ["/slack", "/ntfy"].map((path) => received.find((one) => one.path === path));
    assert.deepEqual(JSON.parse(slack?.body ?? ""), {
      text: ":rotating_light: *lag: app* (nas)\ns3://b/x lacks &lt;commits&gt; &amp; more\n_`pageferry status` shows what waits._",
    });
    assert.equal(ntfy?.body, `${lag.message}\n${lag.hint}`);
    assert.deepEqual(
      [ntfy?.headers.title, ntfy?.headers.priority, ntfy?.headers.tags],
      ["lag: app (nas)", "high", "rotating_light"],
    );
  });

  test("of its codes alone, where it has some", async (t) => {
    const { url, received } = await openReceiver(t);
    const { sinks } = open(t, [{ ...json(url), codes: ["gap"] }]);

    sinks.raised(lag);
    sinks.raised({ ...lag, code: "gap" });
    await until(() => received.length === 1);
    await sleep(30);

    assert.deepEqual(
      received.map(({ body }) => (JSON.parse(body) as Alarm).code),
      ["gap"],
    );
  });
});

suite("a webhook that", () => {
  test("fails is tried again, one call at a time, and its trouble is told until it is over", async (t) => {
    let [open_, most] = [0, 0];
    const { url, received } = await openReceiver(t, (at, response) => {
      open_ += 1;
      most = Math.max(most, open_);
      setTimeout(() => {
        open_ -= 1;
        response.writeHead(at < 4 ? 503 : 200).end();
      }, 10);
    });
    const { sinks, troubles, told } = open(t, [json(url)]);

    sinks.raised(lag);
    sinks.raised({ ...lag, database: "other" });
    await until(() => told.filter((result) => result === "sent").length === 2);

    assert.deepEqual([received.length, most], [6, 1]);
    assert.match(troubles[0] ?? "", /^unavailable: 127\.0\.0\.1:\d+: answers 503$/);
    assert.equal(troubles.at(-1), undefined);
  });

  test("hangs holds up nothing, neither those who raise alarms nor the other webhooks, nor the end", async (t) => {
    const hanging = await openReceiver(t, () => undefined);
    const other = await openReceiver(t);
    const { sinks } = open(t, [json(hanging.url), json(other.url)], 60_000);
    const startedMs = performance.now();

    for (let at = 0; at < 100; at++) sinks.raised({ ...lag, database: `d${at}` });
    assert.ok(performance.now() - startedMs < 1000);
    await until(() => other.received.length === 100);
    await sinks.stop();

    assert.equal(hanging.received.length, 1);
  });

  test("redirects or refuses is not asked the same again, and gets what comes next", async (t) => {
    const { url, received } = await openReceiver(t, (at, response) => {
      if (at === 0) response.writeHead(307, { location: `${url}/elsewhere` }).end();
      else answering(at === 1 ? 400 : 200)(at, response, { method: "", path: "", headers: {}, body: "" });
    });
    const { sinks, told } = open(t, [json(url)]);

    for (const database of ["a", "b", "c"]) sinks.raised({ ...lag, database });
    await until(() => told.includes("sent"));

    assert.deepEqual(told, ["failed", "dropped", "failed", "dropped", "sent"]);
    assert.deepEqual([received.length, received.some(({ path }) => path === "/elsewhere")], [3, false]);
  });

  test("was away hears the newest of each alarm, not all that happened", async (t) => {
    let isAway = true;
    const { url, received } = await openReceiver(t, (_, response) => {
      response.writeHead(isAway ? 503 : 200).end();
    });
    const { sinks, told } = open(t, [json(url)]);

    for (let at = 0; at < 20; at++) {
      sinks.raised(lag);
      sinks.cleared(lag);
    }
    await until(() => received.length > 2);
    isAway = false;
    await until(() => told.includes("sent"));
    await sleep(30);

    assert.equal(told.filter((result) => result === "sent").length, 1);
    assert.equal((JSON.parse(received.at(-1)?.body ?? "") as { event: string }).event, "cleared");
  });

  test("is away for long keeps a bounded number waiting", async (t) => {
    const { url } = await openReceiver(t, answering(503));
    const { sinks, told } = open(t, [json(url)]);

    for (let at = 0; at < 1500; at++) sinks.raised({ ...lag, database: `d${at}` });

    assert.equal(told.filter((result) => result === "dropped").length, 500);
  });

  test("fails is not told that it does", async (t) => {
    const { url, received } = await openReceiver(t);
    const { sinks } = open(t, [json(url)]);

    sinks.raised({ ...lag, code: "webhook" });
    sinks.raised({ ...lag, code: "gap" });
    await until(() => received.length === 1);

    assert.equal((JSON.parse(received[0]?.body ?? "") as Alarm).code, "gap");
  });
});
