// Many databases: directories that are watched, reload, and the control socket, with a real agent and real bolt writers.
import assert from "node:assert/strict";
import { copyFile, mkdir, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { suite, test } from "node:test";
import { newestStored } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { checkFile, runWriter, startWriter } from "./go-apps.ts";
import { pageferry, pageferryCommand, pageferryOk, restore } from "./pageferry.ts";
import { type RunningProcess, startProcess } from "./processes.ts";
import { chance, type TemporaryDirectory, temporaryDirectory, until } from "./temporary.ts";

interface Stage {
  readonly directory: TemporaryDirectory;
  readonly config: string;
  /** Writes the configuration, with these entries of `databases`. */
  configure(databases: string, more?: string): Promise<void>;
  /** `pageferry up` that is ready. */
  up(...more: readonly string[]): Promise<RunningProcess>;
  /** A command that asks the agent. */
  ask(...args: readonly string[]): Promise<string>;
  archive(name: string): string;
  isStored(name: string, path: string): Promise<boolean>;
  names(): Promise<readonly string[]>;
}

async function stageIn(directory: TemporaryDirectory): Promise<Stage> {
  const config = directory.file("pageferry.yml");
  await mkdir(directory.file("apps"));
  const archive = (name: string) => directory.file("data/replica", name);
  const ask = (...args: readonly string[]) => pageferryOk([...args, "--config", config]);
  return {
    ...{ directory, config, archive, ask },
    configure: (databases, more = "") =>
      writeFile(
        config,
        `databases: [${databases}]\ndataDir: ${directory.file("data")}\nsyncInterval: 100ms\nlisten: { port: 0 }\n${more}`,
      ),
    async up(...more) {
      const running = startProcess(...pageferryCommand(["up", "--config", config, ...more]));
      await running.line(/^ready at /);
      return running;
    },
    isStored: async (name, path) => (await newestStored(archive(name))) === (await newestTxId(path)),
    async names() {
      const { databases }: { databases: { name: string }[] } = JSON.parse(
        await ask("status", "--agent", "--json"),
      );
      return databases.map(({ name }) => name);
    },
  };
}

async function assertRestores(stage: Stage, name: string, path: string): Promise<void> {
  const out = stage.directory.file(`restored-${name}.db`);
  const { code, stderr } = await restore(stage.archive(name), out);
  assert.equal(code, 0, stderr);
  const [restored, original] = [await checkFile(out), await checkFile(path)];
  assert.deepEqual(restored.errors, []);
  assert.equal(await newestTxId(out), await newestTxId(path), name);
  assert.equal(restored.logicalSha256, original.logicalSha256);
}

suite("a directory that is watched", () => {
  test("has its databases backed up from when they come, whichever way, and until they are gone for long", async () => {
    await using directory = await temporaryDirectory();
    const stage = await stageIn(directory);
    const apps = (...parts: readonly string[]) => directory.file("apps", ...parts);
    await stage.configure(`{ dir: ${apps()}, recursive: true, watch: true }`);
    await runWriter({ path: apps("first.db"), count: 3 });
    await using running = await stage.up();

    // In directories that are new, while it is written.
    await mkdir(apps("tenants/acme"), { recursive: true });
    await using writer = await startWriter({ path: apps("tenants/acme/app.db"), rate: 100, keys: 100 });
    // Moved to its place.
    await runWriter({ path: directory.file("made"), count: 5 });
    await rename(directory.file("made"), apps("moved.db"));
    // Slowly: it is no database for a while, and nothing comes or goes when it becomes one.
    await using slow = await open(apps("slow.db"), "w");
    await writeFile(apps("notes.db"), "no database");
    await until("those that are whole are backed up", async () => (await stage.names()).length === 3);
    await slow.writeFile(await readFile(apps("moved.db")));
    await until("it is whole", async () => (await stage.names()).includes("slow"));
    await writer.finish();

    assert.deepEqual(await stage.names(), ["first", "moved", "slow", "tenants.acme.app"]);
    const synced = await stage.ask("sync", "--wait");
    assert.equal(synced.trim().split("\n").length, 4, synced);
    for (const [name, path] of [
      ["first", apps("first.db")],
      ["moved", apps("moved.db")],
      ["slow", apps("slow.db")],
      ["tenants.acme.app", apps("tenants/acme/app.db")],
    ] as const) {
      await assertRestores(stage, name, path);
    }

    await rm(apps("moved.db"));
    await running.line(/^alarm: not-found: moved: /);
    await runWriter({ path: apps("first.db"), count: 3 });
    await stage.ask("sync", "--wait");
    assert.ok(await stage.isStored("first", apps("first.db")));
    assert.ok((await stage.names()).includes("moved"), "it is waited for");
    assert.match(await stage.ask("reload"), /^note: reload: unregistered moved$/m);
    await running.line(/^over: not-found: moved: /);
    assert.ok((await newestStored(stage.archive("moved"))) > 0, "its backup stays");
    assert.equal((await running.stop()).code, 0, running.output());
  });

  test("of 200 databases that come at once has all of them backed up", async (t) => {
    await using directory = await temporaryDirectory();
    const stage = await stageIn(directory);
    const count = 200;
    await stage.configure(`{ dir: ${directory.file("apps")}, recursive: true, watch: true, name: all }`);
    await runWriter({ path: directory.file("made"), count: 4, keys: 20 });
    await using running = await stage.up();
    const nameOf = (at: number) => `all.tenant-${at}.app`;
    const pathOf = (at: number) => directory.file("apps", `tenant-${at}`, "app.db");

    const begunMs = performance.now();
    for (let at = 0; at < count; at += 1) {
      await mkdir(directory.file("apps", `tenant-${at}`));
      await copyFile(directory.file("made"), pathOf(at));
    }
    await until("all are found", async () => (await stage.names()).length === count);
    const foundMs = performance.now();
    await stage.ask("sync", "--wait", "--timeout", "3m");
    t.diagnostic(
      `${count} databases: found after ${Math.round(foundMs - begunMs)} ms, stored after ${Math.round(performance.now() - begunMs)} ms`,
    );

    for (let at = 0; at < count; at += 1) assert.ok(await stage.isStored(nameOf(at), pathOf(at)), nameOf(at));
    for (const at of chance(7).sample([...Array(count).keys()], 3))
      await assertRestores(stage, nameOf(at), pathOf(at));
    assert.equal((await running.stop()).code, 0, running.output());
  });

  test("whose file has the name of another database is told of, also at the next start, and everything else goes on", async () => {
    await using directory = await temporaryDirectory();
    const stage = await stageIn(directory);
    const path = directory.file("app.db");
    await runWriter({ path, count: 3 });
    await stage.configure(`${path}, { dir: ${directory.file("apps")}, watch: true, recursive: true }`);
    await using running = await stage.up();

    await copyFile(path, directory.file("apps/app.db"));
    await copyFile(path, directory.file("apps/other.db"));
    // As the agent's own socket: it is a name that cannot be had, and nothing else.
    await mkdir(directory.file("control"));
    await copyFile(path, directory.file("control/sock.db"));
    // At once: what comes into a directory that has just come may be seen by the look each minute only.
    await rename(directory.file("control"), directory.file("apps/control"));
    await running.line(
      /^alarm: bad-config: app: databases: .*apps\/app\.db was found, and its name app is that of/,
    );
    await running.line(/^alarm: exists: control\.sock: /);
    await until("the other is backed up", () => stage.isStored("other", directory.file("apps/other.db")));
    await running.stop();

    await using again = await stage.up();
    await again.line(/^alarm: bad-config: app: databases: .*its name app is that of/);
    assert.match(again.output(), /hint: Give the entry .* another `name`/);
    await runWriter({ path: directory.file("apps/other.db"), count: 2 });
    await until("the other goes on", () => stage.isStored("other", directory.file("apps/other.db")));
    assert.equal((await again.stop()).code, 0, again.output());
  });
});

suite("a reload", () => {
  test("by SIGHUP takes what is new, lets go what is gone, restarts what moved, and refuses what is wrong", async () => {
    await using directory = await temporaryDirectory();
    const stage = await stageIn(directory);
    const path = (name: string) => directory.file(`${name}.db`);
    for (const name of ["kept", "gone", "moved", "new"]) await runWriter({ path: path(name), count: 4 });
    await stage.configure([path("kept"), path("gone"), path("moved")].join(", "));
    await using running = await stage.up();
    await using writer = await startWriter({ path: path("gone"), rate: 200, keys: 50 });

    await stage.configure("[nonsense");
    running.kill("SIGHUP");
    await running.line(/^error: reload: .*pageferry\.yml:\d+:\d+: not YAML.*; everything goes on as before$/);
    await stage.configure("");
    running.kill("SIGHUP");
    await running.line(/^error: reload: no database is named; everything goes on as before$/);
    await stage.configure(path("kept"), "syncIntervall: 1s\n");
    const refused = await pageferry(["reload", "--data", directory.file("data")]);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /syncIntervall is not a known key/);
    const standing = JSON.parse(
      await pageferryOk(["status", "--agent", "--json", "--data", directory.file("data")]),
    );
    assert.deepEqual(
      standing.databases.map(({ name }: { name: string }) => name),
      ["gone", "kept", "moved"],
    );

    await writer.finish();
    await copyFile(path("moved"), directory.file("apps/elsewhere.db"));
    const moved = `{ path: ${directory.file("apps/elsewhere.db")}, name: moved }`;
    await stage.configure([path("kept"), path("new"), moved].join(", "), "granularity: transaction\n");
    running.kill("SIGHUP");

    await running.line(/^note: reload: registered new; unregistered gone; restarted moved$/);
    await running.line(/^warning: at the next start take effect: granularity$/);
    assert.deepEqual(await stage.names(), ["kept", "moved", "new"]);
    // What was committed until then is there.
    assert.ok(await stage.isStored("gone", path("gone")));
    await runWriter({ path: directory.file("apps/elsewhere.db"), count: 3 });
    await stage.ask("sync", "--wait");
    for (const name of ["kept", "new"]) await assertRestores(stage, name, path(name));
    await assertRestores(stage, "moved", directory.file("apps/elsewhere.db"));
    assert.equal((await running.stop()).code, 0, running.output());
  });

  test("under --exec comes by the socket, for SIGHUP is the application's", async () => {
    await using directory = await temporaryDirectory();
    const stage = await stageIn(directory);
    await runWriter({ path: directory.file("app.db"), count: 3 });
    await runWriter({ path: directory.file("more.db"), count: 3 });
    await stage.configure(directory.file("app.db"));
    const exec = `sh -c 'trap "echo got HUP" HUP; trap "exit 0" TERM; echo running; while :; do sleep 0.05; done'`;
    await using running = await stage.up("--exec", exec);
    await running.line(/^running$/);
    await stage.configure([directory.file("app.db"), directory.file("more.db")].join(", "));

    running.kill("SIGHUP");
    await running.line(/^got HUP$/);
    assert.deepEqual(await stage.names(), ["app"]);
    assert.match(await stage.ask("reload"), /registered more/);

    assert.deepEqual(await stage.names(), ["app", "more"]);
    assert.equal((await running.stop()).code, 0);
  });
});

