import assert from "node:assert/strict";
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type CapturedIo, capturedIo } from "../testing/captured-io.ts";
import { type History, loadHistory } from "./demo-history.ts";
import { createLiveFile, type LiveFile } from "./demo-replay.ts";
import { run } from "./main.ts";

const history: History = await loadHistory();
const first60 = history.transactions.slice(0, 60);

/** A command that runs until it is told to end. */
interface RunningCommand {
  readonly io: CapturedIo;
  readonly ended: Promise<number>;
}

function start(argv: readonly string[], env: Readonly<Record<string, string>> = {}): RunningCommand {
  const io = capturedIo(env);
  return { io, ended: run(argv, io) };
}

async function until(what: string, probe: () => unknown, timeoutMs = 90_000): Promise<void> {
  const deadlineMs = Date.now() + timeoutMs;
  while (!(await probe())) {
    assert.ok(Date.now() < deadlineMs, `not in ${timeoutMs} ms: ${what}`);
    await sleep(25);
  }
}

async function pageferry(argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { io, ended } = start(argv, env);
  return { code: await ended, ...io.said };
}

suite("pageferry up", () => {
  let directory: string;
  let path: string;
  let data: string;
  let archive: string;
  let file: LiveFile;
  const commands: RunningCommand[] = [];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "pageferry-up-"));
    path = join(directory, "app.db");
    data = join(directory, "data");
    archive = join(data, "replica/app");
    file = await createLiveFile(history, path);
  });
  afterEach(async () => {
    for (const { io } of commands) io.terminate();
    await Promise.all(commands.splice(0).map(({ ended }) => ended));
    await file[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  const running = (argv: readonly string[], env?: Readonly<Record<string, string>>) => {
    const command = start(argv, env);
    commands.push(command);
    return command;
  };
  const hasPoints = async (count: number) => {
    const { code, out } = await pageferry(["points", "--json", archive]);
    return code === 0 && JSON.parse(out).length >= count;
  };
  const replay = () =>
    file.replay(first60, { transactionsPerSecond: 100, signal: new AbortController().signal, now: Date.now });

  test("says where it listens in one line, drains on SIGTERM, and ends with 0", async () => {
    const up = running(["up", path, "--data", data, "--port", "0", "--sync-interval", "100ms"]);
    await until("it is ready", () => up.io.said.out);
    const [, url] =
      /^ready at (http:\/\/127\.0\.0\.1:\d+): backing up app \(.*app\.db\) to .*\/replica\/app\n$/.exec(
        up.io.said.out,
      ) ?? [];
    await until("the first snapshot", () => hasPoints(1));
    await replay();
    up.io.terminate();

    assert.equal(await up.ended, 0);
    assert.ok(url);
    assert.match(up.io.said.err, /^note: same disk: not off-host yet/m);
    const [newest] = JSON.parse((await pageferry(["points", "--json", archive])).out);
    assert.equal(BigInt(`0x${newest.txid}`), first60.at(-1)?.txId);
    await assert.rejects(stat(join(data, "url")), { code: "ENOENT" });
  });

  test("shows a person at a terminal a link that signs in at the page once, and a log none", async () => {
    const io = { ...capturedIo(), isTerminal: true };
    const ended = run(["up", path, "--data", data, "--port", "0"], io);
    commands.push({ io, ended });
    const link = () => /^page: (http:\/\/127\.0\.0\.1:\d+)\/sign-in\?code=([\w-]{43}) /m.exec(io.said.err);
    await until("it is ready", link);
    const [, url = "", code = ""] = link() ?? [];
    const signIn = () =>
      fetch(`${url}/sign-in`, {
        ...{ method: "POST", redirect: "manual", headers: { origin: url } },
        body: new URLSearchParams({ code }),
      });

    const [first, second] = [await signIn(), await signIn()];
    const cookie = first.headers.get("set-cookie")?.split(";")[0] ?? "";
    const shows = async (words: string) =>
      (await (await fetch(`${url}/`, { headers: { cookie } })).text()).includes(words);

    assert.deepEqual([first.status, second.status], [303, 401]);
    await until("the page says that all is on one disk", () => shows("but not off this machine yet"));
    io.terminate();
    await ended;
    const log = running(["up", path, "--data", data, "--port", "0"]);
    await until("it is ready", () => log.io.said.err.includes("same disk"));
    assert.doesNotMatch(log.io.said.err, /sign-in|code=/);
  });

  test("restores through its host, with the token that lies in its data", async () => {
    const up = running([
      "up",
      path,
      "--data",
      data,
      "--port",
      "0",
      "--granularity",
      "transaction",
      "--sync-interval",
      "50ms",
      "--json",
    ]);
    await until("it is ready", () => up.io.said.out);
    const { url } = JSON.parse(up.io.said.out);
    const from = `${url}/v1/databases/app`;
    await until("the first snapshot", () => hasPoints(1));
    await replay();
    await until("the last commit is stored", async () =>
      (await pageferry(["points", "--json", archive])).out.includes(
        `"${first60.at(-1)?.txId.toString(16).padStart(16, "0")}"`,
      ),
    );

    const points = await pageferry(["points", "--json", from, "--data", data]);
    const { txid } = JSON.parse(points.out).at(Math.floor(JSON.parse(points.out).length / 2));
    const out = join(directory, "restored.db");
    const restored = await pageferry(["restore", "-o", out, "--txid", txid, from, "--data", data]);
    const checked = await pageferry(["check", "--json", out]);
    const refused = await pageferry(["restore", "-o", out, "--force", from]);
    const status = await pageferry(["status", "--data", data]);
    const statusJson = await pageferry(["status", url, "--json"], {
      PAGEFERRY_TOKEN: (await readFile(join(data, "token"), "utf8")).trim(),
    });

    assert.equal(restored.code, 0, restored.err);
    const recorded = first60.find((transaction) => transaction.txId === BigInt(`0x${txid}`));
    assert.equal(JSON.parse(checked.out).logicalHash, recorded?.logicalSha256);
    assert.equal(points.out, (await pageferry(["points", "--json", archive])).out);
    assert.equal(refused.code, 6);
    assert.match(refused.err, /hint: .*PAGEFERRY_TOKEN/);
    assert.match(status.out, /^DATABASE .*\napp +[0-9a-f]{16} /);
    assert.equal(JSON.parse(statusJson.out).databases[0].name, "app");
  });

  test("goes on with what is there when it is started again, in the same generation", async () => {
    for (const part of [first60.slice(0, 30), first60.slice(30)]) {
      const up = running(["up", path, "--data", data, "--port", "0", "--sync-interval", "50ms"]);
      await until("it is ready", () => up.io.said.out);
      await until("a snapshot", () => hasPoints(1));
      await file.replay(part, {
        transactionsPerSecond: 200,
        signal: new AbortController().signal,
        now: Date.now,
      });
      up.io.terminate();
      assert.equal(await up.ended, 0);
    }

    const points: { generation: string; txid: string }[] = JSON.parse(
      (await pageferry(["points", "--json", archive])).out,
    );
    assert.equal(new Set(points.map(({ generation }) => generation)).size, 1);
    assert.equal(BigInt(`0x${points[0]?.txid}`), first60.at(-1)?.txId);
  });

  test("brings a missing database back where the configuration asks for it, and begins a new generation", async () => {
    const config = join(directory, "pageferry.yml");
    await writeFile(
      config,
      `databases: ["${path}"]\ndataDir: ${data}\nsyncInterval: 50ms\nrestore: { enabled: true }\nlisten: { port: 0 }\n`,
    );
    const first = running(["up", "--config", config]);
    await until("a snapshot", () => hasPoints(1));
    await replay();
    first.io.terminate();
    await first.ended;
    await rm(path);

    const second = running(["up", "--config", config]);
    await until("it is ready", () => second.io.said.out);
    const checked = await pageferry(["check", "--json", path]);
    // What was restored is not sent again: the new generation is told of, and has no point of its own yet.
    await until("a second generation", async () => {
      const begun = (await readdir(archive, { recursive: true })).filter((name) =>
        name.endsWith("/generation.json"),
      );
      return begun.length === 2;
    });

    assert.doesNotMatch(first.io.said.err, /restored/);
    assert.match(second.io.said.err, /^note: app: .*app\.db was missing and is restored/m);
    assert.equal(JSON.parse(checked.out).logicalHash, first60.at(-1)?.logicalSha256);
  });

  test("leaves a database to the agent that has it, and a data directory to the host that has it", async () => {
    const up = running(["up", path, "--data", data, "--port", "0"]);
    await until("it is ready", () => up.io.said.out);

    const sameData = await pageferry(["up", path, "--data", data, "--port", "0"]);
    const otherData = await pageferry(["up", path, "--data", join(directory, "other"), "--port", "0"]);

    assert.deepEqual([sameData.code, otherData.code], [5, 5], sameData.err + otherData.err);
    assert.match(otherData.err, /^error: .*app/m);
  });

  test("raises an alarm for a file that is no database, and takes it up once it is one", async () => {
    const text = join(directory, "text.db");
    await writeFile(text, "no database at all\n".repeat(500));
    const up = running(["up", text, "--data", data, "--port", "0", "--sync-interval", "50ms"]);

    await until("the alarm", () => /^alarm: not-bolt: text: .*\nhint: /m.test(up.io.said.err));
    await rm(text);
    await using _later = await createLiveFile(history, text);
    await until("it is over", () => /^over: not-bolt: text/m.test(up.io.said.err));
    await until(
      "a snapshot",
      async () => (await pageferry(["points", join(data, "replica/text")])).code === 0,
    );
  });

  test("does not start without a database, with a taken port, or with a wrong option", async () => {
    const up = running(["up", path, "--data", data, "--port", "0"]);
    await until("it is ready", () => up.io.said.out);
    const port = new URL(/http:\S+(?=:)/.exec(up.io.said.out)?.[0] ?? "").port;
    const other = ["--data", join(directory, "other")];

    const none = await pageferry(["up", ...other]);
    const taken = await pageferry(["up", path, ...other, "--port", port]);
    const wrong = await pageferry(["up", path, ...other, "--granularity", "week"]);

    assert.deepEqual([none.code, taken.code, wrong.code], [2, 2, 2]);
    assert.match(none.err, /no database is named\nhint: Name one/);
    assert.match(taken.err, new RegExp(`:${port}.*\nhint: Choose another with --port`));
    assert.match(wrong.err, /granularity/);
  });

  test("takes the commits of a Go application from its shadow directory, and leaves the file alone", async () => {
    const shadowDirectory = join(directory, "stream");
    const golden = new URL("../../../test/golden/shadow/data", import.meta.url);
    await cp(golden, shadowDirectory, { recursive: true });
    const other = join(directory, "gone.db");
    running(["up", other, "--data", data, "--port", "0", "--shadow-directory", shadowDirectory]);
    archive = join(data, "replica/gone");

    await until("the last commit", async () => {
      const { code, out } = await pageferry(["points", "--json", archive]);
      return (
        code === 0 && JSON.parse(out).some(({ txid }: { txid: string }) => Number.parseInt(txid, 16) === 31)
      );
    });

    const two = await pageferry(["up", path, other, "--shadow-directory", shadowDirectory]);
    assert.equal(two.code, 2);
    assert.match(two.err, /--shadow-directory: it is of one database/);
  });

  test("can be split: replicate sends to serve, and asks for the token when it has none", async () => {
    const serve = running(["serve", "--data", data, "--port", "0", "--json"]);
    await until("the host is ready", () => serve.io.said.out);
    const { url } = JSON.parse(serve.io.said.out);
    const token = (await readFile(join(data, "token"), "utf8")).trim();
    const shadow = join(directory, "shadow");
    const argv = [
      "replicate",
      path,
      "--host",
      url,
      "--shadow",
      shadow,
      "--sync-interval",
      "50ms",
      "--data",
      join(directory, "other"),
    ];

    const refused = running(argv);
    await until("the alarm", () =>
      /^alarm: unauthorized: .*\nhint: .*PAGEFERRY_TOKEN/m.test(refused.io.said.err),
    );
    refused.io.terminate();
    assert.equal(await refused.ended, 0);
    const agent = running(argv, { PAGEFERRY_TOKEN: token });
    await until("the first snapshot", () => hasPoints(1));
    await replay();
    agent.io.terminate();
    assert.equal(await agent.ended, 0);
    serve.io.terminate();
    assert.equal(await serve.ended, 0);

    assert.match(agent.io.said.out, /^ready: sending app \(.*\) to http:/);
    const [newest] = JSON.parse((await pageferry(["points", "--json", archive])).out);
    assert.equal(BigInt(`0x${newest.txid}`), first60.at(-1)?.txId);
    assert.equal((await pageferry(["replicate", path, "--data", join(directory, "third")])).code, 2);
  });
});
