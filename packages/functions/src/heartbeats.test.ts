import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type DatabaseName, parseDatabaseName } from "@pageferry/format";
import { answering, openReceiver } from "../testing/receiver.ts";
import { createHeartbeats, type HeartbeatsOptions } from "./heartbeats.ts";
import type { DatabaseStatus } from "./status.ts";

const nowMs = Date.UTC(2026, 0, 2, 3, 4, 5);

const parting = {
  since: new Date(nowMs).toISOString(),
  by: "pageferry unregister on vm",
  reason: "unregistered",
};

/** Databases, of which those in `ill` lag, and those in `parted` are no longer backed up. */
function open(
  names: readonly string[],
  ill: readonly string[],
  { parted = [], ...more }: Partial<HeartbeatsOptions> & { readonly parted?: readonly string[] },
) {
  const told: string[] = [];
  const status = (name: DatabaseName): DatabaseStatus => {
    const replica = { name: "a", lagMs: ill.includes(name) ? 99_000 : 0 };
    const lastHeard = new Date(nowMs).toISOString();
    return {
      name,
      lastHeard,
      parted: parted.includes(name) ? parting : null,
      replicas: [replica],
      alarms: [],
    } as unknown as DatabaseStatus;
  };
  const heartbeats = createHeartbeats({
    own: [],
    databases: async () => names.map((name) => parseDatabaseName(name)),
    standing: status,
    lagMsMax: 60_000,
    now: () => nowMs,
    allowPrivate: true,
    timeoutMs: 200,
    onTold: (result) => told.push(result),
    onFailure: (database, message) => told.push(`${database}: ${message}`),
    ...more,
  });
  return { told, beat: () => heartbeats.beat(new AbortController().signal) };
}

suite("heartbeats", () => {
  test("are called for each healthy database, and for no other", async (t) => {
    const { url, received } = await openReceiver(t);
    const pattern = `${url}/ping/{database}?x={database}`;
    const { beat } = open(["a", "b", "c", "gone"], ["b"], { pattern, parted: ["gone"] });

    await beat();

    assert.deepEqual(received.map(({ method, path }) => `${method} ${path}`).toSorted(), [
      "GET /ping/a?x=a",
      "GET /ping/c?x=c",
    ]);
  });

  test("go to a database's own URL where it has one, and nowhere where it has none", async (t) => {
    const { url, received } = await openReceiver(t);
    const { beat } = open(["a", "b"], [], { own: [{ name: "a", heartbeat: `${url}/mine` }, { name: "b" }] });

    await beat();

    assert.deepEqual(
      received.map(({ path }) => path),
      ["/mine"],
    );
  });

  test("that fail stop no other, are told of once, and come again with the next turn", async (t) => {
    const { url } = await openReceiver(t, (at, response, received) => {
      if (!received.path.endsWith("/b")) response.end();
      else if (at < 4) response.writeHead(503).end();
      else response.end();
    });
    const { beat, told } = open(["a", "b"], [], { pattern: `${url}/{database}` });

    await beat();
    await beat();
    await beat();

    assert.equal(told.filter((line) => line.startsWith("b: unavailable: 127.0.0.1:")).length, 1);
    assert.deepEqual(told.filter((line) => line === "failed").length, 2);
    assert.deepEqual(told.filter((line) => line === "sent").length, 4);
  });

  test("that hang end, and a private address is not called unless it is allowed", async (t) => {
    const hanging = await openReceiver(t, () => undefined);
    const plain = await openReceiver(t, answering(200));
    const one = open(["a"], [], { pattern: `${hanging.url}/{database}` });
    const other = open(["a"], [], { pattern: `${plain.url}/{database}`, allowPrivate: false });

    await one.beat();
    await other.beat();

    assert.deepEqual([one.told[0], other.told[0], plain.received.length], ["failed", "failed", 0]);
  });
});
