// The power-loss lie: the disk loses a commit that was visible, and the same txid is committed again with other data
// behind a byte-identical meta page. Only the live pages tell the two apart.
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { listGenerations, newestStored, readGenerations } from "./archive.ts";
import { checkFile, lie, runWriter } from "./go-apps.ts";
import { hexTxId, listPoints, restore, startUp } from "./pageferry.ts";
import { temporaryDirectory, until } from "./temporary.ts";

suite("a transaction that was lost and committed again with other data", () => {
  for (const ending of ["SIGTERM", "SIGKILL"] as const) {
    test(`begins a new generation, and both histories restore (agent ended by ${ending})`, async () => {
      await using directory = await temporaryDirectory();
      const [path, dataDir] = [directory.file("app.db"), directory.file("data")];
      const root = `${dataDir}/replica/app`;
      await runWriter({ path, count: 80 });
      const first = await lie({ path, variant: "A", save: directory.file("before.db") });
      const liveA = await checkFile(path);
      {
        await using host = await startUp([path], { dataDir, args: ["--sync-interval", "100ms"] });
        await until("the first history is stored", async () => (await newestStored(root)) === first.txid);
        host.kill(ending);
        await host.ended;
      }
      const second = await lie({ path, variant: "B", from: directory.file("before.db") });
      const liveB = await checkFile(path);
      {
        await using host = await startUp([path], { dataDir, args: ["--sync-interval", "100ms"] });
        await until("a second generation", async () => (await listGenerations(root)).length === 2);
        await until(
          "its point",
          async () =>
            (await listPoints(root)).filter(({ txid }) => txid === hexTxId(second.txid)).length === 2,
        );
        await host.stop();
      }

      const generations = await readGenerations(root);
      const [old, renewed] = [
        generations.find(({ parent }) => parent === null),
        generations.find(({ parent }) => parent),
      ];
      const restored = [];
      for (const [index, generation] of [old, renewed].entries()) {
        const out = directory.file(`restored-${index}.db`);
        const run = await restore(root, out, {
          txid: hexTxId(first.txid),
          generation: generation?.generation ?? "",
        });
        assert.equal(run.code, 0, run.stderr);
        restored.push(await checkFile(out));
      }
      const newest = directory.file("newest.db");
      assert.equal((await restore(root, newest)).code, 0);

      assert.deepEqual(second, first);
      assert.notEqual(liveA.logicalSha256, liveB.logicalSha256);
      assert.equal(old?.reason, "first");
      assert.equal(renewed?.reason, "unprovable");
      assert.equal(renewed?.parent?.generation, old?.generation);
      assert.deepEqual(
        restored.map(({ ok, logicalSha256 }) => ({ ok, logicalSha256 })),
        [liveA, liveB].map(({ ok, logicalSha256 }) => ({ ok, logicalSha256 })),
      );
      assert.equal((await checkFile(newest)).logicalSha256, liveB.logicalSha256);
    });
  }
});
