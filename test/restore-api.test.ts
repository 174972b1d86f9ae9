// The restore API of a real host over a real bolt writer: curl alone brings the database back, broken downloads go on, and objects come from the
// bucket itself where the manifest says so.
import assert from "node:assert/strict";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { suite, test } from "node:test";
import { checkDatabase, formatStateHash, parseManifest } from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";
import { type ManifestValue, startAlteringProxy } from "./altering-proxy.ts";
import { checkFile, runWriter } from "./go-apps.ts";
import { type Host, pageferry, restore, startServe, startUp } from "./pageferry.ts";
import { runProcess } from "./processes.ts";
import { type S3Server, startS3, withoutS3Server } from "./servers/s3.ts";
import { freePort, temporaryDirectory, until } from "./temporary.ts";

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  bytes(): Promise<Uint8Array>;
  json(): Promise<unknown>;
}

/** A host with a database of some MB in its replica, and what asks it. */
async function hosted(path: string, file: (name: string) => string, args: readonly string[] = []) {
  await runWriter({ path, count: 300, keys: 20, value: 1000, initialMB: 8 });
  const host = await startUp([path], { dataDir: file("data"), args: ["--sync-interval", "100ms", ...args] });
  const token = await host.token();
  const authorization = `Bearer ${token}`;
  const base = `${host.url}/v1/databases/app`;
  const get = (suffix: string, headers: Record<string, string> = {}, method = "GET"): Promise<Answer> =>
    fetch(`${base}${suffix}`, { method, headers: { authorization, ...headers } });
  await until("the database is there", async () => {
    const { points } = (await (await get("/points")).json()) as { points?: readonly unknown[] };
    return (points?.length ?? 0) > 0;
  });
  return { host, base, token, get };
}

async function restoredAs(file: string, stateHash: string | null | undefined): Promise<void> {
  assert.equal((await checkFile(file)).ok, true);
  using source = openPageSource(file);
  const { stateHash: found, problems } = checkDatabase(source, { mode: "quick" });
  assert.deepEqual([problems, found === undefined ? null : formatStateHash(found)], [[], stateHash]);
}

async function isScratchEmpty({ dataDir }: Host): Promise<boolean> {
  const names = await readdir(`${dataDir}/scratch`).catch(() => []);
  return names.filter((name) => name.startsWith("work-")).length === 0;
}

