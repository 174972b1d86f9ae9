// The file under the path is not always the file that was there: compaction, a restore over it, truncation, an
// application that goes on writing a file nobody can open any more.
import assert from "node:assert/strict";
import { copyFile, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { newestStored, readGenerations } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { checkFile, compact, runWriter, startWriter, type Verdict } from "./go-apps.ts";
import { type Host, hexTxId, listPoints, type Point, restore, startUp } from "./pageferry.ts";
import { type TemporaryDirectory, temporaryDirectory, until } from "./temporary.ts";

interface Watched extends AsyncDisposable {
  readonly directory: TemporaryDirectory;
  readonly path: string;
  readonly host: Host;
  readonly root: string;
}

/** A database of some hundred transactions under `up`, all of it stored. */
async function watched(): Promise<Watched> {
  const directory = await temporaryDirectory();
  const path = directory.file("app.db");
  await runWriter({ path, count: 300 });
  const host = await startUp([path], { dataDir: directory.file("data"), args: ["--sync-interval", "100ms"] });
  const root = host.replica("app");
  const last = await newestTxId(path);
  await until("the first snapshot", async () => (await newestStored(root)) === last);
  return {
    directory,
    path,
    host,
    root,
    async [Symbol.asyncDispose]() {
      await host[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** Waits until the state of the file, which nobody has open, is a point of a new generation; restores and compares. */
async function assertNewGeneration(
  { directory, path, root }: Watched,
  reasons: readonly string[],
): Promise<{ readonly point: Point; readonly live: Verdict }> {
  const live = await checkFile(path);
  const newest = await until(
    "a generation with the state of the file",
    async () => {
      const later = new Set(
        (await readGenerations(root)).filter(({ parent }) => parent).map((g) => g.generation),
      );
      const points = await listPoints(root);
      return points.find(({ generation, txid }) => later.has(generation) && txid === hexTxId(live.txid));
    },
    { timeoutMs: 90_000, everyMs: 200 },
  );
  const generations = await readGenerations(root);
  const born = generations.find(({ generation }) => generation === newest.generation);
  assert.ok(reasons.includes(born?.reason ?? ""), `reason ${born?.reason}`);
  assert.equal(born?.parent?.generation, generations.find(({ reason }) => reason === "first")?.generation);
  const out = directory.file("restored.db");
  await rm(out, { force: true });
  const run = await restore(root, out, { generation: newest.generation, txid: newest.txid });
  assert.equal(run.code, 0, run.stderr);
  const restored = await checkFile(out);
  assert.deepEqual(restored.errors, []);
  assert.equal(restored.liveSha256, live.liveSha256);
  return { point: newest, live };
}

suite("a file that is not the one it was", () => {
  test("compacted and renamed over: a new generation, and the old one still restores", async () => {
    await using watch = await watched();
    const before = await checkFile(watch.path);
    const txid = await compact(watch.path);
    await runWriter({ path: watch.path, count: 20, seed: 2 });

    await assertNewGeneration(watch, ["replaced"]);

    const first =
      (await readGenerations(watch.root)).find(({ reason }) => reason === "first")?.generation ?? "";
    const out = watch.directory.file("old.db");
    const run = await restore(watch.root, out, { generation: first, txid: hexTxId(before.txid) });
    assert.equal(run.code, 0, run.stderr);
    assert.equal((await checkFile(out)).liveSha256, before.liveSha256);
    assert.ok(txid < before.txid);
  });

  test("restored over while the agent runs: a new generation that says so", async () => {
    await using watch = await watched();
    const earlier = await newestTxId(watch.path);
    await runWriter({ path: watch.path, count: 100, seed: 2 });
    const later = await newestTxId(watch.path);
    await until("the later state", async () => (await newestStored(watch.root)) === later);

    const run = await restore(watch.root, watch.path, { txid: hexTxId(earlier) }, { args: ["--force"] });
    assert.equal(run.code, 0, run.stderr);
    await runWriter({ path: watch.path, count: 10, seed: 3 });

    await assertNewGeneration(watch, ["restored", "replaced"]);
  });

  test("overwritten in place with an older copy: a new generation, never a mixture", async () => {
    await using watch = await watched();
    const copy = watch.directory.file("copy.db");
    await copyFile(watch.path, copy);
    await runWriter({ path: watch.path, count: 50, seed: 2 });
    const later = await newestTxId(watch.path);
    await until("the later state", async () => (await newestStored(watch.root)) === later);

    await writeFile(watch.path, await readFile(copy));
    await runWriter({ path: watch.path, count: 5, seed: 3 });

    await assertNewGeneration(watch, ["restored", "replaced", "unprovable"]);
  });

  test("truncated, and gone, and back: alarms while it lasts, then goes on", async () => {
    await using watch = await watched();
    const { path, host, directory } = watch;
    const copy = directory.file("copy.db");
    await copyFile(path, copy);

    await truncate(path, 0);
    await host.line(/not-bolt|unreadable|corrupt/, 15_000);
    await rm(path);
    await host.line(/not-found|no such file|is not there|gone|missing/i, 15_000);
    // Before it is there: else it may be seen while it is still the very state that is known, and go on as if nothing had been.
    await runWriter({ path: copy, count: 20, seed: 2 });
    await rename(copy, path);

    assert.equal(host.isRunning(), true);
    await assertNewGeneration(watch, ["replaced", "restored", "unprovable"]);
  });

  test("gone, and back as it was: its generation goes on", async () => {
    await using watch = await watched();
    const { path, host, directory, root } = watch;
    const copy = directory.file("copy.db");
    await copyFile(path, copy);

    await rm(path);
    await host.line(/not-found/, 15_000);
    await rename(copy, path);
    await host.line(/^over: not-found/, 15_000);
    // It is there again, and is looked at: what is committed before that makes it another file.
    await sleep(2000);
    await runWriter({ path, count: 20, seed: 2 });

    const last = await newestTxId(path);
    await until("its commits are stored", async () => (await newestStored(root)) === last);
    assert.deepEqual(
      (await readGenerations(root)).map(({ reason }) => reason),
      ["first"],
    );
    const out = directory.file("restored.db");
    assert.equal((await restore(root, out)).code, 0);
    assert.equal((await checkFile(out)).liveSha256, (await checkFile(path)).liveSha256);
  });

  test("unlinked while the application goes on writing it: an alarm within a minute, not silence", async () => {
    await using watch = await watched();
    const { path, host, directory } = watch;
    const copy = directory.file("copy.db");
    await using writer = await startWriter({ path, rate: 20, seed: 2 });
    await copyFile(path, copy);
    await sleep(300);
    await rename(copy, path);

    const alarm = await host.line(/alarm.*(unlinked|another file|no longer|lock)/i, 30_000);

    assert.ok(writer.isRunning(), alarm);
    await writer.finish();
  });
});
