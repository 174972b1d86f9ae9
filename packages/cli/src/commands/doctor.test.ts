import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { runCommand, startCommand, until } from "../../testing/commands.ts";
import { loadHistory } from "../demo-history.ts";
import { createLiveFile, type LiveFile } from "../demo-replay.ts";
import type { Finding } from "../doctor/finding.ts";

const history = await loadHistory();

suite("pageferry doctor", () => {
  let directory: string;
  let path: string;
  let file: LiveFile;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "pageferry-doctor-"));
    path = join(directory, "app.db");
    file = await createLiveFile(history, path);
  });
  afterEach(async () => {
    await file[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  const doctor = async (argv: readonly string[], env: Readonly<Record<string, string>> = {}) => {
    const { code, out, err } = await runCommand(["doctor", "--json", "--sample", "300ms", ...argv], env);
    assert.equal(err, "");
    const { ok, findings }: { ok: boolean; findings: Finding[] } = JSON.parse(out);
    assert.equal(code, ok ? 0 : 1);
    for (const { level, todo } of findings) assert.equal(todo === undefined, level === "ok");
    const ofLevel = (level: string) =>
      findings
        .filter((one) => one.level === level)
        .map(({ area, subject, says }) => `${area} ${subject ?? ""}: ${says}`);
    return { code, findings, fails: ofLevel("fail"), oks: ofLevel("ok").join("\n"), all: out };
  };

  test("finds nothing to fail for up, says what it found, and leaves nothing behind", async () => {
    const data = join(directory, "data");
    const before = await readdir(directory);
    const replaying = file.replay(history.transactions.slice(0, 150), {
      ...{ transactionsPerSecond: 100, signal: new AbortController().signal, now: Date.now },
    });

    const { code, oks } = await doctor([path, "--data", data]);
    await replaying;

    assert.equal(code, 0);
    assert.match(oks, /source app: bolt, .* in pages of 4096, transaction [0-9a-f]{16}, a freelist in it/);
    assert.match(oks, /source app: \d\d+ commits a second: every commit can be followed/);
    assert.match(oks, /disk shadow .*free/);
    assert.match(oks, /replica file:.*: writes, reads, lists and deletes/);
    assert.deepEqual(
      (await readdir(directory, { recursive: true })).filter((name) => /doctor|tmp/.test(name)),
      [],
    );
    assert.deepEqual(
      (await readdir(directory)).filter((name) => name !== "data"),
      before,
    );
    const people = await runCommand(["doctor", path, "--data", data, "--sample", "0s"]);
    assert.match(
      people.out,
      /^warn {2}disk .*every replica is on the disk of a database.*\n +-> Configure a replica elsewhere/m,
    );
    assert.match(people.out, /\nNothing fails, 1 warning\.\n$/);
  });

  test("names what is no database, what is missing, and a replica that is away, each with what to do", async () => {
    const text = join(directory, "text.db");
    await writeFile(text, "no database at all\n".repeat(500));
    const config = join(directory, "pageferry.yml");
    const missing = join(directory, "missing.db");
    const s3 = "s3://bucket/x?endpoint=http://127.0.0.1:9&accessKey=a&secretKey=b&region=x";
    await writeFile(
      config,
      `databases: ["${text}", "${missing}"]\ndataDir: ${join(directory, "data")}\nreplicas: ["${s3}"]\n`,
    );

    const { code, fails } = await doctor(["--config", config]);

    assert.equal(code, 1);
    assert.equal(fails.length, 3, fails.join("\n"));
    assert.match(fails.join("\n"), /source text: .*neither meta page is valid/);
    assert.match(fails.join("\n"), /source missing: .*no such file/);
    assert.match(fails.join("\n"), /replica s3:\/\/bucket\/x.*: write: /);
  });

  test("says what is wrong with a configuration, and where it is about the application", async () => {
    const config = join(directory, "pageferry.yml");
    await writeFile(config, "databasse: []\n");
    const wrong = await doctor(["--config", config]);
    await writeFile(
      config,
      `databases: [{ path: ${path}, profile: etcd }]\ndataDir: ${join(directory, "data")}\nalarms: { webhooks: ["https://x.example/y"] }\n`,
    );

    const { findings } = await doctor(["--config", config]);

    assert.match(wrong.fails.join(), /databasse is not a known key; the nearest is databases/);
    const [note, ...others] = findings.filter(({ level }) => level === "note");
    assert.equal(others.length, 0);
    assert.match(
      `${note?.area} ${note?.says} ${note?.todo}`,
      /^application taken for a database of etcd.*etcdutl/,
    );
  });

  test("asks an agent's host for its token, its time, and the right to restore", async () => {
    const data = join(directory, "data");
    await using serve = startCommand(["serve", "--data", data, "--port", "0", "--json"]);
    await until("the host is ready", () => serve.io.said.out);
    const { url } = JSON.parse(serve.io.said.out);
    const made = async (scopes: string) =>
      (await runCommand(["token", "create", "--scopes", scopes, "--data", data])).out.trim();
    const [agent, restore] = [await made("agent"), await made("restore")];
    // A host that has just looked at its tokens looks again after a tenth of a second.
    await sleep(200);
    const argv = [path, "--host", url, "--restore", "--data", join(directory, "none")];

    const well = await doctor(argv, { PAGEFERRY_TOKEN: agent, PAGEFERRY_RESTORE_TOKEN: restore });
    const swapped = await doctor(argv, { PAGEFERRY_TOKEN: restore, PAGEFERRY_RESTORE_TOKEN: agent });
    const none = await doctor(argv);
    await serve.stop();
    const away = await doctor(argv, { PAGEFERRY_TOKEN: agent, PAGEFERRY_RESTORE_TOKEN: restore });

    assert.deepEqual(well.fails, []);
    assert.match(well.oks, /clock .*same time/);
    assert.match(well.oks, /queue .*takes app, and answers in \d+ ms/);
    assert.match(well.oks, /restore .*may read there/);
    assert.doesNotMatch(well.all, /replica/);
    for (const { fails } of [swapped, none]) {
      assert.deepEqual(
        fails.map((line) => line.split(" ")[0]),
        ["queue", "restore"],
        fails.join("\n"),
      );
    }
    assert.equal(away.fails.length, 1, away.fails.join("\n"));
    assert.match(away.fails.join(), /^queue/);
    for (const secret of [agent, restore]) assert.ok(!(well.all + swapped.all).includes(secret));
  });

  test("asks the API of an SQS queue, and says that the queue itself can be asked nothing", async () => {
    const data = join(directory, "data");
    await using serve = startCommand(["serve", "--data", data, "--port", "0", "--json"]);
    await until("the host is ready", () => serve.io.said.out);
    const { url } = JSON.parse(serve.io.said.out);
    const queue = ["--queue", "sqs://123456789012/backup?region=eu-west-1", "--staging", "s3://backup-stage"];

    const alone = await doctor([path, ...queue, "--data", data]);
    const lacking = await doctor([path, ...queue, "--data", data, "--restore"]);
    const together = await doctor([path, ...queue, "--api", url, "--restore", "--data", data]);

    assert.deepEqual(alone.fails, []);
    assert.match(alone.all, /only a message could tell/);
    assert.match(lacking.fails.join(), /restore .*an SQS queue alone cannot say what there is/);
    assert.deepEqual(together.fails, []);
    assert.match(together.oks, /queue .*knows app/);
    assert.match(together.oks, /restore .*may read there/);
  });

  test("says who holds the database", async () => {
    const hold = 'exec flock --exclusive --no-fork "$0" sh -c "echo held; exec sleep 60"';
    const holder = spawn("sh", ["-c", hold, path]);
    await once(holder.stdout, "data");

    const { oks } = await doctor([path, "--data", join(directory, "data")]);
    holder.kill("SIGKILL");

    assert.match(oks, new RegExp(`held by process ${holder.pid}`));
  });
});
