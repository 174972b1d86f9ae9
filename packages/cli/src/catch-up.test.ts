import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";
import { type RunningCommand, runCommand, startCommand, until } from "../testing/commands.ts";
import { loadHistory } from "./demo-history.ts";
import { createLiveFile, type LiveFile } from "./demo-replay.ts";

const history = await loadHistory();

suite("pageferry replicate --once", () => {
  let directory: string;
  let path: string;
  let serve: RunningCommand;
  let url: string;
  let file: LiveFile;
  const tokens = { agent: "", restore: "" };
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "pageferry-once-"));
    const data = join(directory, "data");
    serve = startCommand(["serve", "--data", data, "--port", "0", "--json"]);
    await until("the host is ready", () => serve.io.said.out);
    ({ url } = JSON.parse(serve.io.said.out));
    for (const scopes of ["agent", "restore"] as const) {
      const made = await runCommand(["token", "create", "--scopes", scopes, "--data", data]);
      tokens[scopes] = made.out.trim();
    }
  });
  after(async () => {
    await serve.stop();
    await rm(directory, { recursive: true });
  });
  beforeEach(async () => {
    path = join(directory, "app.db");
    file = await createLiveFile(history, path);
  });
  afterEach(async () => {
    await file[Symbol.asyncDispose]();
    await rm(path, { force: true });
  });

  const once = (more: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    runCommand(
      [
        ...["replicate", path, "--host", url, "--once", "--shadow", join(directory, "shadow")],
        ...["--data", join(directory, "none"), ...more],
      ],
      { PAGEFERRY_TOKEN: tokens.agent, ...env },
    );
  const commit = (from: number, to: number) =>
    file.replay(history.transactions.slice(from, to), {
      ...{ transactionsPerSecond: 500, signal: new AbortController().signal, now: Date.now },
    });
  const hexOf = (index: number) => history.transactions[index]?.txId.toString(16).padStart(16, "0") ?? "";

  test("ends when the host has it, with --wait when replicas have it, and goes on from there the next time", async () => {
    await commit(0, 20);
    const first = await once([]);
    await commit(20, 30);
    const second = await once(["--wait"]);
    await commit(30, 40);
    const third = await once(["--wait", "--json"], { PAGEFERRY_RESTORE_TOKEN: tokens.restore });
    const points = await runCommand(["points", "--json", join(directory, "data/replica/app")]);

    assert.deepEqual([first.code, second.code, third.code], [0, 0, 0], first.err + second.err + third.err);
    assert.equal(first.out, `app: ${hexOf(19)} is at the host\n`);
    assert.equal(second.out, `app: ${hexOf(29)} is in a replica\n`);
    const [{ txid, replicas, generation }] = JSON.parse(third.out).databases;
    assert.equal(txid, hexOf(39));
    assert.match(replicas.join(), /replica/);
    const listed: { txid: string; generation: string }[] = JSON.parse(points.out);
    assert.equal(listed[0]?.txid, hexOf(39));
    assert.deepEqual([...new Set(listed.map((point) => point.generation))], [generation]);
  });

  test("ends with what stands in the way, and does not wait for what does not pass", async () => {
    const refused = await once([], { PAGEFERRY_TOKEN: "wrong" });
    const away = await once(["--timeout", "1s", "--flush-deadline", "1s", "--host", "http://127.0.0.1:9"]);
    await rm(path);
    const missing = await once(["--flush-deadline", "1s"]);
    await file[Symbol.asyncDispose]();
    file = await createLiveFile(history, path);

    assert.deepEqual(
      [refused.code, away.code, missing.code],
      [6, 11, 3],
      refused.err + away.err + missing.err,
    );
    assert.match(away.err, /not caught up in 1s: app: /);
  });

  test("contradicts --exec, and --wait alone means nothing", async () => {
    assert.equal((await once(["--exec", "true"])).code, 2);
    assert.equal((await runCommand(["replicate", path, "--host", url, "--wait"])).code, 2);
  });
});
