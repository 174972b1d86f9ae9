// One journey through both hosts: envelopes in by HTTP with an agent's token, points, a manifest, and a restore with nothing but a token. The
// same envelopes must give the same points and the same bytes, whoever serves them.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { suite, test } from "node:test";
import {
  checkDatabase,
  type Envelope,
  encodeEnvelope,
  formatTxId,
  livePages,
  newestMeta,
  parseDatabaseName,
  txId,
} from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";
import { type LocalHost, localHost } from "@pageferry/functions/hosts/local";
import { firstLine, segmentItem, snapshotItem } from "../packages/functions/testing/bolt-archive.ts";
import { createBoltModel } from "../packages/functions/testing/bolt-model.ts";
import { deploy } from "./lambda-deployment.ts";
import { pageferryOk, restore } from "./pageferry.ts";
import { startMinistack, withoutMinistack } from "./servers/ministack.ts";
import { temporaryDirectory, until } from "./temporary.ts";

type Ministack = Awaited<ReturnType<typeof startMinistack>>;

const database = parseDatabaseName("app");
const beginMs = Date.UTC(2026, 0, 2);
const commits = 40;

/** A host that is asked by HTTP alone. */
interface JourneyHost extends AsyncDisposable {
  readonly url: string;
  /** For the scopes that are asked for. */
  readonly token: Readonly<Record<"agent" | "restore", string>>;
  /** Resolves when what was sent is in the replica. */
  settled(): Promise<void>;
  /** Merges what is due, as its schedule does. */
  compact(): Promise<void>;
}

/** What the agent sends: a snapshot, then each commit, some of them in one envelope; and once more, as after an answer that was lost. */
async function envelopes(): Promise<Uint8Array[]> {
  const model = createBoltModel({ hasFreelist: true });
  const line = firstLine(model, "a1", (id) => beginMs + id * 1000);
  const of = (items: Envelope["items"], newest: number): Uint8Array =>
    encodeEnvelope({
      ...{ database, begin: line.begin, items, sentAtMs: beginMs },
      ...{ newestTxId: txId(newest), newestStampMs: line.stampMs(newest) },
    });
  const inline = ({ name, body }: ReturnType<typeof segmentItem>) => ({
    name: name.name,
    bytes: body as Uint8Array,
  });
  const sent = [of([inline(await snapshotItem(line, 1))], 1)];
  for (let id = 2; id <= commits; id += 1) {
    model.commit([{ key: id % 6, letter: id % 5, overflow: 0 }]);
    sent.push(of([inline(segmentItem(line, id - 1, id))], id));
  }
  return [...sent, of([], commits), ...sent.slice(5, 9)];
}

interface Travelled {
  readonly points: readonly string[];
  readonly stateHash: unknown;
  /** Digests of what was restored, live pages alone: the newest, an older one, and as one download. */
  readonly images: readonly string[];
}

/** The journey. Nothing in it knows which host it is. */
async function travel(host: JourneyHost, file: (name: string) => string): Promise<Travelled> {
  const call = (path: string, token: string, init: RequestInit = {}) =>
    fetch(`${host.url}${path}`, { ...init, headers: { authorization: `Bearer ${token}`, ...init.headers } });
  for (const body of await envelopes()) {
    const headers = { "content-type": "application/cbor" };
    const answer = await call("/v1/ingest", host.token.agent, {
      method: "POST",
      headers,
      body: Buffer.from(body),
    });
    assert.equal(answer.status, 202, answer.headers.get("x-test-error") ?? (await answer.text()));
  }
  await host.settled();
  const base = `/v1/databases/${database}`;
  const needs = (await (await call(`${base}/needs`, host.token.agent)).json()) as {
    readonly generations: Readonly<
      Record<string, { readonly storedTxId: string; readonly missing: unknown[] }>
    >;
  };
  const [stored] = Object.values(needs.generations);
  assert.deepEqual([stored?.storedTxId, stored?.missing], [formatTxId(txId(commits)), []]);
  const waited = await call(`${base}/wait?txid=${commits}&timeout=20s`, host.token.restore);
  assert.equal(waited.status, 200, await waited.clone().text());
  await host.compact();

  const { points } = (await (await call(`${base}/points`, host.token.restore)).json()) as {
    readonly points: readonly { readonly generation: string; readonly txid: string }[];
  };
  const manifest = await call(`${base}/manifest`, host.token.restore);
  const { expect, objects, signature } = (await manifest.json()) as {
    readonly expect?: { readonly stateHash?: unknown };
    readonly objects: readonly { readonly url: string; readonly via: string }[];
    readonly signature?: unknown;
  };
  assert.ok(signature !== undefined, "the manifest is signed");
  assert.ok(
    objects.every(({ via }) => via === "presigned"),
    JSON.stringify(objects),
  );
  const refused = await call("/v1/ingest", host.token.restore, { method: "POST", body: "x" });
  assert.equal(refused.status, 403);

  const key = await call("/v1/manifest-key", host.token.restore);
  const { publicKey } = (await key.json()) as { readonly publicKey: string };
  const images: string[] = [];
  for (const txid of [undefined, formatTxId(txId(17))]) {
    const out = file(`${txid ?? "newest"}.db`);
    const env = { PAGEFERRY_TOKEN: host.token.restore, PAGEFERRY_MANIFEST_KEY: publicKey };
    const from = `${host.url}${base}`;
    const run = await restore(from, out, txid === undefined ? {} : { txid }, { env });
    assert.equal(run.code, 0, run.stderr);
    images.push(liveDigestOf(out));
  }
  const download = await call(`${base}/restore`, host.token.restore);
  assert.equal(download.headers.get("content-type"), "application/octet-stream");
  await writeFile(file("download.db"), Buffer.from(await download.arrayBuffer()));
  images.push(liveDigestOf(file("download.db")));
  return {
    points: points.map(({ generation, txid }) => `${generation} ${txid}`),
    stateHash: expect?.stateHash,
    images,
  };
}

