// Bad days: each raises a clear alarm or ends with a coded error, and nothing is lost when the day is over.
import assert from "node:assert/strict";
import { chmod, chown, mkdir, rm, writeFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { newestStored } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { checkFile, runWriter, startWriter } from "./go-apps.ts";
import {
  hexTxId,
  listPoints,
  pageferryCommand,
  restore,
  startReplicate,
  startServe,
  startUp,
} from "./pageferry.ts";
import { startProcess } from "./processes.ts";
import { freePort, smallDisk, temporaryDirectory, until } from "./temporary.ts";

const mb = 2 ** 20;

/** The newest stored point restores to exactly the live pages of the database, which nobody has open. */
async function assertNewestIsLive(
  root: string,
  path: string,
  out: string,
  timeoutMs = 90_000,
): Promise<void> {
  const last = await newestTxId(path);
  await until(`the replica has ${last}`, async () => (await newestStored(root)) === last, { timeoutMs });
  const run = await restore(root, out);
  assert.equal(run.code, 0, run.stderr);
  const [restored, live] = [await checkFile(out), await checkFile(path)];
  assert.deepEqual(restored.errors, []);
  assert.equal(restored.liveSha256, live.liveSha256);
}

suite("a database that cannot be captured", () => {
  for (const [name, content] of Object.entries({ text: "no database\n".repeat(2000), empty: "" })) {
    test(`raises an alarm while the file is ${name === "text" ? "not bolt's" : name}, and is backed up as soon as it is one`, async () => {
      await using directory = await temporaryDirectory();
      const path = directory.file("app.db");
      await writeFile(path, content);
      await using host = await startUp([path], { dataDir: directory.file("data") });

      await host.line(/not-bolt|not a bolt|empty/, 15_000);

      assert.equal(host.isRunning(), true);
      await rm(path);
      await runWriter({ path, count: 30 });
      await assertNewestIsLive(host.replica("app"), path, directory.file("out.db"));
    });
  }

  test("that another user owns says whom to run as, and goes on by itself once it may be read", async () => {
    await using directory = await temporaryDirectory();
    const [path, dataDir] = [directory.file("app.db"), directory.file("data")];
    await runWriter({ path, count: 30 });
    await chmod(path, 0o600);
    await chmod(directory.path, 0o755);
    await mkdir(dataDir);
    await chown(dataDir, 65_534, 65_534);
    const port = await freePort();
    const [node, args] = pageferryCommand(["up", path, "--data", dataDir, "--port", String(port)]);
    const nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", node, ...args];
    await using agent = startProcess("setpriv", nobody, { env: { HOME: dataDir } });

    const alarm = await agent.line(/unreadable|permission|may not/i, 20_000);

    assert.match(agent.output(), /CAP_DAC_READ_SEARCH|application's user/, alarm);
    await chmod(path, 0o644);
    await assertNewestIsLive(`${dataDir}/replica/app`, path, directory.file("out.db"));
    assert.equal((await agent.stop()).code, 0);
  });

  test("that two agents want is left to the first: the second says so and stops", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 30 });
    await using first = await startUp([path], { dataDir: directory.file("data") });
    const token = await first.token();

    await using sameShadow = startReplicate([path], {
      host: first.url,
      token,
      shadowDir: `${first.dataDir}/shadow`,
    });
    await using otherShadow = startReplicate([path], {
      host: first.url,
      token,
      shadowDir: directory.file("other"),
    });
    const ends = await Promise.all([sameShadow.ended, otherShadow.ended]);

    assert.deepEqual(
      ends.map(({ code }) => code),
      [5, 5],
      sameShadow.output() + otherShadow.output(),
    );
    assert.match(sameShadow.output(), /another agent|locked/);
    assert.match(otherShadow.output(), /another agent|locked/);
    await runWriter({ path, count: 10 });
    await assertNewestIsLive(first.replica("app"), path, directory.file("out.db"));
  });
});

suite("a host that is away", () => {
  test("at the start loses nothing: the agent keeps what it captures and sends it when the host is there", async () => {
    await using directory = await temporaryDirectory();
    const [path, dataDir] = [directory.file("app.db"), directory.file("data")];
    const port = await freePort();
    const token = await (async () => {
      await using host = await startServe({ dataDir, port });
      return host.token();
    })();
    await using agent = startReplicate([path], {
      host: `http://127.0.0.1:${port}`,
      token,
      shadowDir: directory.file("shadow"),
      args: ["--sync-interval", "100ms"],
    });
    await runWriter({ path, seconds: 3, rate: 100 });
    assert.equal(agent.isRunning(), true, agent.output());

    await using host = await startServe({ dataDir, port });

    await assertNewestIsLive(host.replica("app"), path, directory.file("out.db"));
  });

  test("with a wrong token stops the sending with an alarm, and says which variable to set", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 10 });
    await using host = await startServe({ dataDir: directory.file("data") });
    await using agent = startReplicate([path], {
      host: host.url,
      token: "wrong",
      shadowDir: directory.file("shadow"),
    });

    await agent.line(/unauthorized|token/i, 15_000);

    assert.match(agent.output(), /PAGEFERRY_TOKEN/);
    assert.doesNotMatch(agent.output(), /wrong/);
  });
});

