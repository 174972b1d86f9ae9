import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFile,
  link,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  truncate,
  writeFile,
} from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, type TestContext, test } from "node:test";
import { type RunningCommand, runCommand, startCommand, until } from "../testing/commands.ts";
import { type History, loadHistory } from "./demo-history.ts";
import { createLiveFile, type LiveFile } from "./demo-replay.ts";

const history: History = await loadHistory();
const transactions = history.transactions.slice(0, 40);
const truth = transactions.at(-1)?.logicalSha256;

interface PointOfTest {
  readonly generation: string;
  readonly txid: string;
}

suite("a restore on start", () => {
  let directory: string;
  let path: string;
  let config: string;
  let file: LiveFile;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "pageferry-start-"));
    path = join(directory, "app.db");
    config = join(directory, "pageferry.yml");
    file = await createLiveFile(history, path);
  });
  afterEach(async () => {
    await file[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  const archive = () => join(directory, "data/replica/app");
  const configure = (more = "", profile = "own") =>
    writeFile(
      config,
      `databases: [{ path: ${path}, profile: ${profile} }]\ndataDir: ${join(directory, "data")}\nsyncInterval: 50ms\n` +
        `restore: { enabled: true${more} }\nlisten: { port: 0 }\n`,
    );
  const up = () => startCommand(["up", "--config", config, "--flush-deadline", "2s"]);
  const ready = (command: RunningCommand) => until("it is ready", () => command.io.said.out);
  const points = async (): Promise<readonly PointOfTest[]> => {
    const { code, out } = await runCommand(["points", "--json", archive()]);
    return code === 0 ? JSON.parse(out) : [];
  };
  const replay = () =>
    file.replay(transactions, {
      ...{ transactionsPerSecond: 200, signal: new AbortController().signal, now: Date.now },
    });
  const hashOf = async (of: string) =>
    JSON.parse((await runCommand(["check", "--json", of])).out).logicalHash as string;
  const isNewestStored = async () =>
    BigInt(`0x${(await points())[0]?.txid ?? "0"}`) === transactions.at(-1)?.txId;
  /** Backs all up, and ends. */
  const backUp = async () => {
    await using first = up();
    await ready(first);
    await until("a snapshot", async () => (await points()).length > 0);
    await replay();
    await first.stop();
    assert.ok(await isNewestStored());
  };
  /** A page in the middle of the tree is lost, as a disk does it. */
  const damage = async () => {
    const handle = await open(path, "r+");
    for (let page = 4; page < 40; page += 3)
      await handle.write(Buffer.alloc(4096, 0xaa), 0, 4096, page * 4096);
    await handle.close();
  };
  const begins = async () => {
    const names = (await readdir(archive())).filter((name) => /^[0-9a-f]{16}$/.test(name));
    const texts = await Promise.all(
      names.map((name) => readFile(join(archive(), name, "generation.json"), "utf8").catch(() => "{}")),
    );
    return texts.map((text) => JSON.parse(text)).toSorted((a, b) => a.epoch - b.epoch);
  };

  test("moves a broken database aside and never removes it; a generation begins that names the point", async () => {
    await configure();
    await backUp();
    const [restoredPoint] = await points();
    await damage();
    const broken = await readFile(path);

    await using second = up();
    await ready(second);

    const kept = (await readdir(directory)).filter((name) => name.startsWith("app.db.invalid-"));
    assert.match(kept.join(), /^app\.db\.invalid-\d{8}T\d{6}Z$/);
    assert.deepEqual(await readFile(join(directory, kept[0] ?? "")), broken);
    assert.match(
      second.io.said.err,
      /^note: app: \S+ was not sound \(.*\) and is restored, at .* kept as .*invalid/m,
    );
    assert.equal(await hashOf(path), truth);
    await until(
      "the second generation",
      async () => (await begins()).filter(({ epoch }) => epoch > 0).length === 2,
    );
    const [, begun] = await begins();
    assert.deepEqual(
      [begun.reason, begun.parent.generation, begun.parent.txId],
      ["restored", restoredPoint?.generation, restoredPoint?.txid],
    );
    // It is that point still, and so it is not sent again.
    assert.match(begun.parentStateHash, /^[0-9a-f]{32}$/);
    await second.stop();
    assert.deepEqual(await readdir(join(archive(), begun.generation)), ["generation.json"]);
  });

  test("leaves a sound database alone, however old, and one that a process holds, whatever it looks like", async () => {
    const old = join(directory, "old.db");
    await copyFile(path, old);
    await configure();
    await backUp();
    await rename(old, path);
    await using second = up();
    await ready(second);
    await second.stop();
    assert.notEqual(await hashOf(path), truth);

    await damage();
    const hold = 'exec flock --exclusive --no-fork "$0" sh -c "echo held; exec sleep 60"';
    const holder = spawn("sh", ["-c", hold, path]);
    await once(holder.stdout, "data");
    await using third = up();
    await ready(third);
    await third.stop();
    holder.kill("SIGKILL");
    await once(holder, "close");

    assert.doesNotMatch(second.io.said.err + third.io.said.err, /restored/);
    assert.ok((await readdir(directory)).every((name) => !name.includes("invalid")));
  });

  test("sends first what no replica has yet, so that what comes back is the newest there is", async () => {
    await configure();
    const data = join(directory, "data");
    {
      await using first = up();
      await ready(first);
      await until("a snapshot", async () => (await points()).length > 0);
    }
    // An agent alone, whose host is away, over the same shadow.
    const shadow = join(data, "shadow");
    const away = [
      "replicate",
      path,
      "--host",
      "http://127.0.0.1:9",
      "--shadow",
      shadow,
      "--flush-deadline",
      "1s",
    ];
    await using agent = startCommand(away, { PAGEFERRY_TOKEN: "x" });
    await ready(agent);
    await replay();
    await until("it is in the shadow", async () =>
      (await readdir(shadow, { recursive: true })).some((name) => name.endsWith(".log")),
    );
    // It captures to the end before it ends, and gives sending up by itself.
    const stopping = agent.stop();
    await stopping;
    assert.ok(!(await isNewestStored()));
    await rm(path);

    await using last = up();
    await ready(last);

    assert.equal(await hashOf(path), truth);
  });

  test("of an agent alone is by manifest from its host, with a token that the agent's own is not", async () => {
    const data = join(directory, "data");
    await using serve = startCommand(["serve", "--data", data, "--port", "0", "--json"]);
    await ready(serve);
    const { url } = JSON.parse(serve.io.said.out);
    const made = async (scopes: string) =>
      (
        await runCommand(["token", "create", "--scopes", scopes, "--database", "app", "--data", data])
      ).out.trim();
    const env = { PAGEFERRY_TOKEN: await made("agent"), PAGEFERRY_RESTORE_TOKEN: await made("restore") };
    const argv = (shadow: string) => [
      ...["replicate", path, "--host", url, "--restore", "--sync-interval", "50ms"],
      ...["--shadow", join(directory, shadow), "--data", join(directory, "none")],
    ];
    const withoutToken = await runCommand(argv("shadow"), { PAGEFERRY_TOKEN: env.PAGEFERRY_TOKEN });
    {
      await using _agent = startCommand(argv("shadow"), env);
      await until("a snapshot", async () => (await points()).length > 0);
      await replay();
      await until("all is stored", isNewestStored);
    }
    await rm(path);

    const wrongToken = await runCommand(argv("other"), {
      ...env,
      PAGEFERRY_RESTORE_TOKEN: env.PAGEFERRY_TOKEN,
    });
    // A machine that has never seen it.
    await using agent = startCommand(argv("other"), env);
    await ready(agent);

    assert.equal(withoutToken.code, 2);
    assert.match(withoutToken.err, /no token to restore with\nhint: Set PAGEFERRY_RESTORE_TOKEN/);
    assert.equal(wrongToken.code, 6, wrongToken.err);
    assert.equal(await hashOf(path), truth);
    await until("it is named as the parent", async () => (await begins()).at(-1)?.reason === "restored");
    const [first, second] = await begins();
    assert.equal(second.parent.generation, first.generation);
    assert.equal(BigInt(`0x${second.parent.txId}`), transactions.at(-1)?.txId);
  });

  test("does not begin anew where it only seems that there is no backup", async () => {
    await configure();
    await backUp();
    await rm(path);
    await rename(archive(), join(directory, "not-mounted"));

    const gone = await runCommand(["up", "--config", config]);

    assert.equal(gone.code, 9, gone.err);
    assert.match(
      gone.err,
      /captured transactions up to [0-9a-f]+ that a restore would lack: no replica has it\nhint: /,
    );
    await using proxy = createServer((_, response) => response.writeHead(404).end("<html>no such page"));
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const argv = ["replicate", path, "--host", url, "--restore", "--shadow", join(directory, "fresh")];
    const page = await runCommand(argv, { PAGEFERRY_TOKEN: "x", PAGEFERRY_RESTORE_TOKEN: "y" });
    assert.equal(page.code, 9, page.err);
    assert.match(page.err, /not found, and no host says so/);
  });

  test("puts no old file of LND in its place, and of raft only with the words for it", async () => {
    for (const profile of ["lnd", "raft"]) {
      await configure(', acknowledge: "loss of funds"', profile);
      if (profile === "lnd") await backUp();
      await rm(path, { force: true });
      await using running = up();
      await ready(running);
      assert.match(running.io.said.err, /^warning: app: .* is missing and is not restored: .*\nhint: /m);
      assert.ok(!(await readdir(directory)).includes("app.db"));
    }

    await configure(', acknowledge: "votes twice"', "raft");
    await using running = up();
    await ready(running);

    assert.equal(await hashOf(path), truth);
  });
});

suite("a restore on start of databases in directories", () => {
  const history = loadHistory();

  /** Three databases in one watched directory, backed up. */
  async function tenants(t: TestContext, more = "") {
    const recorded = await history;
    const directory = await mkdtemp(join(tmpdir(), "pageferry-tenants-"));
    t.after(() => rm(directory, { recursive: true }));
    const dir = join(directory, "tenants");
    await mkdir(dir);
    const pathOf = (name: string) => join(dir, `${name}.db`);
    for (const name of ["a", "b", "c"]) {
      await using _file = await createLiveFile(recorded, pathOf(name));
    }
    const config = join(directory, "pageferry.yml");
    await writeFile(
      config,
      `databases: [{ dir: ${dir}, watch: true${more} }]\ndataDir: ${join(directory, "data")}\n` +
        "syncInterval: 50ms\nrestore: { enabled: true }\nlisten: { port: 0 }\n",
    );
    const start = async () => {
      const running = startCommand(["up", "--config", config, "--flush-deadline", "2s"]);
      await until("it is ready", () => running.io.said.out);
      return running;
    };
    const stored = async (name: string) =>
      (await runCommand(["points", join(directory, "data/replica", name)])).code === 0;
    {
      await using _first = await start();
      for (const name of ["a", "b", "c"]) await until(`a snapshot of ${name}`, () => stored(name));
    }
    return { dir, pathOf, start, image: Buffer.from(recorded.image) };
  }

  const soundness = async (path: string) => (await runCommand(["check", path])).code;

  test("brings back what does not open, beside the broken file, and nothing that is gone or no database", async (t) => {
    const { dir, pathOf, start, image } = await tenants(t);
    const sound = await readFile(pathOf("c"));
    const cut = image.subarray(0, image.length - 4096);
    await writeFile(pathOf("a"), cut);
    await rm(pathOf("b"));
    await writeFile(join(dir, "new.db"), "not yet a database".repeat(1000));

    await using running = await start();

    assert.equal(await soundness(pathOf("a")), 0);
    const names = await readdir(dir);
    const [aside = ""] = names.filter((name) => name.includes(".invalid-"));
    assert.deepEqual(
      names.filter((name) => !name.includes(".invalid-")),
      ["a.db", "c.db", "new.db"],
    );
    assert.match(aside, /^a\.db\.invalid-\d{8}T\d{6}Z$/);
    assert.deepEqual(await readFile(join(dir, aside)), cut);
    assert.deepEqual(await readFile(pathOf("c")), sound);
    assert.match(running.io.said.err, /^note: a: \S+ was not sound \(.*\) and is restored, at /m);
    assert.doesNotMatch(running.io.said.err, /^(note|warning): (b|c|new): .*restored/m);
    const begins = async () => {
      const replica = join(dir, "../data/replica/a");
      const paths = (await readdir(replica, { recursive: true })).filter((one) =>
        one.endsWith("generation.json"),
      );
      return (await Promise.all(paths.map((one) => readFile(join(replica, one), "utf8")))).join();
    };
    await until("it is followed from there", async () => /"reason": ?"restored"/.test(await begins()));
  });

  test("leaves a file with other names, one whose backups do not hold, and what no old file may stand for", async (t) => {
    const { dir, pathOf, start, image } = await tenants(t);
    const cut = image.subarray(0, image.length - 4096);
    for (const name of ["a", "b"]) await writeFile(pathOf(name), cut);
    await link(pathOf("a"), join(dir, "a.copy"));
    const replica = join(dir, "../data/replica/b");
    for (const name of await readdir(replica, { recursive: true }))
      if (name.includes(".snapshot")) await truncate(join(replica, name), 100);

    {
      await using running = await start();

      assert.match(running.io.said.err, /^warning: a: .* is not restored, for the file has other names$/m);
      assert.match(running.io.said.err, /^warning: b: \S+ is not restored: .*\nhint: /m);
    }
    for (const name of ["a", "b"]) assert.deepEqual(await readFile(pathOf(name)), cut);
    assert.ok((await readdir(dir)).every((name) => !name.includes(".invalid-")));
  });

  test("asks for the words that an application of theirs asks for", async (t) => {
    const { pathOf, start, image } = await tenants(t, ", profile: raft");
    const cut = image.subarray(0, image.length - 4096);
    await writeFile(pathOf("a"), cut);

    await using running = await start();

    assert.match(running.io.said.err, /^warning: a: .* is not restored: .*\nhint: .*acknowledge/m);
    assert.deepEqual(await readFile(pathOf("a")), cut);
  });
});

suite("pageferry restore in an application's place", () => {
  test("takes the words that the refusal names, and elsewhere tells what the file is", async (t) => {
    const directory = await mkdtemp(join(tmpdir(), "pageferry-place-"));
    t.after(() => rm(directory, { recursive: true }));
    const archive = join(import.meta.dirname, "../../../test/golden/replica/data");
    const inPlace = join(directory, "raft.db");
    const restore = (...more: string[]) => runCommand(["restore", archive, "-o", ...more]);

    const refused = await restore(inPlace);
    const wrong = await restore(inPlace, "--acknowledge", "yes");
    const there = await readdir(directory);
    const done = await restore(inPlace, "--acknowledge", "Votes twice");
    const elsewhere = await restore(join(directory, "look.db"));

    assert.deepEqual(
      [refused.code, wrong.code, done.code, elsewhere.code],
      [12, 12, 0, 0],
      refused.err + done.err,
    );
    assert.match(refused.err, /vote twice.*\nhint: .*--acknowledge "votes twice"/s);
    assert.deepEqual(there, []);
    assert.match(done.err, /^note: a database of Consul/m);
    assert.equal(elsewhere.err, "");
  });
});
