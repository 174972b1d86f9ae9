import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { runCommand, startCommand, until } from "../../testing/commands.ts";
import { type History, loadHistory } from "../demo-history.ts";
import { createLiveFile } from "../demo-replay.ts";

const history: History = await loadHistory();
const transactions = history.transactions.slice(0, 20);

interface Begun {
  readonly generation: string;
  readonly reason: string;
  readonly parent: { readonly generation: string; readonly txId: string } | null;
}

suite("a standby that becomes the database", () => {
  let directory: string;
  let standby: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "pageferry-promote-"));
    standby = join(directory, "standby.db");
  });
  afterEach(() => rm(directory, { recursive: true }));

  const archive = () => join(directory, "replica/app");
  /** A machine of its own, with the replica that all share. */
  const up = async (machine: string, path: string) => {
    const config = join(directory, `${machine}.yml`);
    await writeFile(
      config,
      `databases: [{ path: ${path}, name: app }]\ndataDir: ${join(directory, machine)}\nsyncInterval: 50ms\n` +
        `replicas: [{ type: file, path: ${join(directory, "replica")} }]\nlisten: { port: 0 }\n`,
    );
    return ["up", "--config", config, "--flush-deadline", "2s"];
  };
  const begun = async (): Promise<Begun[]> => {
    const names = (await readdir(archive()).catch(() => [])).filter((name) => /^[0-9a-f]{16}$/.test(name));
    const texts = await Promise.all(
      // Its directory is there before it is.
      names.map((name) => readFile(join(archive(), name, "generation.json"), "utf8").catch(() => undefined)),
    );
    return texts.flatMap((text) => (text === undefined ? [] : [JSON.parse(text)]));
  };
  const newest = async (): Promise<{ readonly txid: string; readonly generation: string } | undefined> => {
    const { code, out } = await runCommand(["points", "--json", archive()]);
    return code === 0 ? JSON.parse(out)[0] : undefined;
  };
  const backUp = async (): Promise<void> => {
    const path = join(directory, "app.db");
    await using file = await createLiveFile(history, path);
    await using command = startCommand(await up("a", path));
    await until("a point", newest);
    await file.replay(transactions, {
      ...{ transactionsPerSecond: 200, signal: new AbortController().signal, now: Date.now },
    });
    const last = transactions.at(-1)?.txId;
    await until("all of it", async () => BigInt(`0x${(await newest())?.txid}`) === last);
    assert.equal(await command.stop(), 0);
  };
  const following = () =>
    startCommand(["restore", "--follow", "--interval", "100ms", "-o", standby, archive()]);

  test("begins a generation whose parent is the point that it was", async () => {
    await backUp();
    const point = await newest();
    const follower = following();
    await until("it is there", () => /at 0/.test(follower.io.said.out));
    assert.equal(await follower.stop(), 0);

    await using command = startCommand(await up("b", standby));
    await until("a generation", async () => (await begun()).length === 2);

    assert.match(command.io.said.err, /app: \S+standby\.db was a standby, at transaction /);
    const born = (await begun()).find(({ reason }) => reason === "restored");
    assert.deepEqual(born?.parent, { generation: point?.generation, txId: point?.txid });
    // It is that point still, and so it is not sent again.
    assert.equal(await command.stop(), 0);
    assert.deepEqual(await readdir(join(archive(), born?.generation ?? "")), ["generation.json"]);
    await assert.rejects(stat(`${standby}.follow`), { code: "ENOENT" });
  });

  test("keeps what somebody wrote to its file while it was being replaced, and says so", async () => {
    await backUp();
    const follower = following();
    await until("it is there", () => /at 0/.test(follower.io.said.out));
    assert.equal(await follower.stop(), 0);
    const forerunner = `${standby}.follow/forerunner`;
    await writeFile(forerunner, "what an application wrote");

    await using command = startCommand(await up("b", standby));
    await until("a generation", async () => (await begun()).length === 2);

    assert.match(
      command.io.said.err,
      /warning: app: \S+: somebody wrote to it while it was being replaced\nhint: /,
    );
    assert.equal(await readFile(forerunner, "utf8"), "what an application wrote");
    assert.equal(await command.stop(), 0);
    await using again = startCommand(await up("b", standby));
    await until("it runs", () => again.io.said.out);
    assert.doesNotMatch(again.io.said.err, /was a standby/);
  });

  test("that is gone keeps nothing from being backed up", async () => {
    await backUp();
    const follower = following();
    await until("it is there", () => /at 0/.test(follower.io.said.out));
    assert.equal(await follower.stop(), 0);
    await rm(standby);

    await using command = startCommand(await up("b", standby));
    await until("it runs", () => command.io.said.out);

    assert.match(command.io.said.err, /warning: app: \S+standby\.db was a standby, and is gone/);
    await rename(join(directory, "app.db"), standby);
    await until("a generation", async () => (await begun()).length === 2);
    assert.equal(
      (await begun()).find(({ reason }) => reason === "restored"),
      undefined,
    );
  });

  test("whose directory cannot be written to is told of, and backed up all the same", async () => {
    await backUp();
    const follower = following();
    await until("it is there", () => /at 0/.test(follower.io.said.out));
    assert.equal(await follower.stop(), 0);
    await rm(`${standby}.follow/lock.guard`);
    await mkdir(`${standby}.follow/lock.guard`);

    await using command = startCommand(await up("b", standby));
    await until("a generation", async () => (await begun()).length === 2);

    assert.match(
      command.io.said.err,
      /warning: app: \S+ was a standby, and what begins will not say so: locking /,
    );
    await stat(`${standby}.follow/state.json`);
  });

  test("whose note cannot be read is told of, and backed up all the same", async () => {
    await backUp();
    await rename(join(directory, "app.db"), standby);
    await mkdir(`${standby}.follow/state.json`, { recursive: true });

    await using command = startCommand(await up("b", standby));
    await until("a generation", async () => (await begun()).length === 2);

    assert.match(command.io.said.err, /warning: app: reading \S+state\.json: EISDIR/);
  });

  test("is not one as long as it is followed", async () => {
    await backUp();
    await using follower = following();
    await until("it is there", () => /at 0/.test(follower.io.said.out));

    const { code, err } = await runCommand(await up("b", standby));

    assert.equal(code, 5);
    assert.match(err, /it is a standby that is being followed\nhint: Stop /);
  });
});
