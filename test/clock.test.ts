// A clock that jumps back: order is by txid, stamps never fall, and the newest point is still the newest.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createAgent } from "@pageferry/agent";
import { localHost } from "@pageferry/functions";
import { newestStored } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { checkFile, runWriter } from "./go-apps.ts";
import { hexTxId, listPoints, restore } from "./pageferry.ts";
import { temporaryDirectory, until } from "./temporary.ts";

const hourMs = 3_600_000;

test("a clock that jumps back by an hour confuses neither agent, host nor restore", async () => {
  await using directory = await temporaryDirectory();
  const [path, dataDir] = [directory.file("app.db"), directory.file("data")];
  const root = `${dataDir}/replica/app`;
  let offsetMs = 0;
  const now = () => Date.now() + offsetMs;
  await runWriter({ path, count: 20 });
  await using host = await localHost(
    {
      dataDir,
      replicas: [{ type: "file", path: `${dataDir}/replica` }],
      listen: { host: "127.0.0.1", port: 0 },
    },
    { now },
  );
  await using agent = createAgent({
    databases: [path],
    queue: host.queue,
    shadowDir: `${dataDir}/shadow`,
    syncIntervalMs: 50,
    granularity: "transaction",
    now,
  });
  await agent.start();
  await until("the snapshot", async () => (await newestStored(root)) > 0);
  await runWriter({ path, count: 10, rate: 50, seed: 2 });
  const before = await newestTxId(path);
  await until("the commits before", async () => (await newestStored(root)) === before);

  offsetMs = -hourMs;
  await runWriter({ path, count: 10, rate: 50, seed: 3 });

  const last = await newestTxId(path);
  await until("the commits after", async () => (await newestStored(root)) === last);
  const points = (await listPoints(root)).toReversed();
  const stamps = points.map(({ time }) => Date.parse(time));
  assert.equal(points.at(-1)?.txid, hexTxId(last));
  assert.ok(
    stamps.every((stamp, index) => index === 0 || stamp >= (stamps[index - 1] ?? 0)),
    stamps.join(" "),
  );
  assert.equal(new Set(points.map(({ generation }) => generation)).size, 1);
  const run = await restore(root, directory.file("out.db"));
  assert.equal(run.code, 0, run.stderr);
  assert.equal((await checkFile(directory.file("out.db"))).liveSha256, (await checkFile(path)).liveSha256);
});
