// `--exec`: the application as a child of the agent, with real processes and a real bbolt writer.
import assert from "node:assert/strict";
import { readdir, rm } from "node:fs/promises";
import { getPriority } from "node:os";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { newestStored, readGenerations } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { checkFile, runWriter, type WriterLine, writerCommandLine } from "./go-apps.ts";
import { hexTxId, pageferry, pageferryCommand, pageferryOk, startServe } from "./pageferry.ts";
import { type RunningProcess, startProcess } from "./processes.ts";
import { temporaryDirectory, until } from "./temporary.ts";

/** A program that says what signals it gets, and ends with 7 when it gets `ends`. */
const teller = (ends: string): string =>
  `sh -c 'trap "echo got HUP" HUP; trap "echo got USR2" USR2; trap "" TERM; trap "echo got ${ends}; exit 7" ${ends}; echo running $$; while :; do sleep 0.05; done'`;

interface Running extends RunningProcess {
  /** Of the child that says so. */
  childPid(): Promise<number>;
}

function up(path: string, dataDir: string, exec: string, ...more: readonly string[]): Running {
  const args = [
    "up",
    path,
    "--data",
    dataDir,
    "--port",
    "0",
    "--sync-interval",
    "50ms",
    "--exec",
    exec,
    ...more,
  ];
  const running = startProcess(...pageferryCommand(args));
  const childPid = async () => Number((await running.line(/^running \d+$/)).slice(8));
  return { ...running, childPid };
}

const lineOf = async (running: RunningProcess, event: string): Promise<WriterLine> =>
  JSON.parse(await running.line(new RegExp(`"event":"${event}"`)));

/** The priority of each thread of a process; 0 is that of one that said nothing about it. */
async function prioritiesOf(pid: number): Promise<readonly number[]> {
  return (await readdir(`/proc/${pid}/task`)).map((thread) => getPriority(Number(thread)));
}

