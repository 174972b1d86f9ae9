import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { pathToFileURL } from "node:url";
import { runCommand } from "../../testing/commands.ts";

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
    const manifest = await runCommand(["points", `${none}.json`]);
    assert.equal(manifest.code, 3);
    assert.match(manifest.err, /none\.json: there is no such file\nhint: .*manifest/);
  });
});
