// The examples are programs: they run here as a reader would run them, in a directory of their own.
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { newestStored, readGenerations } from "./archive.ts";
import { checkFile, runWriter } from "./go-apps.ts";
import { startProcess } from "./processes.ts";
import { temporaryDirectory, until } from "./temporary.ts";

const examples = join(import.meta.dirname, "../examples");

function startExample(name: string, argument: string, cwd: string) {
  const options = ["-C", "@pageferry/source", "--disable-warning=ExperimentalWarning"];
  const args = [...options, join(examples, name, "main.ts"), argument];
  return startProcess(process.execPath, args, { cwd });
}

suite("the example one-process", () => {
  test("backs a database up inside a program of one's own, and drains when it is told to end", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    const { txid } = await runWriter({ path, count: 50 });
    await using program = startExample("one-process", path, directory.path);
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

suite("the example embedded", () => {
  test("is a bolt database that survives a kill, and its loss: the next start restores it, and counts on", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("data/app.db");
    const archive = directory.file("data/replica/app");
    const start = () => startExample("embedded", "data", directory.path);
    const countedTo = (line: string) =>
      Number(/counted to (\d+)|counting on from (\d+)/.exec(line)?.slice(1).join(""));

    await using killed = start();
    await killed.line(/^safe up to transaction \d{2,}/);
    killed.kill();
    await killed.ended;
    const afterKill = await checkFile(path);
    assert.deepEqual(afterKill.errors, []);

    await using stopped = start();
    await stopped.line(/^safe up to transaction/);
    const { code } = await stopped.stop();
    assert.equal(code, 0, stopped.output());
    const counted = countedTo(await stopped.line(/^counted to \d+; data-loss window 0 ms/));
    const { txid, errors } = await checkFile(path);
    assert.deepEqual(errors, []);
    assert.equal(await newestStored(archive), txid);
    assert.equal((await readGenerations(archive)).length, 1);

    await rm(path);
    await using restored = start();
    await restored.line(new RegExp(`^restored .*app.db at transaction ${txid}$`));
    assert.equal(countedTo(await restored.line(/^counting on from/)), counted);
    await restored.line(/^safe up to transaction/);
    await restored.stop();

    const later = await checkFile(path);
    assert.ok(later.txid > txid);
    assert.deepEqual(later.errors, []);
    assert.equal(await newestStored(archive), later.txid);
    const begins = await readGenerations(archive);
    assert.deepEqual(begins.map(({ reason, epoch }) => [reason, epoch]).sort(), [
      ["first", 1],
      ["restored", 2],
    ]);
  });
});
