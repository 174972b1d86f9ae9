import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { parseConfig, parseGeneration, txId } from "@pageferry/format";
import { restoreStandalone } from "./restore-standalone.ts";

const golden = new URL("../../../test/golden/replica/", import.meta.url).pathname;

interface Truth {
  readonly transactions: readonly {
    readonly generation: string;
    readonly txId: string;
    readonly bodySha256: string;
  }[];
}

async function temporaryDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-standalone-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function bodySha256(path: string, pageSize: number): Promise<string> {
  return createHash("sha256")
    .update((await readFile(path)).subarray(2 * pageSize))
    .digest("hex");
}

suite("a restore without a host", () => {
  test("rebuilds the newest state of a Go archive, in the Go implementation's form of configuration", async (t) => {
    const directory = await temporaryDirectory(t);
    const output = join(directory, "restored.db");
    const config = parseConfig({ replicas: [`file://${golden}data`], restore: { targetPath: output } });

    const result = await restoreStandalone(config);

    const truth = JSON.parse(await readFile(`${golden}truth.json`, "utf8")) as Truth;
    const newest = truth.transactions.at(-1);
    assert.deepEqual(
      {
        generation: result.generation,
        txId: String(result.txId),
        bodySha256: await bodySha256(output, result.pageSize),
      },
      { generation: newest?.generation, txId: newest?.txId, bodySha256: newest?.bodySha256 },
    );
    assert.equal(result.check?.problems.length, 0);
  });

  test("goes on without a replica that nobody answers for, and says so", async (t) => {
    const directory = await temporaryDirectory(t);
    const output = join(directory, "restored.db");
    const dead =
      "s3://backups/app?endpoint=http://127.0.0.1:1&region=us-east-1&accessKey=key&secretKey=secret";
    const config = parseConfig({ replicas: [dead, `file://${golden}data`], restore: { targetPath: output } });

    const result = await restoreStandalone(config);

    assert.equal(result.check?.problems.length, 0);
    assert.equal(result.warnings.length, 1);
    assert.match(result.warnings[0] ?? "", /^s3:\/\/backups\/app.*left out/);
    assert.doesNotMatch(result.warnings[0] ?? "", /secret/);
  });

  test("goes on without a replica that cannot be opened, and says so; without any it fails", async (t) => {
    const output = join(await temporaryDirectory(t), "restored.db");
    const wrong =
      "s3://backups/app?endpoint=https://127.0.0.1:1&insecure=true&accessKey=key&secretKey=secret";
    const restore = { targetPath: output };

    const result = await restoreStandalone(
      parseConfig({ replicas: [wrong, `file://${golden}data`], restore }),
    );
    const alone = restoreStandalone(parseConfig({ replicas: [wrong], restore }), { force: true });

    assert.equal(result.warnings.length, 1);
    assert.match(result.warnings[0] ?? "", /^s3:\/\/backups\/app.* is left out: s3: /);
    await assert.rejects(alone, { code: "bad-config" });
  });

  test("takes what one replica lacks from another", async (t) => {
    const directory = await temporaryDirectory(t);
    const copies = ["one", "two", "three"].map((name) => join(directory, name));
    for (const copy of copies) await cp(`${golden}data`, join(copy, "app"), { recursive: true });
    const output = join(directory, "restored.db");
    const databases = [{ name: "app", path: output }];
    const whole = await restoreStandalone(parseConfig({ databases, replicas: [copies[2]] }));
    const expected = await bodySha256(output, whole.pageSize);
    await rm(output);
    const { generation } = whole;
    const { readdir } = await import("node:fs/promises");
    const segments = (await readdir(join(copies[0] ?? "", "app", generation, "segments"))).sort();
    for (const [at, name] of segments.entries())
      await rm(join(copies[at % 2] ?? "", "app", generation, "segments", name));

    const result = await restoreStandalone(parseConfig({ databases, replicas: copies.slice(0, 2) }));

    assert.equal(result.txId, whole.txId);
    assert.equal(await bodySha256(output, result.pageSize), expected);
  });

  test("leaves a target that is there alone unless it is forced", async (t) => {
    const output = join(await temporaryDirectory(t), "app.db");
    await writeFile(output, "mine");
    const config = parseConfig({ replicas: [`${golden}data`], restore: { targetPath: output } });

    await assert.rejects(restoreStandalone(config), { code: "exists" });
    assert.equal(await readFile(output, "utf8"), "mine");
    assert.ok((await restoreStandalone(config, { force: true })).bytes > 0);
  });

  test("says what is missing in the configuration, the archive or the wish", async (t) => {
    const directory = await temporaryDirectory(t);
    const targetPath = join(directory, "app.db");
    await mkdir(join(directory, "empty"));
    const replicas = [`${golden}data`];
    const two = [{ path: "/a.db" }, { path: "/b.db" }];
    const restore = { targetPath };

    await assert.rejects(restoreStandalone(parseConfig({ replicas })), { code: "bad-config" });
    await assert.rejects(restoreStandalone(parseConfig({ restore })), { code: "bad-config" });
    await assert.rejects(restoreStandalone(parseConfig({ replicas, databases: two })), {
      code: "bad-config",
    });
    await assert.rejects(restoreStandalone(parseConfig({ replicas: [join(directory, "empty")], restore })), {
      code: "not-found",
    });
    await assert.rejects(restoreStandalone(parseConfig({ replicas: [join(directory, "none")], restore })), {
      code: "not-found",
    });
    const target = { txId: txId(2n ** 60n) };
    await assert.rejects(restoreStandalone(parseConfig({ replicas, restore }), { target }), {
      code: "not-found",
    });
    const generation = parseGeneration("00000000000000ff");
    await assert.rejects(restoreStandalone(parseConfig({ replicas, restore }), { target: { generation } }), {
      code: "not-found",
    });
  });

  test("ends with the signal's reason, and leaves nothing", async (t) => {
    const directory = await temporaryDirectory(t);
    const config = parseConfig({
      replicas: [`${golden}data`],
      restore: { targetPath: join(directory, "app.db") },
    });
    const reason = new Error("enough");

    await assert.rejects(
      restoreStandalone(config, { signal: AbortSignal.abort(reason) }),
      (error) => error === reason,
    );
    const { readdir } = await import("node:fs/promises");
    assert.deepEqual(await readdir(directory), []);
  });
});
