// The examples are programs: they run here as a reader would run them, in a directory of their own.
import assert from "node:assert/strict";
import { join } from "node:path";
import { suite, test } from "node:test";
import { newestStored } from "./archive.ts";
import { runWriter } from "./go-apps.ts";
import { startProcess } from "./processes.ts";
import { temporaryDirectory, until } from "./temporary.ts";

const examples = join(import.meta.dirname, "../examples");

suite("the example one-process", () => {
  test("backs a database up inside a program of one's own, and drains when it is told to end", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    const { txid } = await runWriter({ path, count: 50 });
    const args = [
      "-C",
      "@pageferry/source",
      "--disable-warning=ExperimentalWarning",
      join(examples, "one-process/main.ts"),
      path,
    ];
    await using program = startProcess(process.execPath, args, { cwd: directory.path });
    await program.line(/^backing up .*app\.db; http:/);
    const archive = directory.file("pageferry-data/replica/app");
    await until("the first snapshot", async () => (await newestStored(archive)) === txid);
    const later = await runWriter({ path, count: 5, seed: 2 });

    const { code } = await program.stop();

    assert.equal(code, 0, program.output());
    assert.equal(await newestStored(archive), later.txid);
    assert.match(program.stdout(), /safe up to transaction \d+/);
  });
});
