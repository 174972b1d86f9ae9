import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { pathToFileURL } from "node:url";
import { runCommand } from "../../testing/commands.ts";

const golden = new URL("../../../../test/golden/replica/data", import.meta.url).pathname;

suite("pageferry points of a place without backups", () => {
  test("says what to name instead, and never only to call itself", async (t) => {
    const directory = await mkdtemp(join(tmpdir(), "pageferry-points-"));
    t.after(() => rm(directory, { recursive: true }));
    const none = join(directory, "none");
    const file = join(directory, "app.db");
    await writeFile(file, "x");
    await mkdir(join(directory, "empty"));

    const wrong = [none, pathToFileURL(none).href, file, join(directory, "empty")];
    for (const from of wrong) {
      const { code, out, err } = await runCommand(["points", from]);
      assert.deepEqual([code, out], [3, ""], from);
      assert.match(err, /\nhint: .*`up` keeps them in DIR\/replica\/NAME.*--config FILE/, from);
    }
    const config = join(directory, "pageferry.json");
    await writeFile(config, JSON.stringify({ databases: [file], queue: "http://host.example:7373" }));
    const agent = await runCommand(["points", "--config", config, "app"]);
    const verify = await runCommand(["verify", "--config", config, "app"]);
    const all = await runCommand(["restore", "--all", join(directory, "all"), "--config", config]);
    for (const { code, err } of [agent, verify, all]) {
      assert.equal(code, 2, err);
      assert.match(err, /an agent names none.*\nhint: .*http:\/\/host\.example:7373\/v1\/databases\/NAME/);
    }
    const manifest = await runCommand(["points", `${none}.json`]);
    assert.equal(manifest.code, 3);
    assert.match(manifest.err, /none\.json: there is no such file\nhint: .*manifest/);
  });
});

suite("pageferry points of a configured database", () => {
  test("are those of the replica that `up` keeps where the configuration names none", async (t) => {
    const directory = await mkdtemp(join(tmpdir(), "pageferry-points-"));
    t.after(() => rm(directory, { recursive: true }));
    const dataDir = join(directory, "data");
    await cp(golden, join(dataDir, "replica/app"), { recursive: true });
    const config = join(directory, "pageferry.json");
    await writeFile(config, JSON.stringify({ databases: [join(directory, "app.db")], dataDir }));

    const points = await runCommand(["points", "--config", config, "app"]);
    const all = await runCommand(["restore", "--all", join(directory, "all"), "--config", config]);
    const verified = await runCommand(["verify", "--config", config, "app", "--json"]);

    assert.equal(points.code, 0, points.err);
    assert.equal(verified.code, 0, verified.err);
    assert.match(verified.out, /replica\/app/);
    assert.match(all.out, /1 of 1 restored/);
  });
});
