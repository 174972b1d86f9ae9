import assert from "node:assert/strict";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { checkDatabase, logicalHash, type Meta } from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";
import { type History, loadHistory } from "./demo-history.ts";
import { createLiveFile } from "./demo-replay.ts";

suite("the recorded application", () => {
  let history: History;
  let directory: string;
  before(async () => {
    history = await loadHistory();
    directory = await mkdtemp(join(tmpdir(), "pageferry-replay-"));
  });
  after(() => rm(directory, { recursive: true }));

  test("is 449 transactions in a row, with pages in the order in which bbolt writes them", () => {
    assert.equal(history.transactions.length, 449);
    for (const [at, { txId, runs }] of history.transactions.entries()) {
      assert.equal(txId, history.first.txId + BigInt(at) + 1n);
      const ids = runs.map(({ pageId }) => pageId);
      assert.deepEqual(
        ids,
        ids.toSorted((a, b) => a - b),
      );
      assert.ok(ids.every((id) => id >= 2));
    }
  });

  test("leaves, at any time, the database that Go says it was", async () => {
    const path = join(directory, "app.db");
    await using file = await createLiveFile(history, path);
    const checked = new Set([0, 1, 42, 299, 300, 447, 448]);
    for (const [at, transaction] of history.transactions.entries()) {
      const options = { transactionsPerSecond: 1e6, signal: new AbortController().signal, now: () => 0 };
      await file.replay([transaction], options);
      if (!checked.has(at)) continue;
      using source = openPageSource(path);
      const { meta, problems } = checkDatabase(source, { mode: "full" });
      assert.deepEqual(problems, []);
      assert.equal(meta?.txId, transaction.txId);
      assert.equal(logicalHash(source, meta as Meta), transaction.logicalSha256);
    }
    assert.equal((await stat(path)).size, 1024 * 1024);
  });
});
