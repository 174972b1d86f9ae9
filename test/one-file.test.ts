// The command as one file: made, put where nothing else is, and asked to do its work there, threads included.
import assert from "node:assert/strict";
import { copyFile, readdir, stat } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import { newestStored } from "./archive.ts";
import { checkFile, runWriter, startWriter } from "./go-apps.ts";
import { runProcess, startProcess } from "./processes.ts";
import { freePort, type TemporaryDirectory, temporaryDirectory, until } from "./temporary.ts";

const root = new URL("..", import.meta.url).pathname;
const bytesMax = 10_000_000;

suite("the command as one file", () => {
  let directory: TemporaryDirectory;
  let program: string;

  /** Runs it where there is no package, and no way to the workspace's. */
  const pageferry = (...args: readonly string[]) =>
    runProcess(process.execPath, [program, ...args], { cwd: directory.path });

  before(async () => {
    directory = await temporaryDirectory();
    await using built = await temporaryDirectory();
    const made = await runProcess(process.execPath, [
      `${root}packages/cli/build/bundle.mjs`,
      built.file("pageferry.mjs"),
    ]);
    assert.equal(made.code, 0, made.stderr);
    assert.deepEqual(await readdir(built.path), ["pageferry.mjs"]);
    program = directory.file("pageferry.mjs");
    await copyFile(built.file("pageferry.mjs"), program);
  });
  after(() => directory[Symbol.asyncDispose]());

  test("has less than 10 MB", async () => {
    const { size } = await stat(program);

    assert.ok(size < bytesMax, `${size} bytes`);
  });

  test("says what it is", async () => {
    const { stdout } = await pageferry("version");

    assert.match(stdout, /^pageferry \d+\.\d+\.\d+ /);
  });

  test("backs up a live database, is quiet about it, and restores what was committed", async () => {
    const [path, out, data] = ["app.db", "restored.db", "data"].map((name) => directory.file(name));
    assert.ok(path !== undefined && out !== undefined && data !== undefined);
    // Large enough for threads to restore it.
    await runWriter({ path, count: 1, initialMB: 20 });
    const port = await freePort();
    const args = [program, "up", path, "--data", data, "--port", String(port)];
    await using up = startProcess(process.execPath, args, {
      ...{ cwd: directory.path, env: { PAGEFERRY_LOG: "info" } },
    });
    await up.line(/^ready at/);
    await using writer = await startWriter({ path, count: 200, rate: 100, seed: 2 });
    const { txid } = await writer.done();
    await until(
      "the last commit is stored",
      async () => (await newestStored(`${data}/replica/app`)) === txid,
    );
    assert.deepEqual(await up.stop(), { code: 0, signal: null });

    const restored = await pageferry(
      "restore",
      "-o",
      out,
      "--integrity-check",
      "full",
      `${data}/replica/app`,
    );
    assert.equal(restored.code, 0, restored.stderr);
    const [live, again] = [await checkFile(path), await checkFile(out)];
    assert.ok(again.ok);
    assert.deepEqual([again.txid, again.logicalSha256], [live.txid, live.logicalSha256]);
    // One event a line, and none for a commit.
    const events = up
      .output()
      .split("\n")
      .filter((line) => line.startsWith("{"));
    assert.deepEqual(
      events.map((line) => (JSON.parse(line) as { msg: string }).msg),
      ["a generation begins"],
    );
  });

  test("brings the demo's recording with it", async () => {
    const { code, stderr } = await pageferry("demo");

    assert.equal(code, 0, stderr);
  });
});
