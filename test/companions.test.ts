// Companion files from disk to replicas and back: agent and host as processes that are killed and away, a file replica and an S3 server's.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import {
  type CompanionsVersion,
  encodeCompanions,
  parseCompanionsName,
  parseConfig,
  parseGeneration,
  parseTxId,
  type ReplicaConfig,
  txId,
} from "@pageferry/format";
import { fileReplica, openReplicaSet } from "@pageferry/functions";
import { addPin } from "../packages/functions/src/wanted-points.ts";
import { policyOf } from "../packages/functions/testing/policy.ts";
import { newestStored } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { checkFile, runWriter } from "./go-apps.ts";
import {
  type Host,
  hexTxId,
  listPoints,
  pageferry,
  pageferryOk,
  startReplicate,
  startServe,
} from "./pageferry.ts";
import { runProcess } from "./processes.ts";
import { startS3, withoutS3Server } from "./servers/s3.ts";
import { freePort, temporaryDirectory, until } from "./temporary.ts";

const goReader = new URL("./.cache/bin/goreader", import.meta.url).pathname;

/** The files below a directory, by name. */
async function treeOf(directory: string): Promise<Record<string, string>> {
  const names = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const texts = await Promise.all(files.map((path) => readFile(path, "utf8")));
  return Object.fromEntries(files.map((path, at) => [path.slice(directory.length + 1), texts[at] ?? ""]));
}

async function versionsIn(root: string): Promise<string[]> {
  const names = await readdir(join(root, "files"), { recursive: true }).catch(() => []);
  return names.filter((name) => name.endsWith(".files.cbor"));
}

/** A replica's version whose file leads out of where it is restored to: every checksum is right. */
async function hostile(
  version: CompanionsVersion,
): Promise<{ readonly name: string; readonly bytes: Uint8Array }> {
  const plain = "x".repeat("../../evil".length);
  const bytes = new Uint8Array(Buffer.from("evil"));
  const files = [{ name: plain, mode: 0o600, mtimeMs: 0, bytes }];
  const made = await encodeCompanions({ ...version, files }, { codec: "none", level: 0, window: 0 });
  const old = Buffer.from(made.bytes);
  const dataAt = old.indexOf(plain);
  old.write("../../evil", dataAt);
  // The inside is the longest byte string; its digest stands outside, and begins in the name.
  const digest = /-([0-9a-f]{16})\.files/.exec(made.name)?.[1] ?? "";
  const digestAt = old.indexOf(Buffer.from(digest, "hex"));
  for (let from = 0; from < dataAt; from += 1) {
    for (let to = old.length; to > old.length - 600 && to > dataAt; to -= 1) {
      const inside = Buffer.from(made.bytes).subarray(from, to);
      if (createHash("sha256").update(inside).digest("hex").startsWith(digest)) {
        const forged = createHash("sha256").update(old.subarray(from, to)).digest();
        forged.copy(old, digestAt);
        return { name: made.name.replace(digest, forged.toString("hex").slice(0, 16)), bytes: old };
      }
    }
  }
  throw new Error("the inside was not found");
}

interface Point {
  readonly txid: string;
  readonly files: Record<string, string>;
}

