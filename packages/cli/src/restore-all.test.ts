import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, beforeEach, suite, test } from "node:test";
import { parseGeneration } from "@pageferry/format";
import { makeHistory, type StoredObject } from "../../format/testing/history.ts";
import { runCommand, startCommand, until } from "../testing/commands.ts";
import { fileNames } from "./restore-outcome.ts";

const app = makeHistory(parseGeneration("00000000000000a1"), 5, [[0], [1], [2], [3]]);
const other = makeHistory(parseGeneration("00000000000000b1"), 9, [[0], [1], [2], [3], [4], [5]]);

interface Line {
  readonly database: string;
  readonly verdict: string;
  readonly txid?: string;
  readonly error?: { readonly code: string; readonly hint: string };
}

suite("a restore of all databases", () => {
  let directory: string;
  let data: string;
  let out: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "pageferry-all-"));
    data = join(directory, "data");
    const put = async (database: string, ...objects: readonly StoredObject[]): Promise<void> => {
      for (const { name, bytes } of objects) {
        const path = join(data, "replica", database, name);
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, bytes);
      }
    };
    await put("app", await app.snapshot(2), app.segment(2, 4));
    await put("other", await other.snapshot(1), other.segment(1, 3), other.segment(3, 6));
    await put("channel", await app.snapshot(3));
    const { name, bytes } = await other.snapshot(5);
    await put("torn", { name, bytes: bytes.subarray(0, bytes.length / 2) });
  });
  after(() => rm(directory, { recursive: true }));
  beforeEach(async () => {
    out = join(directory, "out");
    await rm(out, { recursive: true, force: true });
  });

  const restoreAll = async (...argv: readonly string[]) => {
    const { code, out: text } = await runCommand(["restore", "--json", "--all", out, ...argv]);
    const lines = text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const rows = lines.filter((line): line is Line => line.database !== undefined);
    return { code, rows: new Map(rows.map((row) => [row.database, row])), summary: lines.at(-1)?.summary };
  };
  const replica = () => join(data, "replica");

  test("brings each to its newest point; what fails stops no other and is the exit code", async () => {
    const { code, rows, summary } = await restoreAll(replica());

    assert.equal(code, 4);
    assert.deepEqual(summary, { databases: 4, restored: 2, planned: 0, leftOut: 1, failed: 1 });
    assert.equal(rows.get("torn")?.error?.code, "corrupt");
    assert.deepEqual((await readdir(out)).sort(), ["app.db", "other.db"]);
    assert.ok(Buffer.from(app.image(4)).equals(await readFile(join(out, "app.db"))));
    assert.ok(Buffer.from(other.image(6)).equals(await readFile(join(out, "other.db"))));
  });

  test("leaves out what does harm, with the words that it asks for, unless they are given", async () => {
    const { rows } = await restoreAll(replica());
    assert.equal(rows.get("channel")?.verdict, "left-out");
    assert.match(rows.get("channel")?.error?.hint ?? "", /--acknowledge "loss of funds"/);

    await rm(out, { recursive: true });
    const again = await restoreAll("--acknowledge", "votes twice,loss of funds", replica());
    assert.equal(again.rows.get("channel")?.verdict, "restored");
  });

  test("takes all as they were at one time", async () => {
    const { rows } = await restoreAll("--timestamp", "1970-01-01T00:00:03Z", replica());

    assert.deepEqual(
      ["app", "other"].map((name) => rows.get(name)?.txid),
      ["0000000000000002", "0000000000000003"],
    );
  });

  test("replaces no file without --force", async () => {
    await mkdir(out);
    await writeFile(join(out, "app.db"), "mine");

    const { code, rows } = await restoreAll(replica());
    assert.deepEqual([code, rows.get("app")?.error?.code], [5, "exists"]);
    assert.equal(await readFile(join(out, "app.db"), "utf8"), "mine");
    assert.equal((await restoreAll("--force", replica())).rows.get("app")?.verdict, "restored");
  });

  test("only says what would be restored, with --dry-run", async () => {
    const { rows, summary } = await restoreAll("--dry-run", "--parallel", "1", replica());

    assert.deepEqual([rows.get("other")?.txid, rows.get("other")?.verdict], ["0000000000000006", "planned"]);
    assert.equal(summary.restored, 0);
    await assert.rejects(readdir(out), { code: "ENOENT" });
  });

  test("ends with a table for people", async () => {
    const { out: text } = await runCommand(["restore", "--all", out, replica()]);

    assert.match(
      text,
      /^DATABASE +TXID +TIME +BYTES +VERDICT\napp +0000000000000004 +1970\S+ +4.0 KiB +restored, quick check clean\n/,
    );
    assert.match(text, /\nchannel +- +- +- +left out\n/);
    assert.match(text, /\n2 of 4 restored to \S+out\n$/);
  });

  test("takes those of a host, at any of its addresses", async () => {
    await using host = startCommand(["serve", "--data", data, "--port", "0"]);
    await until("it is ready", () => host.io.said.out);
    const url = (await readFile(join(data, "url"), "utf8")).trim();
    for (const from of [url, `${url}/v1`, `${url}/v1/databases/`]) {
      await rm(out, { recursive: true, force: true });
      const { rows } = await restoreAll("--data", data, from);

      assert.deepEqual(
        ["app", "other", "channel", "torn"].map((name) => rows.get(name)?.verdict),
        ["restored", "restored", "left-out", "failed"],
      );
    }
  });

  test("takes those of the replicas of a configuration, where none is named", async () => {
    const config = join(directory, "pageferry.yml");
    await writeFile(
      config,
      `replicas: [{ type: file, path: ${replica()} }, { type: file, path: ${directory}/none }]\n`,
    );
    const { rows } = await restoreAll("--config", config);

    assert.equal(rows.get("app")?.verdict, "restored");
  });

  test("of a place that holds none, and of one that is a database's own, says so", async () => {
    for (const from of [join(replica(), "app"), join(directory, "nowhere")]) {
      const { code, err } = await runCommand(["restore", "--all", out, from]);
      assert.equal(code, 3, from);
      assert.match(err, /holds no database|there is no such/);
    }
  });

  test("flags that do not go together are refused", async () => {
    const wrong = [
      ["--all", out, "-o", "x"],
      ["--all", out, "--txid", "1"],
      ["--follow", "--all", out],
      ["--follow", "-o", "x", "--timestamp", "2026-11-22T13:07:11Z"],
      ["--follow", "-o", "x", "--integrity-check", "none"],
      ["--follow", "-o", "x", "--interval", "1ms"],
      ["-o", "x", "--parallel", "2"],
      ["-o", "x", "--interval", "2s"],
    ];
    for (const argv of wrong) {
      const { code } = await runCommand(["restore", ...argv, replica()]);
      assert.equal(code, 2, argv.join(" "));
    }
  });
});

suite("files of databases", () => {
  test("are named for them, and are two where names differ in case only", () => {
    assert.deepEqual(
      [...fileNames(["App", "app", "a.b"])],
      [
        ["App", "App.db"],
        ["app", "app~2.db"],
        ["a.b", "a.b.db"],
      ],
    );
  });
});