suite("the control socket", () => {
  /** What a request of raw bytes is answered, or how it ends. */
  async function raw(path: string, bytes: string | Buffer, isEnded = true): Promise<string> {
    const socket: Socket = connect(path);
    let answer = "";
    socket.setEncoding("utf8").on("data", (text: string) => {
      answer += text;
    });
    socket.on("error", () => {});
    socket.write(bytes);
    if (isEnded) socket.end();
    await new Promise((resolve) => socket.once("close", resolve));
    return answer;
  }
  const post = (path: string, body: string) =>
    `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

  test("is the user's alone, and outlives whatever is sent to it", async () => {
    await using directory = await temporaryDirectory();
    const stage = await stageIn(directory);
    await runWriter({ path: directory.file("app.db"), count: 3 });
    await runWriter({ path: directory.file("more.db"), count: 3 });
    await stage.configure(directory.file("app.db"));
    await using running = await stage.up();
    const socket = directory.file("data/shadow/control.sock");
    const modeOf = async (path: string) => (await stat(path)).mode & 0o777;
    assert.deepEqual([await modeOf(socket), await modeOf(directory.file("data/shadow"))], [0o600, 0o700]);

    // Some of these wait for bytes that never come, while the others are asked.
    const half = [
      "",
      "POST /v1/rel",
      "POST /v1/reload HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{",
    ].map((bytes) => raw(socket, bytes, false));
    const answers = await Promise.all([
      raw(socket, Buffer.from("\x16\x03\x01\x02garbage\r\n\r\n")),
      raw(socket, post("/v1/register", "no JSON")),
      raw(socket, post("/v1/register", "[1]")),
      raw(socket, post("/v1/register", `{"path": "relative.db"}`)),
      raw(socket, post("/v1/register", `{"path": "/x.db", "mode": 1}`)),
      raw(socket, post("/v1/unregister", `{"name": "../app"}`)),
      raw(socket, post("/v1/sync", `{"timeoutMs": 1e99}`)),
      raw(socket, post("/v1/nothing", "{}")),
      raw(socket, post("/v1/register", `{"path": "/${"x".repeat(200_000)}"}`)),
      raw(socket, `GET /v1/status HTTP/1.1\r\nhost: x\r\nx: ${"y".repeat(100_000)}\r\n\r\n`),
    ]);
    const statuses = answers.map((answer) => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]));
    assert.deepEqual(statuses, [400, 400, 400, 400, 400, 404, 400, 404, 413, 431]);
    const cut = await Promise.all(half);
    assert.ok(
      cut.every((answer) => answer === "" || /^HTTP\/1\.1 408/.test(answer)),
      cut.join("\n"),
    );
    const crowd = Array.from({ length: 200 }, () => raw(socket, "", false));

    await Promise.all(crowd);
    const two = await Promise.all([
      pageferry(["register", directory.file("more.db"), "--config", stage.config, "--json"]),
      pageferry(["register", directory.file("more.db"), "--config", stage.config, "--json"]),
    ]);
    assert.deepEqual(two.map(({ code, stdout }) => [code, JSON.parse(stdout).isNew]).sort(), [
      [0, false],
      [0, true],
    ]);
    const synced: { databases: { name: string; replicas: string[] }[] } = JSON.parse(
      await stage.ask("sync", "more", "--wait", "--json"),
    );
    assert.deepEqual(
      synced.databases.map(({ name, replicas }) => [name, replicas.length]),
      [["more", 1]],
    );
    await assertRestores(stage, "more", directory.file("more.db"));
    const codes = [
      (await pageferry(["register", directory.file("x/app.db"), "--config", stage.config])).code,
      (await pageferry(["register", directory.file("app.db"), "--name", "other", "--config", stage.config]))
        .code,
      (await pageferry(["unregister", "nobody", "--config", stage.config])).code,
      (await pageferry(["sync", "nobody", "--config", stage.config])).code,
      (await pageferry(["unregister", "more", "--config", stage.config])).code,
    ];
    assert.deepEqual(codes, [5, 5, 3, 3, 0]);
    assert.deepEqual(await stage.names(), ["app"]);
    assert.ok((await newestStored(stage.archive("more"))) > 0, "its backup stays");
    assert.equal((await running.stop()).code, 0, running.output());
  });

  test("of an agent that was killed is replaced, and of one that runs is not; also where its path is long", async () => {
    await using directory = await temporaryDirectory();
    const stage = await stageIn(directory);
    await runWriter({ path: directory.file("app.db"), count: 3 });
    const shadow = directory.file("a-directory-whose-name-is-long".repeat(4), "shadow");
    await stage.configure(directory.file("app.db"), `shadowDir: ${shadow}\n`);
    {
      await using killed = await stage.up();
      assert.deepEqual(await stage.names(), ["app"]);
      killed.kill("SIGKILL");
      await killed.ended;
    }
    const dead = await pageferry(["status", "--agent", "--config", stage.config]);
    assert.equal(dead.code, 3);
    assert.match(
      dead.stderr,
      /^error: no agent runs with .*\nhint: Start one with `pageferry up` or `replicate`/,
    );

    await using again = await stage.up();
    const second = await pageferry([
      ...["up", directory.file("another.db"), "--data", directory.file("more"), "--port", "0"],
      ...["--config", stage.config],
    ]);
    const locked = /another agent answers there/.test(second.stderr);

    assert.deepEqual([second.code, locked], [5, true], second.stderr);
    assert.deepEqual(await stage.names(), ["app"]);
    assert.equal((await again.stop()).code, 0, again.output());
  });
});
