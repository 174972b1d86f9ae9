// A restore from several replicas, one of them an S3 server that holds what the Go implementation writes there: data without headers.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cp, readdir, readFile, rm } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import { decodeCbor } from "@pageferry/format";
import { openStore } from "@pageferry/functions";
import { listPoints, pageferry } from "../pageferry.ts";
import { type S3Server, startS3, withoutS3Server } from "../servers/s3.ts";
import { chance, type TemporaryDirectory, temporaryDirectory } from "../temporary.ts";

const golden = new URL("../golden/replica-16k-none/", import.meta.url).pathname;
const luck = chance();

interface Truth {
  readonly txId: string;
  readonly bodySha256: string;
}

suite(`a mix of a directory and S3 (seed ${luck.seed})`, { skip: withoutS3Server }, () => {
  let directory: TemporaryDirectory;
  let server: S3Server;
  let truths: readonly Truth[];
  let names: readonly string[];
  let bucket: string;
  let env: Record<string, string>;
  const at = (...parts: readonly string[]): string => directory.file(...parts);
  const url = (): string =>
    `s3://${bucket}/bolt/app?endpoint=${server.endpoint}&region=us-east-1&forcePathStyle=true`;

  before(async () => {
    directory = await temporaryDirectory();
    server = await startS3();
    bucket = await server.makeBucket();
    const entry = server.entry(bucket);
    env = { AWS_ACCESS_KEY_ID: entry.accessKey ?? "", AWS_SECRET_ACCESS_KEY: entry.secretKey ?? "" };
    truths = JSON.parse(await readFile(`${golden}truth.json`, "utf8")).transactions;
    names = (await readdir(`${golden}data`, { recursive: true })).filter((name) => name.endsWith(".cbor"));
    await using store = await openStore({ type: "s3", ...entry, prefix: "bolt" } as Parameters<
      typeof openStore
    >[0]);
    for (const name of names) {
      const file = decodeCbor(await readFile(`${golden}data/${name}`)) as Map<string, unknown>;
      await store.put(`app/${name}`, new Uint8Array(file.get("data") as Uint8Array));
    }
  });

  after(async () => {
    await server?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  async function restored(truth: Truth, ...froms: readonly string[]): Promise<string> {
    const txid = BigInt(truth.txId).toString(16).padStart(16, "0");
    const { code, stderr } = await pageferry(["restore", "-o", at("out.db"), "--txid", txid, ...froms], {
      env,
    });
    assert.equal(code, 0, stderr);
    const bytes = await readFile(at("out.db"));
    await rm(at("out.db"));
    const body = createHash("sha256")
      .update(bytes.subarray(2 * 16_384))
      .digest("hex");
    assert.equal(body, truth.bodySha256, txid);
    return stderr;
  }

  test("offers from S3 alone the points of the files it was made from, and restores them", async () => {
    const points = await listPoints(url(), env);

    assert.deepEqual(
      points.map(({ txid }) => String(BigInt(`0x${txid}`))).toSorted(),
      truths.map(({ txId }) => txId).toSorted(),
    );
    for (const truth of luck.sample(truths, 2)) assert.equal(await restored(truth, url()), "");
  });

  test("restores what neither has whole", async () => {
    await cp(`${golden}data`, at("app"), { recursive: true });
    const away = luck.sample(names, 5);
    for (const name of away) await rm(at("app", name));
    const entry = server.entry(bucket);
    await using store = await openStore({ type: "s3", ...entry, prefix: "mixed" } as Parameters<
      typeof openStore
    >[0]);
    for (const name of away) await store.put(name, await readFile(`${golden}data/${name}`));
    const other = url().replace("bolt/app", "mixed");

    for (const truth of luck.sample(truths, 3)) await restored(truth, at("app"), other);
  });

  test("goes on without a server that is frozen, and says so", { timeout: 120_000 }, async () => {
    await rm(at("app"), { recursive: true, force: true });
    await cp(`${golden}data`, at("app"), { recursive: true });
    server.freeze();
    try {
      const begun = performance.now();

      const said = await restored(truths.at(-1) as Truth, url(), at("app"));

      assert.match(said, /warning: s3:\/\/.* cannot be listed, and is left out/);
      assert.ok(performance.now() - begun < 60_000);
    } finally {
      server.thaw();
    }
  });

  test("names the databases when the place above them is named", async () => {
    const { code, stderr } = await pageferry(["points", url().replace("/bolt/app", "/bolt")], { env });

    assert.notEqual(code, 0);
    assert.match(stderr, /holds the backups of app/);
  });

  test("tells of a secret that is wrong without telling it", async () => {
    const wrong = { ...env, AWS_SECRET_ACCESS_KEY: "not-the-secret" };
    const { code, stderr } = await pageferry(["points", url()], { env: wrong });

    assert.equal(code !== 0, true);
    assert.doesNotMatch(stderr, /not-the-secret/);
  });
});
