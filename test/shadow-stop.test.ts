// `shadowPolicy: stop` with a real writer: what was captured before the shadow was full stays a point, and so does the end.
import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { newestStored } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { openChecker, readWriterLog, runWriter, startWriter } from "./go-apps.ts";
import { byTxId, judge } from "./judge.ts";
import { startReplicate, startServe } from "./pageferry.ts";
import { openReplica } from "./restores.ts";
import { temporaryDirectory, until } from "./temporary.ts";

/** Restores that are judged, of all points. */
const judged = 12;

suite("a shadow that is full, where nothing may be given up", () => {
  test("pauses capture while the host is away, and every point that was captured restores", async (t) => {
    await using directory = await temporaryDirectory();
    const path = directory.file("app.db");
    const log = directory.file("writer.log");
    const config = directory.file("pageferry.yml");
    await writeFile(
      config,
      "shadowBytesMax: 2MiB\nshadowPolicy: stop\nsyncInterval: 100ms\ngranularity: transaction\n",
    );
    await runWriter({ path, count: 100, log, initialMB: 4 });
    const dataDir = directory.file("data");
    const first = await startServe({ dataDir });
    const root = first.replica("app");
    await using agent = startReplicate([path], {
      ...{ host: first.url, token: await first.token(), shadowDir: directory.file("shadow") },
      args: ["--config", config],
    });
    const isStored = async (txid: number) => (await newestStored(root).catch(() => undefined)) === txid;
    const begun = await newestTxId(path);
    await until("a base", () => isStored(begun));
    await first[Symbol.asyncDispose]();
    await using writer = await startWriter({ path, rate: 200, log, seed: 2, value: 2000 });
    await agent.line(/^alarm: disk-full: .*capture pauses/, 60_000);
    await sleep(3000);
    await using _again = await startServe({ dataDir, port: Number(new URL(first.url).port) });
    await agent.line(/^over: disk-full: .*capture pauses/, 60_000);
    const { transactions } = await writer.finish();
    const last = await newestTxId(path);
    await until("all of it", () => isStored(last));

    const replica = await openReplica(root);
    const points = await replica.points();
    const ids = points.map(({ txid }) => Number.parseInt(txid, 16)).sort((a, b) => a - b);
    const widest = Math.max(...ids.map((id, at) => id - (ids[at - 1] ?? id)));
    t.diagnostic(JSON.stringify({ transactions, points: points.length, widest }));
    assert.equal(new Set(points.map(({ generation }) => generation)).size, 1);
    assert.ok(widest > 100, "what was committed meanwhile is one range");
    assert.ok(!/alarm: gap/.test(agent.output()), agent.output());
    await using checker = openChecker();
    const committed = byTxId(await readWriterLog(log));
    const step = Math.max(1, Math.floor(points.length / judged));
    for (const point of points.filter((_, at) => at % step === 0)) {
      const out = directory.file("restored.db");
      await rm(out, { force: true });
      await replica.restore(out, point);
      const { problems } = await judge(checker, out, {
        txId: Number.parseInt(point.txid, 16),
        log: committed,
      });
      assert.deepEqual(problems, []);
    }
  });
});