suite("a full disk", () => {
  test("of the shadow stops nothing but the shadow, and is over when there is room", async () => {
    await using directory = await temporaryDirectory();
    await using disk = await smallDisk(3 * mb);
    const path = directory.file("app.db");
    await runWriter({ path, count: 200, keyspace: 400 });
    const port = await freePort();
    const dataDir = directory.file("data");
    const token = await (async () => {
      await using host = await startServe({ dataDir, port });
      return host.token();
    })();
    await writeFile(disk.file("filler"), new Uint8Array(2.5 * mb));
    await using agent = startReplicate([path], {
      host: `http://127.0.0.1:${port}`,
      token,
      shadowDir: disk.file("shadow"),
      args: ["--sync-interval", "100ms"],
    });
    await using writer = await startWriter({ path, rate: 1000, keyspace: 400, seed: 2 });

    // The first snapshot finds no room, and what is captured meanwhile takes all that comes before it is tried again.
    await agent.line(/disk-full|no room|ENOSPC/i, 60_000);

    assert.equal(agent.isRunning(), true);
    await rm(disk.file("filler"));
    await using host = await startServe({ dataDir, port });
    const summary = await writer.finish();
    assert.ok(summary.transactions > 0);
    // Another snapshot is made half a minute after the one that was given up.
    await assertNewestIsLive(host.replica("app"), path, directory.file("out.db"), 240_000);
  });

  test("of queue and replica is told, and all is stored when there is room", async () => {
    await using directory = await temporaryDirectory();
    await using disk = await smallDisk(6 * mb);
    const path = directory.file("app.db");
    await writeFile(disk.file("filler"), new Uint8Array(5.6 * mb));
    await using host = await startServe({ dataDir: disk.path });
    await using agent = startReplicate([path], {
      host: host.url,
      token: await host.token(),
      shadowDir: directory.file("shadow"),
      args: ["--sync-interval", "100ms"],
    });
    await using writer = await startWriter({ path, rate: 200, keyspace: 200 });

    await until("someone says so", () => /disk-full|no room|ENOSPC/i.test(agent.output() + host.output()), {
      timeoutMs: 60_000,
    });

    assert.deepEqual([agent.isRunning(), host.isRunning()], [true, true]);
    await rm(disk.file("filler"));
    await writer.finish();
    await assertNewestIsLive(host.replica("app"), path, directory.file("out.db"));
  });

  test("of one replica only is told, and delays the other in nothing", async () => {
    await using directory = await temporaryDirectory();
    await using disk = await smallDisk(mb);
    const [path, config, good] = [
      directory.file("app.db"),
      directory.file("config.yml"),
      directory.file("good"),
    ];
    await writeFile(disk.file("filler"), new Uint8Array(mb - 16_384));
    await writeFile(config, `replicas:\n  - file://${good}\n  - file://${disk.path}\n`);
    await runWriter({ path, count: 50, keyspace: 100 });
    await using host = await startUp([path], { dataDir: directory.file("data"), args: ["--config", config] });

    await assertNewestIsLive(`${good}/app`, path, directory.file("first.db"));
    await until("someone says so", () => /disk-full|no room|ENOSPC/i.test(host.output()), {
      timeoutMs: 90_000,
    });

    await rm(disk.file("filler"));
    await runWriter({ path, count: 5, keyspace: 100, seed: 2 });
    await assertNewestIsLive(`${good}/app`, path, directory.file("second.db"));
    await assertNewestIsLive(`${disk.path}/app`, path, directory.file("third.db"));
  });
});

suite("points", () => {
  test("are listed by a host as they are by its replica", async () => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    await runWriter({ path, count: 40 });
    await using host = await startUp([path], {
      dataDir: directory.file("data"),
      args: ["--sync-interval", "50ms"],
    });
    await runWriter({ path, count: 40, rate: 40, seed: 2 });
    const last = await newestTxId(path);
    await until("the drain", async () => (await newestStored(host.replica("app"))) === last);
    const from = `${host.url}/v1/databases/app`;
    const env = { PAGEFERRY_TOKEN: await host.token() };

    const [byHost, byReplica] = [await listPoints(from, env), await listPoints(host.replica("app"))];
    const run = await restore(from, directory.file("out.db"), {}, { env });

    assert.equal(run.code, 0, run.stderr);
    assert.deepEqual(byHost, byReplica);
    assert.equal(byHost[0]?.txid, hexTxId(last));
    assert.equal((await checkFile(directory.file("out.db"))).liveSha256, (await checkFile(path)).liveSha256);
  });
});
