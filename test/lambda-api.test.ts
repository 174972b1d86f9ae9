// The API and the schedules of a deployment on a local AWS: what they take and refuse, and which requests each of them makes, for that is what
// their rights are made of.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { createHttpQueue } from "@pageferry/agent";
import {
  decodeEnvelope,
  type Envelope,
  encodeEnvelope,
  formatStateHash,
  formatTxId,
  parseDatabaseName,
  parseGeneration,
  txId,
} from "@pageferry/format";
import { s3Store } from "@pageferry/functions/stores/s3";
import {
  firstLine,
  type ModelLine,
  segmentItem,
  snapshotItem,
} from "../packages/functions/testing/bolt-archive.ts";
import { createBoltModel } from "../packages/functions/testing/bolt-model.ts";
import { historyOf } from "../packages/functions/testing/history.ts";
import { eventOf } from "./lambda.ts";
import { type Deployment, deploy, type TaskName, type TurnsAnswer } from "./lambda-deployment.ts";
import { startHttpProxy } from "./servers/http-proxy.ts";
import { startLambda, withoutLambdaClient } from "./servers/lambda-runtime.ts";
import { startMinistack, withoutMinistack } from "./servers/ministack.ts";
import { startS3, withoutS3Server } from "./servers/s3.ts";
import { temporaryDirectory, until } from "./temporary.ts";

const database = parseDatabaseName("app");
const hourMs = 3_600_000;
const commits = 30;

/** A request to S3, as rights see it. */
interface Asked {
  readonly actor: string;
  readonly method: string;
  readonly bucket: string;
  readonly key: string;
}

interface World extends AsyncDisposable {
  readonly deployed: Deployment;
  /** Of the local AWS itself. */
  readonly endpoint: string;
  readonly asked: readonly Asked[];
  /** What SQS does not do now. */
  readonly refusing: { target?: string };
  readonly line: ModelLine;
  call(path: string, scopes: string, init?: RequestInit): Promise<Response>;
  ingest(items: Envelope["items"], newest: number, more?: Partial<Envelope>): Promise<Response>;
  run(task: TaskName, event?: object, timeoutMs?: number): Promise<TurnsAnswer>;
  fanOut(): Promise<number>;
  /** Codes of the alarms that stand after the function's turn, at a time of its own. */
  compactAt(nowMs: number): Promise<readonly string[]>;
  /** The function for it, with a clock of its own. */
  pruneAt(nowMs: number): Promise<{ readonly clock: { nowMs: number }; prune(): Promise<TurnsAnswer> }>;
}

