import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { parseGeneration, txId } from "@pageferry/format";
import { temporary } from "../testing/agent-bench.ts";
import { type Cursor, emptyCursor, formatCursor, openCursor, parseCursor } from "./cursor.ts";

const cursor: Cursor = {
  generations: [
    {
      generation: parseGeneration("00000000000000aa"),
      parent: { generation: parseGeneration("00000000000000bb"), txId: txId(2n ** 64n - 1n) },
      reason: "replaced",
      epoch: null,
      pageSize: 4096,
      via: "snapshot",
      parentStateHash: 2n ** 127n + 5n,
      baseTxId: txId(0),
      baseAtMs: 5,
      baseNeededFrom: txId(0),
      acknowledgedTxId: null,
      isAbandoned: false,
      origin: null,
    },
  ],
  identity: { device: "1", inode: "2", birthtimeNs: "3", bootId: "b", machineId: "m" },
  checkpoint: {
    generation: parseGeneration("00000000000000aa"),
    txId: txId(7),
    stateHash: 2n ** 128n - 1n,
    file: "pages-1.table",
  },
  epochMax: 4,
  stampMs: 1_800_000_000_000,
  isForked: true,
};

suite("the cursor", () => {
  test("comes back as it was written", () => {
    assert.deepEqual(parseCursor(formatCursor(cursor)), cursor);
    assert.deepEqual(parseCursor(formatCursor(emptyCursor)), emptyCursor);
  });

  test("is on disk after a save, with what was newest then", async () => {
    await using directory = await temporary();
    const store = await openCursor(directory.path);
    store.update(cursor);
    const first = store.save();
    store.updateGeneration(parseGeneration("00000000000000aa"), { acknowledgedTxId: txId(9) });

    await Promise.all([first, store.save()]);

    const again = await openCursor(directory.path);
    assert.deepEqual(again.value(), store.value());
    assert.ok(store.isSaved());
  });

  test("is empty where there is none, and corrupt where there is something else", async () => {
    await using directory = await temporary();
    assert.deepEqual((await openCursor(directory.path)).value(), emptyCursor);

    await writeFile(join(directory.path, "cursor.json"), formatCursor(cursor).slice(0, 100));

    await assert.rejects(openCursor(directory.path), { code: "corrupt" });
  });

  test("of a later program is not overwritten", () => {
    assert.throws(() => parseCursor('{"version":2}'), { code: "unsupported-version" });
  });
});
