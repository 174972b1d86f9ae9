// The first page's commands, run as they are written there; only the paths are replaced, so that they work in a directory of their own.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { newestStored } from "./archive.ts";
import { checkFile, runWriter } from "./go-apps.ts";
import { runProcess, startProcess } from "./processes.ts";
import { freePort, type TemporaryDirectory, temporaryDirectory, until } from "./temporary.ts";

const root = join(import.meta.dirname, "..");
const readme = readFileSync(join(root, "README.md"), "utf8");
const commands = [...readme.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, block = ""]) =>
  block.trim().split("\n"),
);

/** A command of the page, in a directory of the test's. What was installed stays installed. */
function inDirectory(command: string, directory: TemporaryDirectory): string {
  return command
    .replace(/^npm ci && /, "")
    .replaceAll("path/to/app.db", directory.file("app.db"))
    .replaceAll("pageferry-data", directory.file("data"))
    .replaceAll("restored.db", directory.file("restored.db"));
}

suite("the first page", () => {
  test("begins with the two commands", () => {
    assert.deepEqual(commands.slice(0, 2), ["npm ci && npm start -- path/to/app.db", "npm ci && npm test"]);
  });

  test("has commands that back up a live database, list its points, restore and check it", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    const { txid } = await runWriter({ path, count: 100 });
    const [start = "", , ...others] = commands.map((command) => inDirectory(command, directory));
    const port = await freePort();
    await using up = startProcess(
      "sh",
      ["-c", `exec ${start} --data ${directory.file("data")} --port ${port}`],
      { cwd: root },
    );
    await up.line(new RegExp(`^ready at http://127\\.0\\.0\\.1:${port}: backing up app `));
    await up.line(/same disk: not off-host yet/);
    await until(
      "the first snapshot",
      async () => (await newestStored(directory.file("data/replica/app"))) === txid,
    );

    const results = [];
    for (const command of others) results.push(await runProcess("sh", ["-c", command], { cwd: root }));

    assert.equal(others.length, 3);
    for (const [at, { code, stdout, stderr }] of results.entries()) {
      assert.equal(code, 0, `${others[at]}\n${stdout}${stderr}`);
    }
    const [live, restored] = [await checkFile(path), await checkFile(directory.file("restored.db"))];
    assert.deepEqual(restored.errors, []);
    assert.equal(restored.liveSha256, live.liveSha256);
    assert.equal((await up.stop()).code, 0);
  });

  test("names a test for each promise, and each is there", () => {
    const table = readme.slice(readme.indexOf("| promise | test |")).split("\n\n")[0] ?? "";
    const rows = table.split("\n").slice(2);

    assert.ok(rows.length >= 7);
    for (const row of rows) {
      const targets = [...row.matchAll(/\]\(([^)]+)\)/g)].map(([, target = ""]) => target);
      assert.ok(targets.length > 0, row);
      for (const target of targets) assert.ok(existsSync(join(root, target)), target);
    }
  });
});

suite("npm run demo", () => {
  test("proves four restores against the recording in under a minute", async () => {
    const { code, stdout, stderr } = await runProcess("npm", ["run", "-s", "demo", "--", "--json"], {
      cwd: root,
      timeoutMs: 60_000,
    });

    assert.equal(code, 0, stdout + stderr);
    const report = JSON.parse(stdout);
    assert.equal(report.restores.length, 4);
    assert.ok(report.restores.every(({ isSound, isTrue }: Record<string, boolean>) => isSound && isTrue));
    assert.equal(report.transactions, 449);
    assert.equal(existsSync(report.directory), false);
  });
});