suite("companion files", { skip: withoutS3Server }, () => {
  test("come back as they were at each point, from every replica, whatever died in between", async (t) => {
    await using directory = await temporaryDirectory();
    await using s3 = await startS3();
    const bucket = await s3.makeBucket();
    const app = directory.file("app");
    const path = join(app, "app.db");
    const at = (name: string) => join(app, name);
    await mkdir(at("tls"), { recursive: true });
    await writeFile(at("tls/a.pem"), "a1");
    await writeFile(at("key"), "k1", { mode: 0o640 });
    const fileRoot = directory.file("replica/app");
    const s3Config = { type: "s3", ...s3.entry(bucket) };
    const replicas = [{ type: "file", path: directory.file("replica") }, s3Config];
    const serveConfig = directory.file("serve.json");
    await writeFile(serveConfig, JSON.stringify({ replicas }));
    const agentConfig = directory.file("agent.json");
    const database = { path, files: [at("tls/*.pem"), at("key")] };
    await writeFile(agentConfig, JSON.stringify({ databases: [database], syncInterval: "100ms" }));
    const port = await freePort();
    const startHost = () =>
      startServe({ dataDir: directory.file("data"), port, args: ["--config", serveConfig] });
    let host: Host = await startHost();
    t.after(() => host[Symbol.asyncDispose]());
    const token = await host.token();
    const startAgent = () =>
      startReplicate([], {
        ...{ host: host.url, token, shadowDir: directory.file("shadow") },
        args: ["--config", agentConfig],
      });
    let agent = startAgent();
    t.after(async () => {
      t.diagnostic(`${agent.output()}\n${host.output()}`);
      await agent[Symbol.asyncDispose]();
    });
    await using s3Set = await openReplicaSet(
      parseConfig({ replicas: [s3Config] }).replicas[0] as ReplicaConfig,
      {},
    );
    const s3Replica = await s3Set.of("app" as Parameters<typeof s3Set.of>[0]);
    const s3Versions = async () => {
      const names: string[] = [];
      for await (const { name } of s3Replica.objects.list("files/")) names.push(name);
      return names;
    };
    const both = (count: number) =>
      until(
        `${count} versions in both replicas`,
        async () => (await versionsIn(fileRoot)).length === count && (await s3Versions()).length === count,
        { everyMs: 200 },
      );
    const committed = async (count: number): Promise<string> => {
      await runWriter({ path, count, keys: 5 });
      const newest = await newestTxId(path);
      await until("the commits are stored", async () => (await newestStored(fileRoot)) === newest, {
        timeoutMs: 15_000,
      });
      return hexTxId(newest);
    };
    const points: Point[] = [];
    // A point lasts until the next commit: what changes by then is of its time, too. So there is one.
    const noted = async (files: Record<string, string>) => {
      points.push({ txid: await committed(20), files });
      await committed(1);
    };

    await committed(50);
    await both(1);
    await noted({ key: "k1", "tls/a.pem": "a1" });

    // By rename, as certbot and Kubernetes do it.
    await writeFile(at("new"), "a2");
    await rename(at("new"), at("tls/a.pem"));
    await both(2);
    await noted({ key: "k1", "tls/a.pem": "a2" });

    // In place, while the agent is dead.
    agent.kill("SIGKILL");
    await agent.ended;
    await writeFile(at("key"), "k2");
    agent = startAgent();
    await both(3);
    await noted({ key: "k2", "tls/a.pem": "a2" });

    // While the host is dead: both versions are to come, and one that says that a file is gone.
    host.kill("SIGKILL");
    await host.ended;
    await writeFile(at("key"), "k3");
    const outbox = directory.file("shadow/app/files");
    const waiting = async () => (await readdir(outbox)).filter((name) => name.endsWith(".envelope")).length;
    await until("it waits", async () => (await waiting()) === 1);
    await rm(at("tls/a.pem"));
    await until("both wait", async () => (await waiting()) === 2);
    agent.kill("SIGKILL");
    await agent.ended;
    host = await startHost();
    agent = startAgent();
    await both(5);
    await noted({ key: "k3" });

    // While nothing is committed: the newest point has the newest files, and a time that is asked for has those of then.
    const before = new Date().toISOString();
    await writeFile(at("key"), "k4");
    await both(6);

    let count = 0;
    const restored = async (from: readonly string[], more: readonly string[] = []) => {
      count += 1;
      const out = directory.file(`out-${count}`);
      const run = await pageferry(["restore", "-o", `${out}.db`, "--files", out, ...more, ...from], {
        env: { PAGEFERRY_RESTORE_TOKEN: token },
      });
      return { out, run, files: existsSync(out) ? await treeOf(out) : {} };
    };
    const s3Only = directory.file("s3.json");
    await writeFile(s3Only, JSON.stringify({ databases: [database], replicas: [s3Config] }));
    const hostFrom = `${host.url}/v1/databases/app`;
    const restoresAll = async (from: readonly string[]): Promise<void> => {
      for (const { txid, files } of points) {
        const { run, out, files: found } = await restored(from, ["--txid", txid]);
        assert.equal(run.code, 0, run.stderr);
        assert.deepEqual(found, files, `${from} at ${txid}`);
        assert.match(run.stderr, /a set of files is not one instant/);
        assert.equal((await stat(join(out, "key"))).mode & 0o7777, 0o640 & ~process.umask());
        assert.deepEqual((await checkFile(`${out}.db`)).errors, []);
      }
    };
    await Promise.all([[fileRoot], ["app", "--config", s3Only], [hostFrom]].map(restoresAll));
    assert.deepEqual((await restored([fileRoot], ["--timestamp", before])).files, { key: "k3" });
    assert.deepEqual((await restored([hostFrom], ["--timestamp", before])).files, { key: "k3" });
    assert.deepEqual((await restored([fileRoot])).files, { key: "k4" });
    assert.equal(
      (await checkFile(directory.file(`out-${count}.db`))).liveSha256,
      (await checkFile(path)).liveSha256,
    );

    const listed = JSON.parse(await pageferryOk(["files", "--json", fileRoot]));
    assert.equal(listed.versions.length, 6);
    const byHost = JSON.parse(
      await pageferryOk(["files", "--json", hostFrom], { env: { PAGEFERRY_TOKEN: token } }),
    );
    assert.deepEqual(byHost, listed);
    const status = JSON.parse(await pageferryOk(["status", "--json", "--data", host.dataDir]));
    const stored = status.databases[0].replicas.map((one: { readonly files: object }) => one.files);
    assert.deepEqual(
      stored.map(({ versions }: { readonly versions: number }) => versions),
      [6, 6],
    );

    // One replica lost a version: repair brings it back, and verification reads them all.
    const [lost = ""] = await s3Versions();
    await s3Replica.objects.remove([lost]);
    await pageferryOk(["repair", "app", "--data", host.dataDir]);
    assert.equal((await s3Versions()).length, 6);
    await pageferryOk(["verify", "--full", "app", "--data", host.dataDir]);

    await agent.stop();
    await host.stop();
    const copy = directory.file("pruned/app");
    await cp(fileRoot, copy, { recursive: true });
    await assertPrunes(copy, points, restored);
    await assertRefuses(fileRoot, restored);
  });
});

