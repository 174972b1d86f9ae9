import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { runCommand, startCommand, until } from "../testing/commands.ts";
import { loadHistory } from "./demo-history.ts";
import { createLiveFile, type LiveFile } from "./demo-replay.ts";

const history = await loadHistory();
const transactions = history.transactions.slice(0, 30);
const newest = transactions.at(-1)?.txId.toString(16).padStart(16, "0") ?? "";

suite("pageferry check --end-to-end", () => {
  let directory: string;
  let path: string;
  let file: LiveFile;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "pageferry-end-"));
    path = join(directory, "app.db");
    file = await createLiveFile(history, path);
  });
  afterEach(async () => {
    await file[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  const config = () => join(directory, "pageferry.yml");
  const start = async (...replicas: readonly string[]) => {
    const data = join(directory, "data");
    await writeFile(
      config(),
      `databases: ["${path}"]\ndataDir: ${data}\nsyncInterval: 50ms\nlisten: { port: 0 }\nreplicas: ${JSON.stringify(replicas)}\n`,
    );
    const up = startCommand(["up", "--config", config(), "--flush-deadline", "1s"]);
    await until("it is ready", () => up.io.said.out);
    const check = (...argv: readonly string[]) =>
      runCommand(["check", "--end-to-end", "--data", data, ...argv]);
    return { ...up, check };
  };
  const replay = () =>
    file.replay(transactions, {
      ...{ transactionsPerSecond: 300, signal: new AbortController().signal, now: Date.now },
    });

  test("ends when every replica has what is in the file now", async () => {
    await using up = await start(join(directory, "one"), join(directory, "two"));
    await replay();

    const checked = await up.check(path);
    const byName = await up.check("--json");

    assert.equal(checked.code, 0, checked.err);
    assert.match(
      checked.out,
      new RegExp(`^from end to end: what is in .*app\\.db, transaction ${newest}, is in .*one, .*two after `),
    );
    const { from, txid, replicas } = JSON.parse(byName.out);
    assert.deepEqual([from, txid], ["captured", newest]);
    assert.ok(replicas.every(({ hasIt }: { hasIt: boolean }) => hasIt));
  });

  test("ends with 11, and says which replica lacks it, when the time is over", async () => {
    // A file where a replica's directory should be.
    const broken = join(directory, "broken");
    await writeFile(broken, "");
    await using up = await start(join(directory, "one"), broken);
    await replay();

    const checked = await up.check(path, "--timeout", "5s");
    const unknown = await up.check("nobody", "--timeout", "1s");

    assert.equal(checked.code, 11, checked.out + checked.err);
    assert.match(
      checked.err,
      /not from end to end: .*1 of 2 replicas can restore.*broken has nothing\nhint: .*doctor/,
    );
    assert.equal(unknown.code, 3, unknown.err);
    assert.equal((await runCommand(["check"])).code, 2);
  });
});
