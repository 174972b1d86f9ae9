// The bundled functions in AWS's own runtime interface client, before real queues and real S3 servers.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, suite, test } from "node:test";
import { encodeEnvelope, parseDatabaseName, txId } from "@pageferry/format";
import { makeToken } from "@pageferry/functions";
import {
  firstLine,
  holdsState,
  segmentItem,
  snapshotItem,
} from "../packages/functions/testing/bolt-archive.ts";
import { createBoltModel } from "../packages/functions/testing/bolt-model.ts";
import { historyOf } from "../packages/functions/testing/history.ts";
import { failedOf, startWorld, type World } from "./lambda/world.ts";
import { type Invoked, withoutLambdaClient } from "./servers/lambda-runtime.ts";
import { withoutMinistack } from "./servers/ministack.ts";
import { withoutS3Server } from "./servers/s3.ts";

const skip = withoutLambdaClient || withoutMinistack || withoutS3Server;

/** The goal, and what a busy machine of CI may make of it. */
const startBytesMax = 1_500_000;
const initMsMax = 2000;

const segments = async (world: World, replica: 0 | 1) =>
  (await world.objects(replica)).filter((name) => name.includes("/segments/"));

suite("the bundled fan-out function", { skip }, () => {
  let world: World;
  before(async () => {
    world = await startWorld();
  });
  after(() => world?.[Symbol.asyncDispose]());

  test("brings a batch to every replica, packed, and a poisoned record to the dead letters", async (t) => {
    const history = historyOf("a1");
    for (const id of [3, 1, 2]) {
      const envelope = history.envelope([history.segment(id, id + 1)], { newestStampMs: Date.now() });
      await world.send("ingest", envelope);
    }
    await world.send("ingest", "this is no envelope");
    const { taken, failed, result } = await world.pump("ingest");
    assert.deepEqual([taken, failed], [4, 0], JSON.stringify(result));
    const expected = `app/${history.generation}/segments/0000000000000002-0000000000000004-`;
    for (const replica of [0, 1] as const) {
      const found = await segments(world, replica);
      assert.equal(found.length, 1);
      assert.ok(found[0]?.startsWith(expected) && found[0].endsWith(".pack.cbor"), found[0]);
    }
    const [letter, ...others] = await world.letters("dead-ingest");
    assert.deepEqual(others, []);
    assert.equal(letter?.body, "this is no envelope");
    assert.equal(letter?.attributes.code, "corrupt");
    assert.match(letter?.attributes.reason ?? "", /is no base64/);
    t.diagnostic(`init ${world.fanOut.initMs.map(Math.round)} ms, bundle ${JSON.stringify(world.sizes)}`);
    assert.ok((world.sizes["fan-out"]?.start ?? 0) <= startBytesMax);
    assert.ok((world.fanOut.initMs[0] ?? 0) <= initMsMax);
  });

  test("writes its metrics and its alarm as lines of its log", () => {
    const lines = world.fanOut.output().split("\n");
    const metrics = lines.find((line) => line.includes('"CloudWatchMetrics"') && line.includes('"Received"'));
    assert.match(metrics ?? "", /"Received":4/);
    assert.match(metrics ?? "", /"stage":"test"/);
    assert.ok(lines.some((line) => line.includes("alarm: messages of the ingest queue are refused")));
  });

  test("a batch in which every record is poison succeeds: each is a dead letter, none comes again", async () => {
    for (const body of ["AAAA", "{}", "////"]) await world.send("ingest", body);
    const { taken, failed } = await world.pump("ingest");
    assert.deepEqual([taken, failed], [3, 0]);
    const letters = await world.letters("dead-ingest");
    assert.deepEqual(letters.map(({ attributes }) => attributes.code).sort(), [
      "corrupt",
      "corrupt",
      "corrupt",
    ]);
    assert.equal(await world.depth("ingest"), 0);
  });

  test("a batch in which every record fails names each, and none is lost", async () => {
    const history = historyOf("a2");
    // Nobody can take what goes on: no lane, no dead letters, and replicas that cannot be reached.
    await using broken = await world.variant("fan-out", {
      PAGEFERRY_CONFIG: JSON.stringify({
        replicas: [
          { type: "s3", bucket: "away", endpoint: "http://127.0.0.1:1", accessKey: "a", secretKey: "b" },
        ],
      }),
      PAGEFERRY_LANES: "{}",
      PAGEFERRY_DEAD_LETTERS: "{}",
    });
    await world.send("ingest", "poison");
    await world.send("ingest", history.envelope([history.segment(1, 2)]));
    const Records = await world.receive("ingest");
    const result = await broken.invoke({ Records });
    assert.ok(result.ok, JSON.stringify(result));
    assert.deepEqual(failedOf(result.value), new Set(Records.map(({ messageId }) => messageId)));
    assert.equal(await world.depth("ingest"), 2);
    // They come again, after their wait.
    for (let left = 2; left > 0; ) left -= (await world.pump("ingest")).taken;
    assert.equal((await world.letters("dead-ingest")).length, 1);
  });

  test("what is refused has its code, and stops nothing", async () => {
    const history = historyOf("a3");
    const item = history.segment(1, 2);
    const digest = createHash("sha256").update("gone").digest("hex");
    const newer = Buffer.from(history.envelope([item]));
    // The segment within has a version of its own, before it.
    const at = newer.lastIndexOf("gversion");
    newer[at + 8] = 9;
    const staged = history.segment(2, 3);
    const wrong = createHash("sha256").update("another").digest("hex");
    await world.stage("app", wrong, staged.bytes);
    await world.send("ingest", newer);
    await world.send("ingest", history.envelope([item]), { attributes: { stage: "production" } });
    await world.send("ingest", history.envelope([{ name: item.name, digest, size: 4 }]));
    await world.send("ingest", history.envelope([{ name: item.name, digest, size: 2 ** 34 }]));
    await world.send(
      "ingest",
      history.envelope([{ name: staged.name, digest: wrong, size: staged.bytes.length }]),
    );
    await world.send("ingest", history.envelope([history.segment(3, 4)]), { attributes: { stage: "test" } });
    await world.drain("ingest");
    const codes = (await world.letters("dead-ingest")).map(({ attributes }) => attributes.code);
    assert.deepEqual(codes.sort(), ["forbidden", "not-found", "too-large", "unsupported-version"]);
    for (const queue of ["dead-0", "dead-1"] as const) {
      assert.deepEqual(
        (await world.letters(queue)).map(({ attributes }) => attributes.code),
        ["corrupt"],
      );
    }
    const stored = (await segments(world, 0)).filter((name) => name.includes(history.generation));
    assert.deepEqual(stored.length, 1);
  });
});