suite("a database over HTTP", () => {
  test("comes whole with curl, which can prove it, and goes on where it broke off", async () => {
    await using directory = await temporaryDirectory();
    const { host, base, token, get } = await hosted(directory.file("app.db"), directory.file);
    await using _host = host;
    const curl = (...args: string[]) =>
      runProcess("curl", ["-sS", "-f", "-H", `Authorization: Bearer ${token}`, ...args]);
    const head = await get("/restore", {}, "HEAD");
    assert.equal(head.status, 200);
    assert.ok(await isScratchEmpty(host), "a HEAD restores nothing");
    const out = directory.file("out.db");

    const got = await curl("-o", out, "-D", "-", `${base}/restore`);

    assert.equal(got.code, 0, got.stderr);
    for (const name of ["content-length", "etag", "x-pageferry-state-hash", "x-pageferry-txid"])
      assert.ok(
        got.stdout.toLowerCase().includes(`${name}: ${head.headers.get(name)}`),
        `${name} in ${got.stdout}`,
      );
    assert.match(head.headers.get("content-disposition") ?? "", /filename="app-[0-9a-f]{16}\.db"/);
    assert.match(head.headers.get("x-pageferry-timestamp") ?? "", /^\d{4}-.*Z$/);
    assert.equal((await stat(out)).size, Number(head.headers.get("content-length")));
    await restoredAs(out, head.headers.get("x-pageferry-state-hash"));

    // A download that broke off, by name and by ETag.
    const whole = await readFile(out);
    const etag = head.headers.get("etag") ?? "";
    const point = `txid=${head.headers.get("x-pageferry-txid")}&generation=${head.headers.get("x-pageferry-generation")}`;
    const part = directory.file("part.db");
    await curl("-o", part, "-r", "0-999999", `${base}/restore?${point}`);
    assert.equal((await stat(part)).size, 1_000_000);
    const went = await curl("-o", part, "-C", "-", `${base}/restore?${point}`);
    assert.equal(went.code, 0, went.stderr);
    assert.ok(whole.equals(await readFile(part)));
    const rest = await get("/restore", { range: "bytes=5000000-", "if-range": etag });
    assert.equal(rest.status, 206);
    assert.equal(rest.headers.get("content-range"), `bytes 5000000-${whole.length - 1}/${whole.length}`);
    assert.ok(whole.subarray(5_000_000).equals(await rest.bytes()));
    const other = await get("/restore", { range: "bytes=5-", "if-range": '"another"' });
    assert.deepEqual([other.status, other.headers.get("content-length")], [200, String(whole.length)]);
    await other.bytes();
    // "The newest" may be another one by now.
    const loose = await get("/restore", { range: "bytes=5-" });
    assert.deepEqual([loose.status, ((await loose.json()) as { code: string }).code], [400, "bad-request"]);
    const past = await get(`/restore?${point}`, { range: `bytes=${whole.length}-` });
    assert.equal(past.status, 416);
    assert.equal((await get("/restore?txid=fffffffffffffff0")).status, 404);
  });

  test("of an application that an old file harms comes to who says that they know, in its words", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("channel.db");
    await runWriter({ path, count: 20 });
    await using host = await startUp([path], { dataDir: directory.file("data") });
    const from = `${host.url}/v1/databases/channel`;
    const env = { PAGEFERRY_TOKEN: await host.token() };
    const authorization = `Bearer ${env.PAGEFERRY_TOKEN}`;
    const curl = (...args: string[]) =>
      runProcess("curl", ["-sS", "-f", "-H", `Authorization: ${authorization}`, ...args]);
    await until("it is there", async () => {
      const answer = await fetch(`${from}/points`, { headers: { authorization } });
      return answer.ok && ((await answer.json()) as { points: readonly unknown[] }).points.length > 0;
    });
    const out = directory.file("out.db");

    const silent = await pageferry(["restore", "-o", out, from], { env });
    const wrong = await pageferry(["restore", "-o", out, "--acknowledge", "yes", from], { env });
    assert.deepEqual([silent.code, wrong.code], [12, 12]);
    assert.match(silent.stderr, /its peers may take all funds/);
    assert.match(silent.stderr, /hint: .*lncli restorechanbackup.*--acknowledge "loss of funds"/);
    assert.notEqual((await curl("-o", out, `${from}/restore`)).code, 0);
    await assert.rejects(stat(out), { code: "ENOENT" });

    const known = await pageferry(["restore", "-o", out, "--acknowledge", "loss of funds", from], { env });
    assert.equal(known.code, 0, known.stderr);
    assert.equal((await checkFile(out)).ok, true);
    const sent = await curl("-o", directory.file("sent.db"), `${from}/restore?acknowledge=loss+of+funds`);
    assert.equal(sent.code, 0, sent.stderr);
    assert.equal((await checkFile(directory.file("sent.db"))).ok, true);
  });

  test("that clients hang up on, or that a host leaves behind, takes no room", async () => {
    await using directory = await temporaryDirectory();
    const { host, get } = await hosted(directory.file("app.db"), directory.file);
    await using _host = host;
    const hangUp = async (): Promise<void> => {
      const url = new URL(`${host.url}/v1/databases/app/restore`);
      const asking = request(url, { headers: { authorization: `Bearer ${await host.token()}` } });
      const answered = Promise.withResolvers<void>();
      asking.on("response", (answer) => answer.once("data", () => answered.resolve()));
      asking.on("error", () => undefined);
      asking.end();
      await answered.promise;
      asking.destroy();
    };
    for (let times = 0; times < 20; times += 1) await hangUp();

    await until("nothing of it is open", async () => {
      const { stdout } = await runProcess("ls", ["-l", `/proc/${host.pid}/fd`]);
      return !stdout.includes("image.db");
    });
    assert.equal((await get("/restore")).status, 200);
    assert.ok(!(await isScratchEmpty(host)), "an image is kept for who comes back");

    host.kill("SIGKILL");
    await host.ended;
    await using next = await startServe({ dataDir: host.dataDir });
    assert.ok(await isScratchEmpty(next), "what a killed host left is gone");
    const token = await next.token();
    const url = `${next.url}/v1/databases/app/restore`;
    await (await fetch(url, { headers: { authorization: `Bearer ${token}` } })).bytes();
    await next.stop();
    assert.ok(await isScratchEmpty(next), "what a host made is gone when it stops");
  });
});

