import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { createXxh3, txId } from "@pageferry/format";
import { createPageTable, type PageTable } from "./page-table.ts";
import {
  decodePageTable,
  encodePageTable,
  readPageTable,
  rollForward,
  writePageTable,
} from "./page-table-file.ts";

const pageSize = 4096;

function tableOf(ids: readonly number[]): PageTable {
  const table = createPageTable(pageSize);
  for (const id of ids) table.addRun({ id, overflow: 0, digests: new Uint8Array(16).fill(id & 0xff) });
  return table;
}

function dumpOf(table: PageTable) {
  return { txId: txId(42), stateHash: table.stateHash(), pageSize, dump: table.dump() };
}

suite("a page table on disk", () => {
  test("comes back with the same pages, digests, txid and state hash", () => {
    for (const ids of [[], [2], [2, 3, 5, 31, 32, 33, 4095, 4096, 70_001]]) {
      const table = tableOf(ids);

      const back = decodePageTable(encodePageTable(dumpOf(table)), "test");

      assert.equal(back.txId, 42n);
      assert.equal(back.stateHash, table.stateHash());
      assert.equal(back.table.count(), ids.length);
      for (const id of ids) assert.ok(back.table.isSame(id, new Uint8Array(16).fill(id & 0xff), 0));
    }
  });

  test("says nothing of digests of pages that are not live any more", () => {
    const table = tableOf([2, 3, 9]);
    table.remove(3);
    table.remove(9);

    const back = decodePageTable(encodePageTable(dumpOf(table)), "test");

    assert.equal(back.table.count(), 1);
    assert.equal(back.stateHash, tableOf([2]).stateHash());
  });

  test("is refused when any byte is another, or some are missing", () => {
    const bytes = encodePageTable(dumpOf(tableOf([2, 3, 40])));

    for (let at = 0; at < bytes.length; at += 7) {
      const broken = bytes.slice();
      broken[at] = (broken[at] as number) ^ 4;
      assert.throws(() => decodePageTable(broken, "test"), { code: "corrupt" });
    }
    for (const length of [0, 39, 80, bytes.length - 1]) {
      assert.throws(() => decodePageTable(bytes.subarray(0, length), "test"), { code: "corrupt" });
    }
  });

  test("is written over the one before, and a missing one is not found", async (context) => {
    const directory = mkdtempSync(join(tmpdir(), "page-table-"));
    context.after(() => rmSync(directory, { recursive: true }));
    const path = join(directory, "table");
    const [first, second] = [tableOf([2]), tableOf([2, 3])];

    await writePageTable(path, dumpOf(first));
    await writePageTable(path, { table: second, txId: txId(43), stateHash: second.stateHash() });

    assert.equal(readPageTable(path).txId, 43n);
    assert.throws(() => readPageTable(join(directory, "none")), { code: "not-found" });
  });
});

suite("a page table", () => {
  const frame = (id: number, fill: number) => ({
    id,
    overflow: 1,
    data: new Uint8Array(2 * pageSize).fill(fill),
  });
  const step = { parentTxId: txId(42), txId: txId(45), frames: [frame(4, 1)], freed: Uint32Array.of(2, 5) };

  test("rolls forward by frames and freed pages, proved by the state hash", () => {
    const expected = createPageTable(pageSize);
    expected.addRun({ id: 3, overflow: 0, digests: new Uint8Array(16).fill(3) });
    const digests = new Uint8Array(16);
    createXxh3().pageDigest(4, new Uint8Array(pageSize).fill(1), digests, 0);
    expected.addRun({ id: 4, overflow: 0, digests });
    const saved = { table: tableOf([2, 3]), txId: txId(42), stateHash: tableOf([2, 3]).stateHash() };

    const rolled = rollForward(saved, { ...step, post: expected.stateHash() });

    assert.equal(rolled.txId, 45n);
    assert.equal(rolled.table.count(), 2);
    assert.equal(rolled.stateHash, expected.stateHash());
  });

  test("is refused when the pages do not add up, or something is missing between", () => {
    const saved = () => ({ table: tableOf([2, 3]), txId: txId(42), stateHash: tableOf([2, 3]).stateHash() });

    assert.throws(() => rollForward(saved(), { ...step, post: 7n }), { code: "corrupt" });
    assert.throws(() => rollForward({ ...saved(), txId: txId(41) }, { ...step, post: 7n }), { code: "gap" });
  });
});