/** An answer that was streamed: its head in JSON, eight zeros, its body. */
function streamedAnswer(result: Invoked) {
  assert.ok(result.ok && result.isStreamed, JSON.stringify(result));
  const at = result.bytes.indexOf(Buffer.alloc(8));
  const head = JSON.parse(result.bytes.subarray(0, at).toString()) as {
    statusCode: number;
    headers: Record<string, string>;
  };
  return { ...head, body: result.bytes.subarray(at + 8) };
}

suite("the other bundled functions", { skip }, () => {
  const model = createBoltModel({ hasFreelist: true });
  const line = firstLine(model, "c1", (id) => Date.now() - 3_600_000 + id * 1000);
  const last = 12;
  const made = makeToken({ scopes: ["read", "restore"], databases: ["app"] }, Date.now());
  let world: World;
  before(async () => {
    world = await startWorld({ env: { PAGEFERRY_TOKENS: JSON.stringify([made.record]) }, timeoutMs: 60_000 });
    for (let id = 2; id <= last; id += 1) model.commit([{ key: id % 6, letter: id % 5, overflow: 0 }]);
    const items = [await snapshotItem(line, 1)];
    for (let id = 1; id < last; id += 1) items.push(segmentItem(line, id, id + 1));
    const envelope = encodeEnvelope({
      ...{ database: parseDatabaseName("app"), begin: line.begin, sentAtMs: Date.now() },
      ...{ newestTxId: txId(last), newestStampMs: line.stampMs(last) },
      items: items.map(({ name, body }) => ({ name: name.name, bytes: body as Uint8Array })),
    });
    await world.send("ingest", envelope);
    await world.drain("ingest");
  });
  after(() => world?.[Symbol.asyncDispose]());

  const request = (path: string, token: string) => ({
    ...{ version: "2.0", routeKey: "$default", rawPath: path, rawQueryString: "", isBase64Encoded: false },
    headers: { authorization: `Bearer ${token}`, host: "test.lambda-url.us-east-1.on.aws" },
    requestContext: {
      ...{ accountId: "anonymous", apiId: "test", domainName: "test.lambda-url.us-east-1.on.aws" },
      ...{ domainPrefix: "test", requestId: "r", routeKey: "$default", stage: "$default" },
      ...{ time: new Date().toUTCString(), timeEpoch: Date.now() },
      http: { method: "GET", path, protocol: "HTTP/1.1", sourceIp: "192.0.2.1", userAgent: "test" },
    },
  });

  test("the API streams a restored database, byte for byte, with its type", async (t) => {
    await using api = await world.variant("api", {});
    const answer = streamedAnswer(await api.invoke(request("/v1/databases/app/restore", made.token)));
    assert.equal(answer.statusCode, 200, answer.body.toString().slice(0, 500));
    assert.equal(answer.headers["content-type"], "application/octet-stream");
    assert.ok(holdsState(answer.body, model, last));
    const refused = streamedAnswer(await api.invoke(request("/v1/databases/app/restore", "none")));
    assert.equal(refused.statusCode, 401);
    assert.match(refused.headers["content-type"] ?? "", /^application\/problem\+json/);
    t.diagnostic(`api: init ${api.initMs.map(Math.round)} ms`);
  });

  for (const name of ["compact", "verify", "repair", "prune"] as const) {
    test(`${name} answers its schedule's event with the databases it has done`, async (t) => {
      await using task = await world.variant(name, {});
      const result = await task.invoke({});
      assert.ok(result.ok, JSON.stringify(result));
      const { done, failed, left } = result.value as Record<"done" | "failed" | "left", unknown[]>;
      assert.deepEqual({ done, failed, left }, { done: ["app"], failed: [], left: [] }, task.output());
      t.diagnostic(`${name}: init ${task.initMs.map(Math.round)} ms`);
    });
  }
});