/** Of both metas and the bytes of every live page, in a database that is sound; free pages may hold anything. */
function liveDigestOf(path: string): string {
  using source = openPageSource(path);
  const { problems } = checkDatabase(source, { mode: "full" });
  assert.deepEqual(problems, []);
  const metas = [source.read(0, 1), source.read(1, 1)] as const;
  const meta = newestMeta(...metas);
  assert.ok(meta !== undefined);
  const hash = createHash("sha256").update(metas[0]).update(metas[1]);
  const runs = Array.from(livePages(source, meta), ({ id, run }) => ({ id, run: Uint8Array.from(run) }));
  for (const { id, run } of runs.sort((a, b) => a.id - b.id)) hash.update(`${id}`).update(run);
  return hash.digest("hex");
}

const levels = ["10s", "1m"];

async function onLocalHost(aws: Ministack, dataDir: string): Promise<JourneyHost> {
  const bucket = await aws.makeBucket();
  const { endpoint, accessKey, secretKey } = aws.entry(bucket);
  const host: LocalHost = await localHost({
    ...{ dataDir, databases: [], compaction: { levelsMs: [10_000, 60_000] } },
    replicas: [{ type: "s3", bucket, endpoint, accessKey, secretKey, prefix: "" } as never],
    listen: { host: "127.0.0.1", port: 0 },
  });
  const create = async (scopes: string) =>
    (
      await pageferryOk(["token", "create", "--data", dataDir, "--scopes", scopes, "--database", database])
    ).trim();
  const token = { agent: await create("agent"), restore: await create("restore") };
  return {
    ...{ url: host.url ?? "", token },
    async settled() {
      await until("all is stored", async () => (await host.status(database)).lagMs === 0);
    },
    async compact() {
      await host.compact(database);
    },
    [Symbol.asyncDispose]: () => host.close(),
  };
}

async function onFunctions(aws: Ministack): Promise<JourneyHost> {
  const deployed = await deploy(aws, { scopes: ["agent", "restore"], config: { compaction: { levels } } });
  const { url, tokens } = deployed;
  return {
    url,
    token: { agent: tokens.agent ?? "", restore: tokens.restore ?? "" },
    async settled() {
      await deployed.fanOut();
    },
    async compact() {
      const { done, failed } = await deployed.run("compact", { database });
      assert.deepEqual([done, failed], [[database], []]);
    },
    [Symbol.asyncDispose]: () => deployed[Symbol.asyncDispose](),
  };
}

suite("the same journey", { skip: withoutMinistack }, () => {
  test("gives the same points and the same bytes in one process and in functions", async () => {
    await using directory = await temporaryDirectory();
    await using aws = await startMinistack();
    const travelled: Travelled[] = [];
    for (const [at, open] of [
      () => onLocalHost(aws, directory.file("data")),
      () => onFunctions(aws),
    ].entries()) {
      await using host = await open();
      travelled.push(await travel(host, (name) => directory.file(`${at}-${name}`)));
    }

    const [local, functions] = travelled;

    assert.deepEqual(functions, local);
    assert.equal(
      new Set(local?.images).size,
      2,
      "the newest and its download are one database, the older is another",
    );
  });
});
