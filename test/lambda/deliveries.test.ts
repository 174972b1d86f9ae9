// What queues and functions do to one another on bad days: messages that come twice and out of order, functions that die in the
// middle of a put, replicas that are away. Nothing is lost, and nothing is left behind.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { decodePack, decodeSegmentFile, parseDatabaseName, parseObjectName, txId } from "@pageferry/format";
import { openReplicaSet } from "@pageferry/functions";
import { openContainer } from "../../packages/functions/src/hosts/lambda/container.ts";
import { laneBatch } from "../../packages/functions/src/hosts/lambda/lane-batch.ts";
import { type History, historyOf } from "../../packages/functions/testing/history.ts";
import { withoutLambdaClient } from "../servers/lambda-runtime.ts";
import { withoutMinistack } from "../servers/ministack.ts";
import { withoutS3Server } from "../servers/s3.ts";
import { chance, until } from "../temporary.ts";
import { startWorld, type World } from "./world.ts";

const skip = withoutLambdaClient || withoutMinistack || withoutS3Server;
const luck = chance();
const database = parseDatabaseName("app");

const namesOf = async (world: World, replica: 0 | 1, { generation }: History) =>
  (await world.objects(replica)).filter((name) => name.startsWith(`app/${generation}/segments/`));

/** Segments of a replica by their transaction; every object is read, and verified. */
async function segmentsOf(world: World, replica: 0 | 1, history: History) {
  const found = new Map<bigint, ReturnType<typeof decodeSegmentFile>>();
  for (const name of await namesOf(world, replica, history)) {
    const bytes = await world.read(replica, name);
    const isPack = parseObjectName(name.slice("app/".length))?.kind === "pack";
    for (const { bytes: segment } of isPack ? decodePack(bytes) : [{ bytes }]) {
      const decoded = decodeSegmentFile(segment);
      found.set(decoded.header.txId, decoded);
    }
  }
  return found;
}