suite("objects of a bucket", { skip: withoutS3Server }, () => {
  async function withBucket(s3: S3Server, file: (name: string) => string) {
    const bucket = await s3.makeBucket();
    const keys = s3.entry(bucket);
    const config = file("pageferry.json");
    const entry = {
      type: "s3",
      bucket,
      endpoint: keys.endpoint,
      accessKey: keys.accessKey,
      secretKey: keys.secretKey,
    };
    await writeFile(config, JSON.stringify({ databases: [{ path: file("app.db") }], replicas: [entry] }));
    return hosted(file("app.db"), file, ["--config", config]);
  }

  test("come from it by URLs that need no token, and are nobody's else", async () => {
    await using directory = await temporaryDirectory();
    await using s3 = await startS3();
    const { host, base, token, get } = await withBucket(s3, directory.file);
    await using _host = host;
    const manifest = parseManifest(await (await get("/manifest")).bytes());
    assert.ok(manifest.objects.every(({ via }) => via === "presigned"));
    assert.ok(manifest.lease !== undefined && manifest.expiresAtMs === manifest.lease.expiresAtMs);
    assert.ok((manifest.expiresAtMs ?? 0) > Date.now() + 30 * 60_000);
    for (const { name, size, url = "" } of manifest.objects) {
      const [direct, proxied] = await Promise.all([fetch(url), get(`/objects/${name}`)]);
      const bytes = await direct.bytes();
      assert.equal(bytes.length, size);
      assert.ok(Buffer.from(bytes).equals(await proxied.bytes()));
    }
    const through = parseManifest(await (await get("/manifest?urls=proxied")).bytes());
    assert.ok(through.objects.every(({ via, url }) => via === "proxied" && url?.startsWith("objects/")));
    assert.equal((await get("/manifest?urls=ftp")).status, 400);

    const direct = directory.file("direct.db");
    const env = { PAGEFERRY_TOKEN: token };
    const first = await restore(base, direct, {}, { env });
    assert.equal(first.code, 0, first.stderr);
    assert.equal(first.stderr.includes("through the host"), false, first.stderr);
    await restoredAs(direct, formatStateHash(manifest.stateHash as bigint));

    // Saved, it needs the host no more.
    const saved = directory.file("manifest.json");
    const key = `${host.dataDir}/manifest-key.pub`;
    await writeFile(saved, await (await get("/manifest?urls=presigned")).bytes());
    const alone = await restore(saved, directory.file("alone.db"), {}, { args: ["--manifest-key", key] });
    assert.equal(alone.code, 0, alone.stderr);
    await restoredAs(directory.file("alone.db"), formatStateHash(manifest.stateHash as bigint));

    const said = [first.stdout, first.stderr, host.output()].join("\n");
    assert.ok(!/x-amz-/i.test(said), "a presigned URL is a credential, and is not logged");
  });
});

test("objects come through the host where a manifest's own places are out of the client's reach", async () => {
  await using directory = await temporaryDirectory();
  const { host, token } = await hosted(directory.file("app.db"), directory.file);
  await using _host = host;
  const nobody = `http://127.0.0.1:${await freePort()}`;
  await using proxy = await startAlteringProxy(host.url, (manifest) => ({
    ...manifest,
    objects: manifest.objects.map(({ name, ...more }) => ({
      ...more,
      name,
      url: `${nobody}/bucket/${name}`,
    })),
  }));
  const out = directory.file("out.db");

  const from = `${proxy.url}/v1/databases/app`;
  const { code, stderr } = await restore(from, out, {}, { env: { PAGEFERRY_TOKEN: token } });

  assert.equal(code, 0, stderr);
  assert.equal(stderr.match(/objects come through the host/g)?.length, 1, stderr);
  assert.equal((await checkFile(out)).ok, true);
});

test("a manifest that the host did not sign as it came, or for something else, is refused", async () => {
  await using directory = await temporaryDirectory();
  const { host, token, get } = await hosted(directory.file("app.db"), directory.file);
  await using _host = host;
  const key = (await readFile(`${host.dataDir}/manifest-key.pub`, "utf8")).trim();
  const told = await (
    await fetch(`${host.url}/v1/manifest-key`, { headers: { authorization: `Bearer ${token}` } })
  ).json();
  assert.equal((told as { publicKey: string }).publicKey, key);
  const older = (await (await get("/manifest")).json()) as ManifestValue;
  await runWriter({ path: directory.file("app.db"), count: 5 });
  const newest = await until("there is a newer point", async () => {
    const { txId } = (await (await get("/manifest")).json()) as ManifestValue;
    return txId !== older.txId && String(txId);
  });
  const cases: Record<
    string,
    { alter?: (manifest: ManifestValue) => unknown; key?: string; txid?: string; code: number }
  > = {
    "as it came": { code: 0 },
    "with another state": { alter: (manifest) => ({ ...manifest, stateHash: "0".repeat(32) }), code: 6 },
    "without its signature": { alter: ({ signature: _, ...manifest }) => manifest, code: 6 },
    "of another host": { key: "A".repeat(43), code: 6 },
    "of another transaction": { alter: () => older, txid: newest, code: 6 },
  };
  for (const [
    name,
    { alter = (manifest: ManifestValue): unknown => manifest, key: other = key, txid, code },
  ] of Object.entries(cases)) {
    await using proxy = await startAlteringProxy(host.url, alter);
    const out = directory.file(`${name}.db`);

    const from = `${proxy.url}/v1/databases/app`;
    const point = txid === undefined ? {} : { txid };
    const env = { PAGEFERRY_TOKEN: token, PAGEFERRY_MANIFEST_KEY: other };
    const result = await restore(from, out, point, { args: ["--json"], env });

    assert.equal(result.code, code, `${name}: ${result.stdout}${result.stderr}`);
    if (code !== 0) {
      assert.match(result.stdout, /"code":"untrusted"/, name);
      await assert.rejects(stat(out), { code: "ENOENT" }, name);
    }
  }
});
