// Companion files where the host is serverless: an agent over SQS, Lambda's handlers behind it, two replicas, and restores from all of them.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { ListObjectsV2Command } from "@aws-sdk/client-s3";
import { newestTxId } from "./capture-run.ts";
import { checkFile, runWriter, type Verdict } from "./go-apps.ts";
import { deploy } from "./lambda-deployment.ts";
import { hexTxId, pageferry, pageferryCommand } from "./pageferry.ts";
import { startProcess } from "./processes.ts";
import { startMinistack, withoutMinistack } from "./servers/ministack.ts";
import { sqsAccount } from "./servers/sqs.ts";
import { temporaryDirectory, until } from "./temporary.ts";

/** A message of SQS holds 1 MiB, in base64: a file of so much by chance comes by the staging bucket. */
const stagedBytes = 1_000_000;

interface Point {
  readonly txid: string;
  /** By their names. */
  readonly files: Readonly<Record<string, Buffer>>;
}

suite("companion files over SQS", { skip: withoutMinistack }, () => {
  test("are in every replica, and come back with the database as they were at each point", async (t) => {
    await using directory = await temporaryDirectory();
    await using aws = await startMinistack();
    await using deployed = await deploy(aws, { replicas: 2, scopes: ["agent", "read,restore"] });
    const { queues, queueUrls, replicaBuckets, stageBucket } = deployed;
    const token = deployed.tokens["read,restore"] ?? "";
    // This process is a function; the commands that it starts are none.
    const env = {
      ...{ PAGEFERRY_CONFIG: "", PAGEFERRY_MANIFEST_KEY: "", PAGEFERRY_TOKEN: deployed.tokens.agent ?? "" },
      PAGEFERRY_RESTORE_TOKEN: token,
    };
    const at = (name: string) => directory.file(`app/${name}`);
    const path = at("app.db");
    await mkdir(at("tls"), { recursive: true });
    const key = Buffer.from("k1");
    await writeFile(at("key"), key, { mode: 0o640 });
    const ingest = queueUrls.ingest.slice(queueUrls.ingest.lastIndexOf("/") + 1);
    const queue = {
      url: `sqs://${sqsAccount}/${ingest}?endpoint=${aws.endpoint}`,
      staging: `s3://${stageBucket}?endpoint=${aws.endpoint}`,
      ...{ stage: "test", api: deployed.url },
    };
    const databases = [{ path, files: [at("key"), at("tls/*.pem")] }];
    await writeFile(
      directory.file("agent.json"),
      JSON.stringify({ databases, queue, syncInterval: "100ms" }),
    );

    const namesIn = async (Bucket: string): Promise<string[]> => {
      const { Contents = [] } = await aws.client.send(new ListObjectsV2Command({ Bucket }));
      return Contents.map(({ Key = "" }) => Key);
    };
    const versionsIn = async (bucket: string): Promise<number> =>
      (await namesIn(bucket)).filter((name) => name.endsWith(".files.cbor")).length;
    const isStored = async (txid: string): Promise<boolean> => {
      const of = `/v1/databases/app/wait?txid=${txid}&replicas=2&timeout=50ms`;
      const answer = await fetch(`${deployed.url}${of}`, { headers: { authorization: `Bearer ${token}` } });
      return answer.status === 200;
    };
    const points: Point[] = [];
    /** Commits, and hands on what SQS has, each message twice, until the replicas have all of it. */
    const noted = async (versions: number, files: Point["files"]): Promise<void> => {
      const handOn = async () => {
        for (const { body, attributes } of await queues.peek(queueUrls.ingest, 10))
          await queues.send(queueUrls.ingest, body, attributes);
        await deployed.fanOut();
      };
      await until(`${versions} versions in both replicas`, async () => {
        await handOn();
        return (await Promise.all(replicaBuckets.map(versionsIn))).every((count) => count === versions);
      });
      await runWriter({ path, count: 5, keys: 5 });
      const txid = hexTxId(await newestTxId(path));
      await until(`${txid} in both replicas`, async () => {
        await handOn();
        return isStored(txid);
      });
      points.push({ txid, files });
      // A point lasts until the next commit, and has what changes by then: so there is one.
      await runWriter({ path, count: 1 });
    };

    await runWriter({ path, count: 30, keys: 5 });
    const command = [
      "replicate",
      "--config",
      directory.file("agent.json"),
      "--shadow",
      directory.file("shadow"),
    ];
    await using agent = startProcess(...pageferryCommand(command), { env });
    t.after(() => t.diagnostic(agent.output()));
    await noted(1, { key });
    const pem = randomBytes(stagedBytes);
    const stagedBefore = (await namesIn(stageBucket)).length;
    await writeFile(at("new"), pem);
    await rename(at("new"), at("tls/a.pem"));
    await noted(2, { key, "tls/a.pem": pem });
    assert.ok((await namesIn(stageBucket)).length > stagedBefore, "it was staged");
    assert.equal((await agent.stop()).code, 0, agent.output());
    await until("nothing waits", async () => {
      await deployed.fanOut();
      return isStored(hexTxId(await newestTxId(path)));
    });
    assert.equal(await queues.count(queueUrls["dead-ingest"]), 0);

    const restores = async (from: string, { txid, files }: Partial<Point>): Promise<Verdict> => {
      const out = directory.file(`out-${randomBytes(4).toString("hex")}`);
      const point = txid === undefined ? [] : ["--txid", txid];
      const args = ["restore", "-o", `${out}.db`, "--files", out, ...point, from];
      const { code, stderr } = await pageferry(args, { env });
      assert.equal(code, 0, stderr);
      const found = await readdir(out, { recursive: true, withFileTypes: true });
      assert.equal(found.filter((entry) => entry.isFile()).length, Object.keys(files ?? {}).length);
      for (const [name, bytes] of Object.entries(files ?? {}))
        assert.deepEqual(await readFile(join(out, name)), bytes);
      return checkFile(`${out}.db`);
    };
    const [first, second] = points as [Point, Point];
    const [replica0, replica1] = replicaBuckets.map((name) => `s3://${name}/app?endpoint=${aws.endpoint}`);
    assert.deepEqual((await restores(replica0 ?? "", first)).errors, []);
    assert.deepEqual((await restores(replica1 ?? "", second)).errors, []);
    const newest = await restores(`${deployed.url}/v1/databases/app`, { files: second.files });
    assert.equal(newest.liveSha256, (await checkFile(path)).liveSha256);
    // The schedule that reads what is stored reads the versions, too.
    const { done, failed } = await deployed.run("verify");
    assert.deepEqual({ done, failed }, { done: ["app"], failed: [] });
  });
});
