import assert from "node:assert/strict";
import { type FileHandle, open, readdir, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { parseGeneration, txId } from "@pageferry/format";
import { temporary } from "../testing/agent-bench.ts";
import { readPageTable } from "./page-table-file.ts";
import { forgetRestored, noteRestored, readRestored } from "./restored-note.ts";
import { adoptRestoredTable, restoredTablePath, writeRestoredTable } from "./restored-table.ts";
import { recordedHistory, simulateFile } from "./sources/simulated-file.ts";
import { seeded } from "./sources/simulated-tailer.ts";

const history = await recordedHistory("replica", "0862e0be1cb6d5ca");

/** A file that bolt wrote, at a state. */
async function fileAt(directory: string, id: number) {
  const path = join(directory, `at-${id}.db`);
  const file = simulateFile(history, { random: seeded(1), pace: () => 0 });
  file.commitTo(id);
  await writeFile(path, file.image);
  return { path, state: { txId: txId(id), stateHash: history.states.get(id)?.stateHash ?? assert.fail() } };
}

suite("the page table of a restored file", () => {
  test("is that of all its live pages, in that state", async () => {
    await using directory = await temporary();
    const { path, state } = await fileAt(directory.path, 60);

    assert.equal(await writeRestoredTable(directory.path, path, state), true);

    const { table, ...saved } = readPageTable(restoredTablePath(directory.path));
    assert.deepEqual(saved, state);
    assert.equal(table.stateHash(), state.stateHash);
  });

  test("is there under both names until it is forgotten: an agent may be killed before its cursor names the other", async () => {
    await using directory = await temporary();
    const { path, state } = await fileAt(directory.path, 60);
    await writeRestoredTable(directory.path, path, state);
    const tables = async () =>
      (await readdir(directory.path)).filter((name) => name.endsWith(".table")).sort();

    assert.equal(await adoptRestoredTable(directory.path, "pages-7.table"), true);
    assert.deepEqual(await tables(), ["pages-7.table", "restored.table"]);
    await forgetRestored(directory.path);

    assert.deepEqual(await tables(), ["pages-7.table"]);
    assert.equal(await adoptRestoredTable(directory.path, "pages-8.table"), false);
  });

  test("and its note are forgotten durably: a note that came back would begin a generation once more", async (t) => {
    await using directory = await temporary();
    const { path, state } = await fileAt(directory.path, 60);
    const point = { ...state, generation: parseGeneration("0862e0be1cb6d5ca"), stampMs: 5 };
    await noteRestored(directory.path, point, path);
    await using handle = await open(path);
    const synced: string[][] = [];
    const sync = t.mock.method(Object.getPrototypeOf(handle) as FileHandle, "sync", async () => {
      synced.push(await readdir(directory.path));
    });

    await forgetRestored(directory.path);

    sync.mock.restore();
    assert.deepEqual(synced, [["at-60.db"]]);
  });

  test("is none where the file is at another state, or no sound one, and an older one is gone then", async () => {
    await using directory = await temporary();
    const { path, state } = await fileAt(directory.path, 60);
    const other = await fileAt(directory.path, 61);
    const write = (from: string, of: typeof state) => writeRestoredTable(directory.path, from, of);

    assert.equal(await write(path, state), true);
    assert.equal(await write(other.path, state), false);
    assert.equal(await write(path, { ...state, stateHash: state.stateHash + 1n }), false);
    await truncate(path, 3 * 4096);
    assert.equal(await write(path, state), false);
    assert.equal((await readdir(directory.path)).includes("restored.table"), false);
  });

  test("is left out where it cannot be made, and the point is noted all the same", async () => {
    await using directory = await temporary();
    const { state } = await fileAt(directory.path, 60);
    const own = join(directory.path, "shadow/app");
    const point = { ...state, generation: parseGeneration("0862e0be1cb6d5ca"), stampMs: 5 };

    await noteRestored(own, point, join(directory.path, "missing.db"));

    assert.deepEqual(await readRestored(own), point);
    assert.deepEqual(await readdir(own), ["restored.json"]);
  });
});