suite(`messages on bad days (seed ${luck.seed})`, { skip }, () => {
  let world: World;
  before(async () => {
    world = await startWorld({ visibilitySeconds: 2 });
  });
  after(() => world?.[Symbol.asyncDispose]());

  /** Pumps until all queues are empty, what is invisible included. */
  const settle = () =>
    until("empty queues", async () => {
      for (const queue of ["ingest", "lane-0", "lane-1"] as const) await world.drain(queue);
      const depths = ["ingest", "lane-0", "lane-1"] as const;
      return (await Promise.all(depths.map(world.depth))).every((depth) => depth === 0);
    });

  test("come twice and out of order while functions are killed: each transaction is in each replica", async () => {
    const history = historyOf("b1");
    const last = 60;
    const sends = Array.from({ length: last }, (_, at) => at).flatMap((id) =>
      luck.next() < 0.3 ? [id, id] : [id],
    );
    for (const id of sends.toSorted(() => luck.next() - 0.5))
      await world.send("ingest", history.envelope([history.segment(id, id + 1)]));
    let kills = 0;
    for (let left = await world.depth("ingest"); left > 0 && kills < 12; left = await world.depth("ingest")) {
      const pumping = world.pump("ingest", 5);
      await sleep(luck.next() * 500);
      // In the middle of whatever it does, a cold start included.
      await world.fanOut.kill();
      kills += 1;
      await pumping;
    }
    await settle();
    for (const replica of [0, 1] as const) {
      const found = await segmentsOf(world, replica, history);
      assert.equal(found.size, last, `replica ${replica}`);
      assert.deepEqual(
        (await world.objects(replica)).filter((name) => name.includes("quarantine")),
        [],
      );
    }
    assert.deepEqual(await world.letters("dead-ingest"), []);
  });

  test("redelivered in the middle of a put, find it or finish it", async () => {
    const history = historyOf("b2");
    await world.pump("ingest");
    await world.send("ingest", history.envelope([history.segment(1, 2)]));
    world.server.freeze();
    // Replica 1 has it; replica 0 holds the connection and says nothing.
    const pumping = world.pump("ingest");
    await until("the put of replica 1", async () => (await namesOf(world, 1, history)).length === 1);
    await world.fanOut.kill();
    await pumping;
    world.server.thaw();
    await settle();
    for (const replica of [0, 1] as const) {
      assert.equal((await namesOf(world, replica, history)).length, 1);
    }
  });

  test("for a replica that is away wait in its lane, delay no other, and keep the time of their receipt", async () => {
    const history = historyOf("b3");
    await world.server.kill();
    const beforeMs = Date.now();
    for (const id of [1, 2, 3]) await world.send("ingest", history.envelope([history.segment(id, id + 1)]));
    const afterMs = Date.now();
    await world.drain("ingest");
    assert.equal((await segmentsOf(world, 1, history)).size, 3);
    assert.equal(await world.depth("ingest"), 0);
    assert.equal(await world.depth("lane-0"), 3);
    assert.equal(await world.depth("lane-1"), 0);
    await sleep(1500);
    await world.server.restart();
    await settle();
    const found = await segmentsOf(world, 0, history);
    assert.equal(found.size, 3);
    // Fan-out itself finds out that it is back.
    await until("a message by the short way", async () => {
      await world.send("ingest", history.envelope([history.segment(4, 5)]));
      await world.drain("ingest");
      return (await world.depth("lane-0")) === 0;
    });
    await settle();
    for (const { header } of found.values()) {
      const received = Number(header.attrs.received);
      assert.ok(received >= beforeMs - 1000 && received <= afterMs + 1000, `${received}`);
    }
  });

  test("of a fork go to quarantine, once for each replica, and what comes of it later to the dead letters", async () => {
    const [history, other] = [historyOf("b4"), historyOf("b4", "other")];
    await world.send("ingest", history.envelope([history.segment(1, 2)]));
    await settle();
    await world.send("ingest", other.envelope([other.segment(1, 2)]));
    await settle();
    for (const replica of [0, 1] as const) {
      const kept = (await world.objects(replica)).filter((name) =>
        name.includes(`quarantine/${history.generation}`),
      );
      assert.equal(kept.length, 1);
    }
    await world.send("ingest", history.envelope([history.segment(2, 3)]));
    await settle();
    assert.deepEqual(
      (await world.letters("dead-ingest")).map(({ attributes }) => attributes.code),
      ["fork"],
    );
  });

  test("with a large body are copied in the lane, which pauses before its time is over and goes on later", async () => {
    const history = historyOf("b5");
    const { name, bytes } = history.snapshot(7, 40 * 1024 * 1024);
    const digest = createHash("sha256").update(bytes).digest("hex");
    await world.stage("app", digest, bytes);
    await world.send("ingest", history.envelope([{ name, digest, size: bytes.length }]));
    await world.drain("ingest");
    assert.deepEqual([await world.depth("lane-0"), await world.depth("lane-1")], [1, 1]);
    // In this process, so that the time that is left can be told.
    const quiet = { POWERTOOLS_LOG_LEVEL: "SILENT", POWERTOOLS_METRICS_DISABLED: "true" };
    Object.assign(process.env, world.env, { AWS_REGION: "us-east-1" }, quiet);
    const container = await openContainer("lane");
    const turns: { taken: number; copy: string | undefined }[] = [];
    while ((await world.depth("lane-0")) > 0) {
      const Records = await world.receive("lane-0");
      // Enough time to begin with, and for one part.
      let looks = 0;
      const getRemainingTimeInMillis = () => (++looks <= 3 ? 600_000 : 50_000);
      const copy = Records[0]?.messageAttributes.copy?.stringValue;
      turns.push({ taken: Records.length, copy });
      const { batchItemFailures } = await laneBatch(
        { Records } as never,
        { getRemainingTimeInMillis },
        container,
      );
      assert.deepEqual(batchItemFailures, []);
      for (const record of Records) await world.remove("lane-0", record);
      assert.ok(turns.length < 8, "it goes on for ever");
    }
    assert.ok(turns.length > 1, "it never paused");
    assert.equal(turns[0]?.copy, undefined);
    assert.match(turns[1]?.copy ?? "", /"tags":\["/);
    await settle();
    for (const replica of [0, 1] as const) {
      const stored = await world.read(replica, `app/${name}`);
      assert.equal(createHash("sha256").update(stored).digest("hex"), digest);
    }
  });

  test("leave an archive that a replica set reads as complete", async () => {
    const history = historyOf("b1");
    for (const entry of JSON.parse(world.env.PAGEFERRY_CONFIG ?? "").replicas) {
      await using set = await openReplicaSet({ prefix: "", insecure: false, ...entry });
      const holdings = await (await set.of(database)).holdings();
      const { coverage, begin } = holdings.of(history.generation);
      for (let id = 1; id <= 60; id++) assert.ok(coverage.covers(txId(id)));
      assert.equal(begin?.host, "host");
    }
  });
});
