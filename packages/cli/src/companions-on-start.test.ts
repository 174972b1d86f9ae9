import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { runCommand, startCommand, until } from "../testing/commands.ts";
import { loadHistory } from "./demo-history.ts";
import { createLiveFile, type LiveFile } from "./demo-replay.ts";

const history = await loadHistory();

suite("the companion files of a database that is restored on start", () => {
  let directory: string;
  let file: LiveFile;
  const at = (name: string) => join(directory, name);
  const archive = () => at("data/replica/app");

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "pageferry-companions-"));
    file = await createLiveFile(history, at("app.db"));
    await mkdir(at("tls"));
    await writeFile(at("tls/a.pem"), "certificate");
    await writeFile(at("key"), "secret");
  });
  afterEach(async () => {
    await file[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  const configure = (more: string) =>
    writeFile(
      at("pageferry.yml"),
      `databases: [{ path: ${at("app.db")}, files: [${at("tls/*.pem")}, ${at("key")}] }]\ndataDir: ${at("data")}\nsyncInterval: 50ms\n` +
        `restore: { enabled: true${more} }\nlisten: { port: 0 }\n`,
    );
  /** Backs all up, or restores first, and ends: what changed by then is sent. */
  const upOnce = async (): Promise<string> => {
    await using running = startCommand(["up", "--config", at("pageferry.yml"), "--flush-deadline", "5s"]);
    await until("it is ready", () => running.io.said.out);
    await until("a beginning of each generation", async () => {
      const names = await readdir(archive()).catch(() => []);
      const generations = names.filter((name) => /^[0-9a-f]{16}$/.test(name));
      const isStored = (name: string) =>
        readdir(join(archive(), name)).then(
          (found) => found.includes(starts === 0 ? "snapshots" : "generation.json"),
          () => false,
        );
      return (
        generations.length >= starts + 1 && (await Promise.all(generations.map(isStored))).every(Boolean)
      );
    });
    starts += 1;
    await running.stop();
    return running.io.said.err;
  };
  let starts = 0;
  beforeEach(() => {
    starts = 0;
  });
  const restored = async (): Promise<Record<string, string>> => {
    const out = at("out");
    const { code, err } = await runCommand(["restore", "-o", at("out.db"), "--files", out, archive()]);
    assert.equal(code, 0, err);
    const names = (await readdir(out, { recursive: true })).filter((name) => /key$|pem$/.test(name));
    const texts = await Promise.all(names.map((name) => readFile(join(out, name), "utf8")));
    return Object.fromEntries(names.map((name, index) => [name, texts[index] ?? ""]));
  };

  test("that are missing come back where the configuration asks for it, and those that are there stay", async () => {
    await configure(", files: true");
    await upOnce();
    await rm(at("app.db"));
    await rm(at("key"));
    await writeFile(at("tls/a.pem"), "renewed");

    const said = await upOnce();

    assert.equal(await readFile(at("key"), "utf8"), "secret");
    assert.equal(await readFile(at("tls/a.pem"), "utf8"), "renewed");
    assert.match(said, /companion files: 1 written/);
    assert.match(said, /tls\/a\.pem is there and is left as it is/);
    assert.doesNotMatch(said, /secret|certificate|renewed/);
    assert.deepEqual(await restored(), { key: "secret", "tls/a.pem": "renewed" });
  });

  test("that are links leave the database no less restored", async () => {
    await rm(at("key"));
    await writeFile(at("real"), "secret");
    await symlink(at("real"), at("key"));
    await configure(", files: true");
    await upOnce();
    await rm(at("app.db"));

    const said = await upOnce();

    assert.match(said, /app: \S+app\.db was missing and is restored/);
    assert.match(said, /key is there and is left as it is/);
  });

  test("are only told of otherwise; and that none is there is not taken for their end", async () => {
    await configure("");
    await upOnce();
    await rm(at("app.db"));
    await rm(at("key"));
    await rm(at("tls/a.pem"));

    const said = await upOnce();

    assert.match(said, /there are companion files, of \d{4}-.*--files DIR/);
    assert.deepEqual(await readdir(at("tls")), []);
    assert.deepEqual(await restored(), { key: "secret", "tls/a.pem": "certificate" });
  });
});
