import assert from "node:assert/strict";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import { type DatabaseConfig, parseConfig } from "@pageferry/format";
import { capturedIo } from "../testing/captured-io.ts";
import { loadHistory } from "./demo-history.ts";
import { createLiveFile } from "./demo-replay.ts";
import { brokenAmong } from "./found-on-start.ts";

const history = await loadHistory();

/** Databases of which those that are named `cut…` end too early. */
async function databases(t: TestContext, names: readonly string[]): Promise<readonly DatabaseConfig[]> {
  const directory = await mkdtemp(join(tmpdir(), "pageferry-found-"));
  t.after(() => rm(directory, { recursive: true }));
  const paths = names.map((name) => join(directory, `${name}.db`));
  for (const path of paths) {
    await using _file = await createLiveFile(history, path);
    if (path.includes("/cut")) await truncate(path, history.image.length - history.pageSize);
  }
  return parseConfig({ databases: paths }).databases;
}

const namesOf = (found: readonly DatabaseConfig[]) => found.map(({ name }) => name);

suite("databases in directories that do not open", () => {
  test("are those that bolt would not open; what is gone, or no database yet, is not among them", async (t) => {
    const found = await databases(t, ["sound", "cut", "gone", "empty", "strange"]);
    const pathOf = (name: string) => found.find((one) => one.name === name)?.path ?? "";
    await rm(pathOf("gone"));
    await truncate(pathOf("empty"), 0);
    await writeFile(pathOf("strange"), "x".repeat(65_536));
    const io = capturedIo();

    assert.deepEqual(namesOf(await brokenAmong(found, io)), ["cut"]);
    assert.equal(io.said.err, "");
  });

  test("are none where they are more than break by themselves, and that is said", async (t) => {
    const found = await databases(t, ["cut1", "cut2", "cut3", "sound"]);
    const io = capturedIo();

    assert.equal((await brokenAmong(found, io, { brokenMax: 3 })).length, 3);
    assert.equal(io.said.err, "");
    assert.deepEqual(await brokenAmong(found, io, { brokenMax: 2 }), []);
    assert.match(
      io.said.err,
      /^warning: 3 databases in directories do not open \(cut1, cut2, cut3, …\).*\nhint: /,
    );
  });

  test("are looked for in bounded time, and it is said how far that came", async (t) => {
    const found = await databases(t, ["cut", "sound"]);
    const io = capturedIo();

    assert.deepEqual(await brokenAmong(found, io, { timeMs: 0 }), []);
    assert.match(io.said.err, /^warning: 0 of 2 databases in directories were looked at in 0 s/);
  });
});
