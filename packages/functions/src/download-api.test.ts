import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { parseDatabaseName, parseManifest, planOf, profileOf } from "@pageferry/format";
import { parseManifestKey, readSignedManifest } from "@pageferry/format/node";
import { Hono } from "hono";
import { firstLine, holdsState, segmentItem, snapshotItem } from "../testing/bolt-archive.ts";
import { createBoltModel } from "../testing/bolt-model.ts";
import { createArchiveApi } from "./archive-api.ts";
import { createArchives } from "./archives.ts";
import { addDownloadRoutes, type DownloadApiOptions } from "./download-api.ts";
import { type ArchiveParsed, addManifestRoutes } from "./manifest-api.ts";
import { openManifestSigner } from "./manifest-key.ts";
import { manifestKeyRoute, manifestRoute } from "./manifest-schema.ts";
import { createObjectServer } from "./object-server.ts";
import { problemOf } from "./problem.ts";
import { createReplica } from "./replica.ts";
import { createRestoredImages, type RestoredImagesOptions } from "./restored-images.ts";
import { memoryStore } from "./stores/memory.ts";

const beginMs = Date.UTC(2026, 5, 1);
const nowMs = Date.UTC(2026, 10, 28);

/** The routes over a replica with a real little history of ten transactions. */
async function open(
  t: TestContext,
  {
    images: imageOptions = {},
    ...more
  }: Omit<DownloadApiOptions, "images"> & { images?: Partial<RestoredImagesOptions> } = {},
) {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-download-"));
  t.after(() => rm(directory, { recursive: true }));
  const model = createBoltModel({ hasFreelist: true });
  for (let at = 0; at < 10; at += 1) model.commit([{ key: at % 6, letter: at % 5, overflow: at % 3 }]);
  const line = firstLine(model, "a1", (id) => beginMs + id * 1000);
  const store = {
    ...memoryStore(),
    presign: async (name: string) => `https://bucket/${name}?X-Amz-Signature=1`,
  };
  const replica = createReplica(store, { root: "app" });
  await replica.begin(line.begin, beginMs);
  await replica.putAll(line.generation, [await snapshotItem(line, 1)]);
  for (let id = 1; id < 10; id += 1) await replica.putAll(line.generation, [segmentItem(line, id, id + 1)]);
  const images = createRestoredImages({ scratchDir: directory, reserveBytes: 0, ...imageOptions });
  t.after(() => images.close());
  const signer = await openManifestSigner(directory);
  const leased: string[] = [];
  const app = new Hono();
  app.onError((error) => {
    const { status, headers, body } = problemOf(error, { isAboutRequest: false, requestId: "id" });
    return new Response(body, { status, headers });
  });
  const parsed: ArchiveParsed = {
    placeOf: async () => ({ database: parseDatabaseName("app"), readers: [replica.remembered] }),
    archive: createArchiveApi({ archives: createArchives(), now: () => nowMs }),
    objects: createObjectServer(),
  };
  const lease = async () => {
    leased.push("lease");
    return { id: "lease-1", expiresAtMs: nowMs + 1000 };
  };
  const { profileOf } = more;
  addManifestRoutes(app, { lease, signer, now: () => nowMs, profileOf }, parsed);
  addDownloadRoutes(app, { images, ...more }, parsed);
  const get = (path: string, headers: Record<string, string> = {}, method = "GET") =>
    app.request(path.startsWith("/v1/manifest-key") ? path : `/v1/databases/app${path}`, { headers, method });
  return { get, line, images, signer, leased };
}

suite("a manifest over HTTP", () => {
  test("fits its schema, is signed, and says until when it is good", async (t) => {
    const { get, signer, leased, line } = await open(t);

    const bytes = await (await get("/manifest")).bytes();

    const json: unknown = JSON.parse(Buffer.from(bytes).toString());
    manifestRoute.answers[200].parse(json);
    manifestKeyRoute.answers[200].parse(await (await get("/v1/manifest-key")).json());
    const manifest = readSignedManifest(bytes, parseManifestKey(signer.publicKey), nowMs);
    assert.deepEqual(manifest, parseManifest(bytes));
    assert.equal(planOf(manifest).txId, 10n);
    assert.equal(manifest.stateHash, line.model.at(10).stateHash);
    assert.deepEqual([manifest.expiresAtMs, manifest.lease?.id, leased.length], [nowMs + 1000, "lease-1", 1]);
    assert.equal(manifest.predictedRequests, manifest.objects.length);
    assert.deepEqual(
      [manifest.objects[0], manifest.objects.at(-1)].map((object) => object?.crc64?.length),
      [16, 16],
    );
  });

  test("has the places that are asked for, and refuses words that it does not know", async (t) => {
    const { get } = await open(t);
    const via = async (query: string) => [
      ...new Set(parseManifest(await (await get(`/manifest${query}`)).bytes()).objects.map((one) => one.via)),
    ];

    assert.deepEqual(await via(""), ["presigned"]);
    assert.deepEqual(await via("?urls=proxied"), ["proxied"]);
    assert.equal((await get("/manifest?urls=ftp")).status, 400);
    assert.equal((await get(`/manifest?without=${"x".repeat(2000)}`)).status, 400);
  });
});

