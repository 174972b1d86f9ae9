import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { openStore } from "./open.ts";

suite("opening a store", () => {
  test("takes an entry, a file URL or a path", async (t) => {
    const directory = await mkdtemp(join(tmpdir(), "pageferry-open-"));
    t.after(() => rm(directory, { recursive: true, force: true }));

    for (const [at, entry] of [
      { type: "file", path: directory } as const,
      `file://${directory}`,
      directory,
    ].entries()) {
      const store = await openStore(entry);
      await store.put(`${at}`, Buffer.from("x"));
      assert.equal(await readFile(join(directory, `${at}`), "utf8"), "x");
      assert.equal(store.name, `file://${directory}`);
    }
  });

  test("connects nowhere before it is used, and repeats no secret in the name", async () => {
    for (const url of [
      "s3://key:hunter2@bucket/x",
      "nats://user:hunter2@host/bucket",
      "nats://user:hunter2@host,other:4223/bucket",
      "sftp://me:hunter2@host/path?hostKey=SHA256:x",
    ]) {
      await using store = await openStore(url);
      assert.doesNotMatch(store.name, /hunter2/);
    }
  });

  test("refuses what is no replica", async () => {
    await assert.rejects(openStore("ftp://host/x"), { code: "bad-config" });
  });
});