type Restored = (
  from: readonly string[],
  more?: readonly string[],
) => Promise<{
  readonly out: string;
  readonly run: { readonly code: number | null; readonly stderr: string };
  readonly files: Record<string, string>;
}>;

/** Everything may go but the newest point and one that is pinned: their versions stay, the others go. */
async function assertPrunes(root: string, points: readonly Point[], restored: Restored): Promise<void> {
  const [, pinned] = points;
  assert.ok(pinned !== undefined);
  const found = (await listPoints(root)).find(({ txid }) => txid === pinned.txid);
  assert.ok(found !== undefined, "the pinned point is one");
  await using replica = fileReplica({ path: root });
  // Go's own program finds its way through a replica with files in it.
  await replica.writeState();
  const byGo = await runProcess(goReader, ["restore", root, `${root}-by-go.db`]);
  assert.equal(byGo.code, 0, byGo.stderr);
  const point = { generation: parseGeneration(found.generation), txId: parseTxId(found.txid) };
  await addPin(replica.objects, point, Date.now());

  // Restores through the host took leases on their points.
  await replica.prune(undefined, policyOf(), { graceMs: 0 });
  assert.equal((await versionsIn(root)).length, 5);
  await rm(join(root, "leases"), { recursive: true });
  await replica.prune(undefined, policyOf(), { graceMs: 0 });

  assert.equal((await versionsIn(root)).length, 2);
  assert.deepEqual((await restored([root], ["--txid", pinned.txid])).files, pinned.files);
  assert.deepEqual((await restored([root])).files, { key: "k4" });
}

/** A version that was put there by somebody else, newer than all: nothing is written, nowhere. */
async function assertRefuses(root: string, restored: Restored): Promise<void> {
  const [name = ""] = (await versionsIn(root)).sort().reverse();
  const newest = parseCompanionsName(`files/${name}`);
  assert.ok(newest !== undefined);
  const version = { ...newest, txId: txId(newest.txId), stampMs: newest.stampMs + 1, files: [], skipped: [] };
  const evil = await hostile(version);
  await writeFile(join(root, evil.name), evil.bytes);

  const { run, out, files } = await restored([root]);

  assert.equal(run.code, 4, run.stderr);
  assert.match(run.stderr, /"..\/..\/evil" is not a plain relative path/);
  assert.deepEqual(files, {});
  assert.ok(!existsSync(`${out}.db`), "the database is not restored without what was asked for");
  assert.ok(!existsSync(join(out, "../../evil")) && !existsSync(join(out, "../evil")));
}
