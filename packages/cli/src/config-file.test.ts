import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { capturedIo } from "../testing/captured-io.ts";
import { loadConfig } from "./config-file.ts";

suite("a configuration file", () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "pageferry-config-"));
  });
  after(() => rm(directory, { recursive: true }));

  async function written(text: string, name = "pageferry.yml"): Promise<string> {
    const path = join(directory, name);
    await writeFile(path, text);
    return path;
  }

  test("is read as YAML or JSON, with variables", async () => {
    const yaml = await written("databases: [a.db]\nsyncInterval: ${EVERY}\nreplicas:\n  - file:///b\n");
    const json = await written(
      `{"databases": ["a.db"], "syncInterval": "2s", "replicas": ["file:///b"]}`,
      "c.json",
    );
    const io = capturedIo({ EVERY: "2s" });

    const fromYaml = await loadConfig(io, yaml);
    const fromJson = await loadConfig(io, json);

    assert.deepEqual(fromYaml.config, fromJson.config);
    assert.equal(fromYaml.config.syncIntervalMs, 2000);
    assert.equal(fromYaml.path, yaml);
  });

  test("is found by PAGEFERRY_CONFIG, and --config wins over that", async () => {
    const path = await written("syncInterval: 3s");
    const other = await written("syncInterval: 4s", "other.yml");
    const io = capturedIo({ PAGEFERRY_CONFIG: path });

    assert.equal((await loadConfig(io, undefined)).config.syncIntervalMs, 3000);
    assert.equal((await loadConfig(io, other)).config.syncIntervalMs, 4000);
  });

  test("gives way to what the command line says", async () => {
    const path = await written("syncInterval: 3s\ngranularity: transaction");
    const { config } = await loadConfig(capturedIo(), path, { syncInterval: "5s", granularity: undefined });

    assert.equal(config.syncIntervalMs, 5000);
    assert.equal(config.granularity, "transaction");
  });

  test("that is empty says nothing", async () => {
    assert.deepEqual((await loadConfig(capturedIo(), await written("# nothing\n"))).config.databases, []);
  });

  test("that is missing, no YAML, or no mapping is refused with its name and place", async () => {
    const io = capturedIo();
    const cases: readonly [string, RegExp][] = [
      [join(directory, "missing.yml"), /missing\.yml: there is no such file/],
      [directory, /cannot be read \(EISDIR\)/],
      [await written("a: [1,\nb: 2", "broken.yml"), /broken\.yml:\d+:\d+: not YAML/],
      [
        await written("token: hunter2\ntoken: hunter2", "twice.yml"),
        /twice\.yml:2:1: not YAML: duplicate key/,
      ],
      [await written("- a", "list.yml"), /list\.yml: .*expected object/],
      [await written("snapshotIntervall: 6h", "typo.yml"), /typo\.yml: .*the nearest is snapshotInterval/],
    ];
    for (const [path, expected] of cases) {
      await assert.rejects(loadConfig(io, path), (error: Error & { code?: string }) => {
        assert.equal(error.code, "bad-config");
        assert.match(error.message, expected);
        assert.doesNotMatch(error.message, /hunter2/);
        return true;
      });
    }
  });

  test("as the documentation shows it is one", async () => {
    const page = await readFile(join(import.meta.dirname, "../../../docs/operations.md"), "utf8");
    const examples = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text]) => text ?? "");

    assert.ok(examples.length > 0);
    for (const text of examples) await loadConfig(capturedIo(), await written(text, "example.yml"));
  });
});
