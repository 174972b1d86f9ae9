import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { type RunningCommand, runCommand, startCommand, until } from "../testing/commands.ts";
import { loadHistory } from "./demo-history.ts";
import { createLiveFile, type LiveFile } from "./demo-replay.ts";

const history = await loadHistory();
const [begun, later] = [history.transactions.slice(0, 30), history.transactions.slice(30, 40)];
const hexOf = (transactions: typeof begun) => transactions.at(-1)?.txId.toString(16).padStart(16, "0") ?? "";

/** Nothing is sent for its time's sake while a test runs. */
const never = "1h";

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

  const data = () => join(directory, "data");
  const start = async (replicas: readonly string[], syncInterval: string) => {
    const config = join(directory, "pageferry.yml");
    await writeFile(
      config,
      `databases: ["${path}"]\ndataDir: ${data()}\nsyncInterval: ${syncInterval}\nlisten: { port: 0 }\nreplicas: ${JSON.stringify(replicas)}\n`,
    );
    const up = startCommand(["up", "--config", config, "--flush-deadline", "1s"]);
    await until("it is ready", () => up.io.said.out);
    return { ...up, check: checkWith("--data", data()) };
  };
  const checkWith =
    (...place: readonly string[]) =>
    (...argv: readonly string[]) =>
      runCommand(["check", "--end-to-end", ...place, ...argv]);
  const replay = (transactions: typeof begun) =>
    file.replay(transactions, {
      ...{ transactionsPerSecond: 300, signal: new AbortController().signal, now: Date.now },
    });

  test("sends what is in the file without waiting for its time, and ends when every replica has it", async () => {
    await using up = await start([join(directory, "one"), join(directory, "two")], never);
    await replay(begun);
    const first = await up.check(path);
    await replay(later);

    const second = await up.check(path, "--json");

    assert.equal(first.code, 0, first.err);
    assert.match(
      first.out,
      new RegExp(
        `^from end to end: what is in .*app\\.db, transaction ${hexOf(begun)}, is in .*one, .*two after `,
      ),
    );
    assert.match(first.out, /\nsent: at once, by the agent on this machine\nproves: the whole way: /);
    assert.equal(second.code, 0, second.err);
    const { from, txid, forced, travelled, replicas, proves } = JSON.parse(second.out);
    assert.deepEqual([from, txid, forced], ["file", hexOf(later), true]);
    // The agent may have sent the first of them by itself.
    assert.ok(travelled.after >= hexOf(begun) && travelled.after < hexOf(later), travelled.after);
    assert.equal(travelled.upTo, hexOf(later));
    assert.match(proves, /^the whole way/);
    assert.equal(replicas.length, 2);
    for (const { hasIt, listedAgoMs } of replicas) assert.ok(hasIt && listedAgoMs >= 0);
  });

  test("says of a database that rests what it does not prove, and is not content with what the host remembers", async () => {
    const [one, two] = [join(directory, "one"), join(directory, "two")];
    await using up = await start([one, two], "50ms");
    await replay(begun);
    assert.equal((await up.check(path)).code, 0);

    const resting = await up.check("app", "--json");
    await rename(two, `${two}.gone`);
    const remembered = await runCommand(["wait", "app", "--data", data(), "--timeout", "5s"]);
    const looked = await up.check(path, "--timeout", "3s");

    assert.equal(resting.code, 0, resting.err);
    const { travelled, forced, txid, doesNotProve } = JSON.parse(resting.out);
    assert.deepEqual([travelled, forced, txid], [null, true, hexOf(begun)]);
    assert.match(
      doesNotProve,
      /^that a new commit arrives: nothing was committed since the last acknowledgement/,
    );
    assert.equal(remembered.code, 0, remembered.err);
    assert.equal(looked.code, 11, looked.out + looked.err);
    assert.match(looked.err, /1 of 2 replicas can restore .*two has nothing/);
  });

  test("asks the agent of `replicate` here and the host that it sends to; without the agent it says that nothing was sent", async () => {
    const host = await serve();
    await using _serving = host.serving;
    const [agentData, shadow] = [join(directory, "agent"), join(directory, "agent-shadow")];
    const env = { PAGEFERRY_TOKEN: host.token };
    const check = (...argv: readonly string[]) =>
      runCommand(["check", "--end-to-end", path, "--data", agentData, ...argv], env);
    const agent = startCommand(
      [
        "replicate",
        path,
        "--host",
        host.url,
        "--data",
        agentData,
        "--shadow",
        shadow,
        "--sync-interval",
        never,
      ],
      env,
    );
    await using _replicating = agent;
    await until("it is ready", () => agent.io.said.out);
    await replay(begun);

    const beside = await check("--shadow", shadow, "--json");
    await agent.stop();
    const alone = await check("--shadow", shadow, "--host", host.url);

    assert.equal(beside.code, 0, beside.err);
    const { forced, travelled, txid } = JSON.parse(beside.out);
    assert.deepEqual([forced, travelled.upTo, txid], [true, hexOf(begun), hexOf(begun)]);
    assert.equal(alone.code, 0, alone.err);
    assert.match(alone.out, /\nsent: not by this check: no agent runs with .*agent-shadow\n/);
    assert.match(
      alone.out,
      /\ndoes not prove: that a new commit arrives: .*that its agent runs \(the host heard of it /,
    );
  });

  async function serve(): Promise<{ serving: RunningCommand; url: string; token: string }> {
    const serving = startCommand(["serve", "--port", "0", "--data", data()]);
    await until("the host is ready", () => serving.io.said.out);
    const url = (await readFile(join(data(), "url"), "utf8")).trim();
    return { serving, url, token: (await readFile(join(data(), "token"), "utf8")).trim() };
  }

  test("ends with 11, and says which replica lacks it, when the time is over", async () => {
    // A file where a replica's directory should be.
    const broken = join(directory, "broken");
    await writeFile(broken, "");
    await using up = await start([join(directory, "one"), broken], "50ms");
    await replay(begun);

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

  test("does not wait for ever for an agent that gives no answer", async () => {
    const shadow = join(directory, "shadow");
    await mkdir(shadow);
    const silent = createServer(() => undefined);
    await new Promise<void>((listening) => silent.listen(join(shadow, "control.sock"), listening));
    try {
      const checked = await runCommand([
        ...["check", "--end-to-end", path, "--data", data(), "--shadow", shadow],
        ...["--host", "http://127.0.0.1:9", "--timeout", "100ms"],
      ]);

      assert.equal(checked.code, 11, checked.err);
      assert.match(checked.err, /not from end to end: no answer in 100ms/);
    } finally {
      silent.close();
    }
  });
});