async function startWorld(): Promise<World> {
  await using undo = new AsyncDisposableStack();
  const aws = undo.use(await startMinistack());
  const proxy = undo.use(await startHttpProxy(aws.endpoint));
  const asked: Asked[] = [];
  let actor = "";
  const refusing: World["refusing"] = {};
  proxy.rule = ({ method, path, headers }) => {
    const [bucket = "", ...key] = decodeURIComponent(path.split("?")[0] ?? "")
      .split("/")
      .slice(1);
    const target = headers["x-amz-target"];
    if (target !== undefined && target === refusing.target) return { answer: { status: 503, body: "{}" } };
    if (target === undefined) asked.push({ actor, method, bucket, key: key.join("/") });
    return undefined;
  };
  const deployed = undo.use(
    await deploy(aws, {
      endpoint: proxy.endpoint,
      replicas: 2,
      scopes: ["agent", "read,restore", "operate"],
      config: {
        compaction: { levels: ["5m", "10m"] },
        snapshotInterval: "15m",
        retention: { keepWithin: "1h", segmentRetention: "30m" },
      },
    }),
  );
  const model = createBoltModel({ hasFreelist: true });
  // Hours ago, so that windows are closed.
  const beginMs = Date.now() - 5 * hourMs;
  const line = firstLine(model, "a1", (id) => beginMs + id * 60_000);
  for (let id = 2; id <= commits; id += 1) model.commit([{ key: id % 6, letter: id % 5, overflow: 0 }]);
  const call: World["call"] = (path, scopes, init = {}) => {
    actor = "api";
    const authorization = `Bearer ${deployed.tokens[scopes] ?? scopes}`;
    return fetch(`${deployed.url}${path}`, { ...init, headers: { authorization, ...init.headers } });
  };
  const parts = undo.move();
  return {
    ...{ deployed, asked, refusing, line, call, endpoint: aws.endpoint },
    ingest(items, newest, more = {}) {
      const envelope = encodeEnvelope({
        ...{ database, begin: line.begin, items, sentAtMs: Date.now() },
        ...{ newestTxId: txId(newest), newestStampMs: line.stampMs(newest), ...more },
      });
      const headers = { "content-type": "application/cbor" };
      return call("/v1/ingest", "agent", { method: "POST", headers, body: Buffer.from(envelope) });
    },
    fanOut() {
      actor = "fan-out";
      return deployed.fanOut();
    },
    async compactAt(nowMs) {
      const { carryOut, compactTask } = await import("../packages/functions/src/hosts/lambda/schedules.ts");
      const { openStanding } = await import("../packages/functions/src/hosts/lambda/standing.ts");
      actor = "compact";
      const standing = await openStanding("compact", { prefixes: ["turns/", "growth/"], now: () => nowMs });
      await carryOut(compactTask, standing, compactTask.open(standing), {}, () => 60_000);
      return standing.telemetry.alarms.list().map(({ code }) => code);
    },
    async pruneAt(nowMs) {
      const { carryOut, pruneTask } = await import("../packages/functions/src/hosts/lambda/schedules.ts");
      const { openStanding } = await import("../packages/functions/src/hosts/lambda/standing.ts");
      actor = "prune";
      const clock = { nowMs };
      const standing = await openStanding("prune", { prefixes: ["turns/"], now: () => clock.nowMs });
      const turn = pruneTask.open(standing);
      return {
        clock,
        prune() {
          actor = "prune";
          return carryOut(pruneTask, standing, turn, {}, () => 60_000);
        },
      };
    },
    run(task, event, timeoutMs) {
      actor = task;
      return deployed.run(task, event, timeoutMs);
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

const codeOf = async (answer: Response): Promise<string> => ((await answer.json()) as { code: string }).code;
const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const inline = ({ name, body }: ReturnType<typeof segmentItem>) => ({
  name: name.name,
  bytes: body as Uint8Array,
});

suite("the API of a deployment", { skip: withoutMinistack }, () => {
  let world: World;
  before(async () => {
    world = await startWorld();
  });
  after(() => world?.[Symbol.asyncDispose]());

  test("takes what an agent sends once the queue has it, and refuses the rest at its door", async () => {
    const { deployed, line, ingest, call } = world;
    const { ingest: url } = deployed.queueUrls;
    const cbor = { "content-type": "application/cbor" };
    const post = (body: string, scopes: string) =>
      call("/v1/ingest", scopes, { method: "POST", headers: cbor, body });

    assert.equal((await post("x", "no token at all")).status, 401);
    assert.equal((await post("x", "read,restore")).status, 403);
    assert.equal(await codeOf(await post("no envelope", "agent")), "corrupt");
    const elsewhere = await ingest([], 1, { database: parseDatabaseName("other") });
    assert.equal(await codeOf(elsewhere), "forbidden");
    const away = { name: segmentItem(line, 1, 2).name.name, digest: digestOf(Buffer.from("away")), size: 4 };
    assert.equal((await ingest([away], 2)).status, 503, "it is to be staged again");
    assert.equal(await deployed.queues.count(url), 0);

    assert.equal((await ingest([inline(await snapshotItem(line, 1))], 1)).status, 202);
    assert.equal((await ingest([], 1)).status, 202, "a heartbeat goes the same way");

    const [first, second] = await deployed.queues.peek(url, 2);
    assert.equal(first?.attributes.stage, "test");
    assert.equal(decodeEnvelope(Buffer.from(first?.body ?? "", "base64")).items.length, 1);
    assert.equal(decodeEnvelope(Buffer.from(second?.body ?? "", "base64")).items.length, 0);
    await deployed.queues.clear(url);
  });

  test("brings an envelope that no message holds in several", async () => {
    const { deployed, ingest } = world;
    const { ingest: url } = deployed.queueUrls;
    const history = historyOf("b2");
    const items = [2, 3, 4, 5].map((id) => history.segment(id - 1, id, 650 * 1024));

    const answer = await ingest(items, 5, { begin: history.begin });

    assert.equal(answer.status, 202, await answer.text());
    const messages = await deployed.queues.peek(url, 10);
    const names = messages.flatMap(({ body }) =>
      decodeEnvelope(Buffer.from(body, "base64")).items.map(({ name }) => name),
    );
    assert.ok(messages.length >= 4 && messages.every(({ body }) => body.length < 1024 * 1024));
    assert.deepEqual(names.sort(), items.map(({ name }) => name).sort());
    await deployed.queues.clear(url);
  });

  test("stages a small body itself, and names a place for a large one", async () => {
    const { call } = world;
    const put = (body: Buffer, digest = digestOf(body)) =>
      call(`/v1/stage/${digest}?database=app`, "agent", { method: "PUT", body: Uint8Array.from(body) });
    const small = randomBytes(100_000);
    const large = randomBytes(4_600_000);

    assert.deepEqual([(await put(small)).status, (await put(small)).status], [201, 200]);
    assert.equal(await codeOf(await put(small, digestOf(large))), "corrupt");
    const refused = await put(large);
    assert.equal(refused.status, 413);
    assert.match(
      ((await refused.json()) as { hint: string }).hint,
      /GET \/v1\/stage\/[0-9a-f]{64}\/place\?database=/,
    );
    assert.equal((await put(randomBytes(6_000_000))).status, 413, "AWS itself refuses it");

    const place = `/v1/stage/${digestOf(large)}/place?size=${large.length}`;
    assert.equal((await call(`${place}&database=other`, "agent")).status, 403);
    const { method, url, headers } = (await (await call(`${place}&database=app`, "agent")).json()) as {
      readonly method: string;
      readonly url: string;
      readonly headers: Record<string, string>;
    };
    const stored = await fetch(url, { method, headers, body: large });
    assert.equal(stored.status, 200, await stored.text());
    assert.equal((await put(large.subarray(0, 10), digestOf(large))).status, 422);
    assert.equal((await fetch(url, { method, headers, body: large })).status, 412, "it is there already");
  });

  test("is sent a large body by an agent that has nothing but a token", async () => {
    const { deployed } = world;
    const queue = createHttpQueue({ url: deployed.url, token: deployed.tokens.agent ?? "" });
    const bytes = randomBytes(9_000_000);
    const digest = digestOf(bytes);
    const body = {
      ...{ digest, size: bytes.length },
      async *open() {
        yield bytes;
      },
    };
    await queue.stage("app", body);
    await queue.stage("app", body);
    const chunks = await bucketOf(world, deployed.stageBucket).get(`stage/app/${digest}`);
    assert.equal(digestOf(Buffer.concat(await Array.fromAsync(chunks))), digest);
    await assert.rejects(queue.stage("other", body), { code: "forbidden" });
  });

  test("shows how it stands, from listings, notes and queues", async () => {
    const { deployed, line, ingest, call } = world;
    await ingest([inline(await snapshotItem(line, 1))], 1);
    for (let id = 2; id <= commits; id += 1) await ingest([inline(segmentItem(line, id - 1, id))], id);
    await world.fanOut();
    await deployed.queues.send(deployed.queueUrls["dead-lane"], "set aside");

    const answer = await call("/v1/databases/app/wait?timeout=10s", "read,restore");
    assert.equal(answer.status, 200, await answer.clone().text());
    const status = (await (await call("/v1/databases/app", "read,restore")).json()) as {
      readonly txid: string;
      readonly lagMs: number;
      readonly replicas: readonly { readonly txid: string; readonly deadLetters: number }[];
    };

    // What was heard is noted once a minute.
    assert.ok(status.txid >= formatTxId(txId(1)));
    assert.equal(status.lagMs, 0);
    assert.deepEqual(
      status.replicas.map(({ txid }) => txid),
      [formatTxId(txId(commits)), formatTxId(txId(commits))],
    );
    const late = await call("/v1/databases/app/wait?txid=999&timeout=1s", "read,restore");
    assert.equal(late.status, 504);
    const health = await call("/healthz", "");
    assert.equal(health.status, 200, await health.text());
    await deployed.queues.clear(deployed.queueUrls["dead-lane"]);
  });

  test("gives objects and databases with their types, and no events and no page", async () => {
    const { call } = world;
    const manifest = await call("/v1/databases/app/manifest?urls=proxied", "read,restore");
    const { objects } = (await manifest.json()) as { readonly objects: readonly { readonly url: string }[] };
    const object = await call(`/v1/databases/app/${objects[0]?.url}`, "read,restore");
    assert.equal(object.headers.get("content-type"), "application/octet-stream");
    assert.ok((await object.arrayBuffer()).byteLength > 0);
    const part = await call(`/v1/databases/app/${objects[0]?.url}`, "read,restore", {
      headers: { range: "bytes=2-5" },
    });
    assert.deepEqual([part.status, (await part.arrayBuffer()).byteLength], [206, 4]);
    const image = await call("/v1/databases/app/restore", "read,restore");
    assert.match(image.headers.get("x-pageferry-state-hash") ?? "", /^[0-9a-f]{32}$/);
    assert.equal((await image.arrayBuffer()).byteLength % 512, 0);
    for (const path of ["/v1/events", "/"])
      assert.equal((await call(path, "read,restore")).status, 404, path);
  });

  test("looks what would be changed, and changes nothing but pins", async () => {
    const { call } = world;
    const post = async (path: string) => {
      const answer = await call(`/v1/databases/app/${path}`, "operate", { method: "POST" });
      return (await answer.json()) as { readonly code?: string; readonly replicas?: readonly unknown[] };
    };
    assert.equal((await post("prune")).replicas?.length, 2);
    for (const path of ["prune?confirm=true", "compact", "repair", "verify"])
      assert.equal((await post(path)).code, "forbidden", path);
    const pin = await call("/v1/databases/app/pins?txid=7&note=kept", "operate", { method: "POST" });
    assert.equal(pin.status, 201, await pin.clone().text());
    const unpin = await call("/v1/databases/app/pins?txid=7", "operate", { method: "DELETE" });
    assert.equal(unpin.status, 200, await unpin.text());
    await call("/v1/databases/app/pins?txid=9", "operate", { method: "POST" });
  });

  test("brings dead letters back, each once it is safe, with its first sender", async () => {
    const { deployed, line, call, ingest } = world;
    const { ingest: url, "dead-ingest": dead } = deployed.queueUrls;
    const of = (name: string) =>
      Buffer.from(
        encodeEnvelope({
          ...{ database: parseDatabaseName(name), begin: line.begin, items: [], sentAtMs: Date.now() },
          ...{ newestTxId: null, newestStampMs: null },
        }),
      ).toString("base64");
    const attributes = {
      sender: "AROAFIRST",
      receivedAtMs: "1767000000000",
      code: "forbidden",
      reason: "why",
    };
    for (const name of ["app", "other", "app"]) await deployed.queues.send(dead, of(name), attributes);

    const again = () => call("/v1/replay?database=app", "operate", { method: "POST" });
    world.refusing.target = "AmazonSQS.SendMessageBatch";
    assert.equal((await again()).status, 503);
    delete world.refusing.target;
    assert.deepEqual([await deployed.queues.count(url), await deployed.queues.count(dead)], [0, 3]);
    // Those that it had taken are hidden for a while.
    for (const letter of await deployed.queues.peek(dead, 3)) assert.ok(letter.body.length > 0);
    await deployed.queues.clear(dead);
    for (const name of ["app", "other", "app"]) await deployed.queues.send(dead, of(name), attributes);

    const answer = await again();

    const { replayed } = (await answer.json()) as {
      readonly replayed: readonly { readonly replica: string; readonly messages: number }[];
    };
    assert.deepEqual(replayed.at(-1), { replica: "ingest", messages: 2 });
    assert.deepEqual([await deployed.queues.count(url), await deployed.queues.count(dead)], [2, 1]);
    const [message] = await deployed.queues.peek(url, 1);
    assert.deepEqual(message?.attributes, { sender: "AROAFIRST", receivedAtMs: "1767000000000" });
    await deployed.queues.clear(url);
    await deployed.queues.clear(dead);
    assert.equal((await ingest([], commits)).status, 202);
  });

  test("does by schedule what is due, in every replica, and tells what came of it", async () => {
    const { deployed, call, run } = world;
    // Two at once only do the work twice.
    const [compacted] = await Promise.all([run("compact"), run("compact")]);
    assert.deepEqual(compacted, { done: ["app"], failed: [], left: [] });
    for (const task of ["verify", "repair", "prune"] as const)
      assert.deepEqual(await run(task, { database: "app" }), { done: ["app"], failed: [], left: [] }, task);

    const first = bucketOf(world, deployed.replicaBuckets[0] ?? "");
    const names = (await Array.fromAsync(first.list("app/"))).map(({ name }) => name);
    const status = (await (await call("/v1/databases/app", "read,restore")).json()) as {
      readonly alarms: readonly { readonly code: string }[];
      readonly replicas: readonly {
        readonly compaction: { readonly objects: number } | null;
        readonly snapshot: { readonly txid: string };
        readonly verified: { readonly verdict: string } | null;
        readonly prune: unknown;
      }[];
    };
    assert.deepEqual(status.alarms, []);
    for (const { compaction, snapshot, verified, prune } of status.replicas) {
      assert.ok((compaction?.objects ?? 0) > 0 && snapshot.txid > formatTxId(txId(1)));
      assert.equal(verified?.verdict, "FOUND", names.join("\n"));
      assert.ok(prune !== null);
    }
  });

  test("lets go of what nobody keeps, once it was marked for long enough", async () => {
    const { deployed, call } = world;
    const { clock, prune } = await world.pruneAt(Date.now() + 3 * 24 * hourMs);
    const first = bucketOf(world, deployed.replicaBuckets[0] ?? "");
    const names = async () => (await Array.fromAsync(first.list("app/"))).map(({ name }) => name);
    const isSegment = (name: string) => name.includes("/segments/");
    const before = await names();

    assert.deepEqual((await prune()).done, ["app"]);
    const marked = await names();
    clock.nowMs += 20 * 60_000;
    assert.deepEqual((await prune()).done, ["app"]);

    assert.deepEqual(
      marked.filter(isSegment),
      before.filter(isSegment),
      "nothing goes when it is only marked",
    );
    const after = await names();
    assert.ok(after.filter(isSegment).length < before.filter(isSegment).length, after.join("\n"));
    assert.ok(
      after.every((name) => !name.includes("/leases/")),
      "leases that are over are gone",
    );
    const image = await call("/v1/databases/app/restore", "read,restore");
    assert.equal(image.status, 200, "the newest point is there");
    await image.arrayBuffer();
    const pinned = await call("/v1/databases/app/restore?txid=9", "read,restore");
    assert.equal(pinned.status, 200, "and so is what somebody pinned");
    await pinned.arrayBuffer();
  });

  test("knows at once what was let go on purpose, and calls it silent no more", async () => {
    const { deployed, ingest, call, compactAt } = world;
    const status = async () =>
      (await (await call("/v1/databases/app", "read,restore")).json()) as {
        readonly lastHeard: string;
        readonly parted: { readonly by: string } | null;
      };
    const silentAt = async (nowMs: number) => (await compactAt(nowMs)).filter((code) => code === "silent");
    await ingest([], commits);
    await world.fanOut();
    const lateMs = Date.now() + 10 * 60_000;
    assert.deepEqual(await silentAt(lateMs), ["silent"]);

    // What is heard is noted once a minute; this is said once, and may be the last that the function does.
    await ingest([], commits, { farewell: "unconfigured" });
    await world.fanOut();

    assert.deepEqual(await silentAt(lateMs), []);
    // What is shown is some seconds old.
    await until("it is shown", async () => (await status()).parted !== null);
    assert.match((await status()).parted?.by ?? "", /^a reload of its configuration on /);
    await deployed.queues.clear(deployed.queueUrls.ingest);
  });

  test("brings back what one replica lost", async () => {
    const { deployed, run } = world;
    const lost = bucketOf(world, deployed.replicaBuckets[1] ?? "");
    const names = (await Array.fromAsync(lost.list("app/"))).map(({ name }) => name);
    const objects = names.filter((name) => /(segments|snapshots)\//.test(name));
    await lost.remove(objects);

    assert.deepEqual((await run("repair")).failed, []);

    const found = (await Array.fromAsync(lost.list("app/"))).filter(({ name }) => /snapshots\//.test(name));
    assert.ok(found.length > 0);
    assert.deepEqual((await run("verify", { database: "app" })).failed, []);
  });

  test("ends in time, and goes on with who waited longest", async () => {
    const { run } = world;

    const cut = await run("compact", {}, 1);

    assert.deepEqual([cut.done, cut.left, cut.failed], [[], ["app"], []]);
    assert.deepEqual((await run("compact")).done, ["app"]);
  });

  test("lets a restored database go on from a point that every replica holds, and makes its first snapshot", async () => {
    const { deployed, line, call, ingest, run } = world;
    const point = { generation: line.generation, txId: txId(commits) };
    const { stateHash } = line.model.at(commits);
    const queue = createHttpQueue({ url: deployed.url, token: deployed.tokens.agent ?? "" });
    assert.equal(await queue.holds?.("app", { ...point, stateHash }), true);
    assert.equal(await queue.holds?.("app", { ...point, stateHash: stateHash + 1n }), false);
    assert.equal(await queue.holds?.("app", { ...point, txId: txId(commits + 1), stateHash }), false);
    assert.equal((await call("/v1/databases/app/holds", "read,restore")).status, 403);
    const generation = parseGeneration("00000000000000c3");
    const restored = { reason: "restored", epoch: 2, parent: point, parentStateHash: stateHash } as const;

    const told = await ingest([], commits, { begin: { ...line.begin, ...restored, generation } });
    assert.equal(told.status, 202);
    await world.fanOut();
    const begun = await namesOf(world, generation);
    assert.deepEqual((await run("compact", { database: "app" })).failed, []);

    assert.deepEqual(begun, [`${generation}/generation.json`, `${generation}/generation.json`]);
    const names = await namesOf(world, generation);
    const isSnapshot = (name: string) => name.endsWith(`-${formatTxId(point.txId)}.snapshot.cbor`);
    assert.deepEqual([names.length, names.filter(isSnapshot).length], [4, 2], names.join("\n"));
    // What is asked for every minute may be some minutes old.
    const image = await call(`/v1/databases/app/restore?generation=${generation}`, "read,restore");
    assert.equal(image.headers.get("x-pageferry-state-hash"), formatStateHash(stateHash));
    await image.arrayBuffer();
  });

  test("asks of its buckets what its rights allow, and no more", (t) => {
    const { asked, deployed } = world;
    const { stageBucket, replicaBuckets } = deployed;
    const writes = (actor: string, bucket: readonly string[]) =>
      new Set(
        asked
          .filter((one) => one.actor === actor && bucket.includes(one.bucket) && !/GET|HEAD/.test(one.method))
          .map(({ method, key }) => `${method} ${placeOf(key)}`),
      );
    const archive = ["PUT app/leases/*", "PUT app/pins/*", "DELETE app/pins/*"];
    assert.deepEqual([...writes("api", replicaBuckets)].sort(), archive.sort());
    for (const write of writes("api", [stageBucket])) assert.match(write, /^PUT (stage\/app|state)\/\*$/);
    for (const actor of ["compact", "verify", "repair"])
      for (const write of writes(actor, replicaBuckets)) assert.match(write, /^PUT /, `${actor} ${write}`);
    for (const actor of ["compact", "verify", "repair", "prune"])
      assert.deepEqual([...writes(actor, [stageBucket])], ["PUT state/*"], actor);
    for (const write of writes("prune", replicaBuckets))
      assert.match(write, /^(PUT app\/marks\/|DELETE app\/)/);
    for (const actor of ["api", "compact", "prune", "verify", "repair"])
      t.diagnostic(`${actor}: ${[...writes(actor, replicaBuckets)].sort().join(", ")}`);
  });

  test("is the same in AWS's own client, bundled", { skip: withoutLambdaClient }, async (t) => {
    await using directory = await temporaryDirectory();
    await promisify(execFile)(process.execPath, ["packages/functions/build/lambda.mjs", directory.path]);
    const sizes = await readFile(directory.file("sizes.json"), "utf8");
    const isOurs = ([name]: readonly [string, unknown]) => /^(PAGEFERRY|AWS)_/.test(name);
    const env = Object.fromEntries(Object.entries(process.env).filter(isOurs)) as Record<string, string>;
    const open = (name: string) =>
      startLambda({ bundle: directory.file(name), env: { ...env, TMPDIR: directory.path } });
    await using api = await open("api");
    const get = async (url: string, scopes: string) => {
      const headers = { authorization: `Bearer ${world.deployed.tokens[scopes]}` };
      const invoked = await api.invoke(eventOf({ method: "GET", url, headers }, ""));
      assert.ok(invoked.ok && invoked.isStreamed, JSON.stringify(invoked));
      // Its head comes first, and ends with eight zeros.
      const end = invoked.bytes.indexOf(Buffer.alloc(8));
      const head = JSON.parse(invoked.bytes.subarray(0, end).toString()) as {
        readonly statusCode: number;
        readonly headers: Readonly<Record<string, string>>;
      };
      return { ...head, body: invoked.bytes.subarray(end + 8) };
    };

    const image = await get("/v1/databases/app/restore", "read,restore");
    assert.deepEqual([image.statusCode, image.headers["content-type"]], [200, "application/octet-stream"]);
    const served = await world.call("/v1/databases/app/restore", "read,restore");
    assert.equal(served.headers.get("x-pageferry-state-hash"), image.headers["x-pageferry-state-hash"]);
    assert.equal((await served.arrayBuffer()).byteLength, image.body.length);
    assert.equal((await get("/v1/databases/app/needs", "read,restore")).statusCode, 403);
    for (const task of ["compact", "verify", "repair", "prune"]) {
      await using scheduled = await open(task);
      const invoked = await scheduled.invoke({ database: "app" });
      assert.deepEqual(
        invoked.ok && invoked.value,
        { done: ["app"], failed: [], left: [] },
        scheduled.output(),
      );
      t.diagnostic(`${task}: init ${scheduled.initMs.map(Math.round)} ms`);
    }
    t.diagnostic(`api: init ${api.initMs.map(Math.round)} ms; bundles ${sizes}`);
  });
});

/** A key's place: its directory, without what tells one object from another. */
function placeOf(key: string): string {
  return key.replace(/[0-9a-f]{16}\//, "GENERATION/").replace(/[^/]+$/, "*");
}

/** Of a generation, in all replicas. */
async function namesOf(world: World, generation: string): Promise<string[]> {
  const listed = world.deployed.replicaBuckets.map((bucket) =>
    Array.fromAsync(bucketOf(world, bucket).list(`app/${generation}/`)),
  );
  return (await Promise.all(listed)).flat().map(({ name }) => name.slice("app/".length));
}

/** Beside the proxy: what a test does itself needs no rights. */
function bucketOf({ endpoint }: World, bucket: string) {
  return s3Store({ bucket, endpoint, accessKey: "test", secretKey: "test" });
}

suite("a place for a large body", { skip: withoutS3Server }, () => {
  test("takes the very bytes that it was made for, once, and from anybody", async () => {
    await using server = await startS3();
    const store = s3Store(server.entry(await server.makeBucket()));
    const body = randomBytes(300_000);
    const put = { size: body.length, sha256: digestOf(body), expiresSeconds: 60 };
    const { method, url, headers } = await store.presignPut("stage/app/x", put);
    const send = (bytes: Buffer, more: Record<string, string> = {}) =>
      fetch(url, { method, headers: { ...headers, ...more }, body: Uint8Array.from(bytes) });

    const other = await send(randomBytes(300_000));
    assert.ok(other.status >= 400, `other bytes: ${other.status}`);
    const renamed = await send(body, { "x-amz-checksum-sha256": Buffer.alloc(32).toString("base64") });
    assert.ok(renamed.status >= 400, `another digest: ${renamed.status}`);
    const unasked = await send(body, { "if-none-match": "x" });
    assert.ok(unasked.status >= 400, `without its condition: ${unasked.status}`);
    assert.equal((await send(body)).status, 200);
    assert.equal((await send(body)).status, 412);
    assert.deepEqual(await Array.fromAsync(store.list("")), [{ name: "stage/app/x", size: body.length }]);
    await store.close();
  });
});