suite("a database whose old file does harm in its place", () => {
  const lnd = { profileOf: () => profileOf({ name: "app", configured: "lnd" }) };

  test("is given to who says the words, as a file and as a manifest, and before that nothing is planned", async (t) => {
    const { get, leased } = await open(t, lnd);

    for (const path of ["/restore", "/manifest"]) {
      for (const query of ["", "?acknowledge=", "?acknowledge=yes", "?txid=999&acknowledge=true"]) {
        const answer = await get(`${path}${query}`);
        const { code, hint } = (await answer.json()) as { readonly code: string; readonly hint: string };
        assert.deepEqual([answer.status, code], [428, "unacknowledged"], `${path}${query}`);
        assert.match(hint, /lncli restorechanbackup.*acknowledge=loss\+of\+funds/);
      }
      assert.deepEqual(leased, []);
      assert.equal((await get(`${path}?acknowledge=${"x".repeat(65)}`)).status, 400);
      assert.equal((await get(path, {}, "HEAD")).status, 428);
    }
    for (const path of ["/restore", "/manifest"])
      assert.equal((await get(`${path}?acknowledge=Loss+of+funds`)).status, 200, path);
  });

  test("asks nothing of others, whatever they say", async (t) => {
    const { get } = await open(t);

    for (const query of ["", "?acknowledge=loss+of+funds"])
      assert.equal((await get(`/restore${query}`)).status, 200);
  });
});

suite("a database over HTTP", () => {
  test("is told by HEAD as it is by GET, and is the very state", async (t) => {
    const { get, line, images } = await open(t);
    const told = [
      "content-length",
      "etag",
      "x-pageferry-state-hash",
      "x-pageferry-txid",
      "x-pageferry-generation",
    ];

    const head = await get("/restore", {}, "HEAD");
    const whole = await get("/restore");

    const bytes = await whole.bytes();
    for (const name of told) assert.ok(head.headers.get(name), name);
    assert.deepEqual(
      ...([head, whole].map(({ headers }) => told.map((name) => headers.get(name))) as [unknown, unknown]),
    );
    assert.ok(holdsState(bytes, line.model, 10));
    await images.close();
  });

  test("above what the host sends is refused before it is restored, with the way that is left", async (t) => {
    const { get, images } = await open(t, { streamBytesMax: 1000 });

    const answer = await get("/restore?txid=5");

    const { code, hint } = (await answer.json()) as { code: string; hint: string };
    assert.deepEqual([answer.status, code], [413, "too-large"]);
    assert.match(hint, /\/v1\/databases\/app\/manifest\?generation=[0-9a-f]{16}&txid=0000000000000005/);
    assert.equal(images.peek("anything"), undefined);
  });

  test("is told to come again where too many are being restored", async (t) => {
    const { get } = await open(t, { images: { restoresMax: 0 } });

    const answer = await get("/restore");

    assert.equal(answer.status, 429);
    assert.match(answer.headers.get("retry-after") ?? "", /^\d+$/);
  });
});

suite("an object over HTTP", () => {
  test("has a strong ETag, and is given in any range", async (t) => {
    const { get } = await open(t);
    const [{ name, size } = { name: "", size: 0 }] = parseManifest(
      await (await get("/manifest")).bytes(),
    ).objects;
    const head = await get(`/objects/${name}`, {}, "HEAD");
    assert.deepEqual([head.status, head.headers.get("content-length")], [200, String(size)]);
    const etag = head.headers.get("etag") ?? "";
    assert.match(etag, /^"[0-9a-f]{32}"$/);

    const bytes = await (await get(`/objects/${name}`)).bytes();
    const end = await get(`/objects/${name}`, { range: "bytes=-7", "if-range": etag });

    assert.equal(end.headers.get("content-range"), `bytes ${size - 7}-${size - 1}/${size}`);
    assert.deepEqual(await end.bytes(), bytes.subarray(size - 7));
    assert.equal((await get(`/objects/${name}`, { range: "bytes=1-", "if-range": '"other"' })).status, 200);
    assert.equal((await get(`/objects/${name}`, { range: "bytes=x" })).status, 400);
    const past = await get(`/objects/${name}`, { range: `bytes=${size}-` });
    assert.deepEqual([past.status, past.headers.get("content-range")], [416, `bytes */${size}`]);
    assert.equal((await get("/objects/nothing")).status, 404);
    assert.equal((await get(`/objects/${name}x`)).status, 404);
  });
});