suite("the application of --exec", () => {
  test("has the processor before us: all our threads give way to it", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 5 });
    await using running = up(path, directory.file("data"), teller("USR2"));
    const child = await running.childPid();
    await until("all give way", async () =>
      (await prioritiesOf(running.pid)).every((priority) => priority === 5),
    );

    assert.deepEqual(await prioritiesOf(child), [0]);
    process.kill(child, "SIGUSR2");
    assert.equal((await running.ended).code, 7);
  });

  test("is told of SIGTERM, and every commit that it made until its end is stored", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    const writer = writerCommandLine({ path, rate: 200, keys: 100 });
    await using running = up(path, directory.file("data"), writer);
    await lineOf(running, "ready");
    await until(
      "there is a backup",
      async () => (await newestStored(directory.file("data/replica/app"))) > 0,
    );

    running.kill("SIGTERM");
    const { code } = await running.ended;

    const newest = await newestTxId(path);
    assert.equal(code, 0, running.output());
    assert.equal((await lineOf(running, "done")).txid, newest);
    assert.equal(await newestStored(directory.file("data/replica/app")), newest);
    // Its standard output is the application's alone.
    assert.match(running.stdout(), /^\{"event":"ready"/);
    assert.match(running.output(), /^ready at http:/m);
  });

  test("gets SIGINT and what else is sent, and its exit code is the command's", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 5 });
    await using running = up(path, directory.file("data"), teller("INT"));
    await running.childPid();

    for (const [signal, word] of [
      ["SIGHUP", /^got HUP$/],
      ["SIGUSR2", /^got USR2$/],
      ["SIGINT", /^got INT$/],
    ] as const) {
      running.kill(signal);
      await running.line(word);
    }

    assert.deepEqual(await running.ended, { code: 7, signal: null });
    assert.equal(await newestStored(directory.file("data/replica/app")), await newestTxId(path));
  });

  test("that ignores SIGTERM goes on, and its backup too, unless --kill-after says for how long", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 5 });
    const archive = directory.file("data/replica/app");
    {
      await using running = up(path, directory.file("data"), teller("USR1"));
      const pid = await running.childPid();
      running.kill("SIGTERM");
      running.kill("SIGTERM");
      await sleep(500);
      await runWriter({ path, count: 5 });
      const newest = await newestTxId(path);
      await until("it is backed up all the same", async () => (await newestStored(archive)) === newest);
      assert.ok(running.isRunning());
      process.kill(pid, "SIGKILL");
      assert.equal((await running.ended).code, 137);
    }
    await using running = up(path, directory.file("data"), teller("USR1"), "--kill-after", "300ms");
    await running.childPid();

    running.kill("SIGTERM");

    assert.equal((await running.ended).code, 137);
    assert.match(running.output(), /^note: --exec: sh goes on 300ms after SIGTERM, and is killed$/m);
  });

  test("that crashes at once, or is not there, gives the code that a shell gives", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    const { txid } = await runWriter({ path, count: 5 });
    const run = (exec: string) =>
      pageferry(["up", path, "--data", directory.file("data"), "--port", "0", "--exec", exec]);

    const codes = [
      (await run("sh -c 'exit 3'")).code,
      (await run("sh -c 'kill -SEGV $$'")).code,
      (await run("/no/such/program")).code,
      (await run(path)).code,
      (await run("sh -c 'exit 3")).code,
    ];

    assert.deepEqual(codes, [3, 139, 127, 126, 2]);
    // Short as it was, what there was is stored.
    assert.equal(await newestStored(directory.file("data/replica/app")), txid);
    // One that crashes again and again costs one upload.
    assert.equal((await readGenerations(directory.file("data/replica/app"))).length, 1);
  });

  test("is waited for with a host that is dead, and what could not be sent is sent at the next start", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    const dataDir = directory.file("data");
    const writer = writerCommandLine({ path, rate: 100, keys: 100 });
    let port = 0;
    const replicate = (url: string, token: string, ...more: readonly string[]) =>
      startProcess(
        ...pageferryCommand([
          ...["replicate", path, "--host", url, "--shadow", directory.file("shadow")],
          ...["--data", directory.file("none"), "--sync-interval", "50ms", ...more],
        ]),
        { env: { PAGEFERRY_TOKEN: token } },
      );
    {
      await using host = await startServe({ dataDir });
      port = Number(new URL(host.url).port);
      await using running = replicate(
        host.url,
        await host.token(),
        "--exec",
        writer,
        "--flush-deadline",
        "2s",
      );
      await lineOf(running, "ready");
      await until("there is a backup", async () => (await newestStored(host.replica("app"))) > 0);
      host.kill("SIGKILL");
      await host.ended;
      await sleep(300);
      const begunMs = performance.now();
      running.kill("SIGTERM");
      const { code } = await running.ended;

      assert.equal(code, 0, running.output());
      assert.ok(performance.now() - begunMs < 8000, `${performance.now() - begunMs} ms`);
      const told = `note: app: captured up to ${hexTxId(await newestTxId(path))}, .* sent at the next start`;
      assert.match(running.output(), new RegExp(told));
    }
    await using host = await startServe({ dataDir, port });
    await using _again = replicate(host.url, await host.token());

    await until(
      "all is stored",
      async () => (await newestStored(host.replica("app"))) === (await newestTxId(path)),
    );
    assert.equal((await readGenerations(host.replica("app"))).length, 1);
  });

  test("starts on a database that was brought back, and sees none of the tokens", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    const dataDir = directory.file("data");
    await using host = await startServe({ dataDir });
    const create = async (...args: readonly string[]) =>
      (await pageferryOk(["token", "create", "--data", dataDir, "--database", "app", ...args])).trim();
    const env = {
      PAGEFERRY_TOKEN: await create(),
      PAGEFERRY_RESTORE_TOKEN: await create("--scopes", "restore"),
    };
    const run = (exec: string, shadow: string) =>
      pageferry(
        [
          ...["replicate", path, "--restore", "--host", host.url, "--shadow", directory.file(shadow)],
          ...["--data", directory.file("none"), "--exec", exec],
        ],
        { env },
      );
    const first = await run(writerCommandLine({ path, count: 20, keys: 50 }), "shadow");
    const before = await newestTxId(path);
    await rm(path);

    const second = await run(writerCommandLine({ path, count: 20, keys: 50 }), "other");
    const third = await run("sh -c 'env | grep -c \"PAGEFERRY.*TOKEN\"'", "other");

    assert.equal(first.code, 0, first.stderr);
    assert.equal(second.code, 0, second.stderr);
    assert.match(second.stderr, /app\.db was missing and is restored/);
    const [ready] = second.stdout.split("\n").map((line) => (line === "" ? {} : JSON.parse(line)));
    assert.ok(ready.txid > before, `${ready.txid} after ${before}`);
    assert.ok((await checkFile(path)).ok);
    assert.equal(await newestStored(host.replica("app")), await newestTxId(path));
    const begun = (await readGenerations(host.replica("app"))).toSorted((a, b) => a.epoch - b.epoch);
    assert.deepEqual(
      begun.map(({ reason, parent }) => [reason, parent?.generation, parent?.txId]),
      [
        ["first", undefined, undefined],
        ["restored", begun[0]?.generation, hexTxId(before)],
      ],
    );
    assert.equal(third.stdout.trim(), "0");
  });
});
