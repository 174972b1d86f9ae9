import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseConfig } from "@pageferry/format";
import { firstLine, segmentItem, snapshotItem } from "../testing/bolt-archive.ts";
import { createBoltModel } from "../testing/bolt-model.ts";
import { compactReplica } from "./compact.ts";
import { repairDatabase } from "./repair.ts";
import { createReplica } from "./replica.ts";
import { retentionPolicy } from "./retention.ts";
import { buildSnapshots } from "./snapshot-build.ts";
import { memoryStore } from "./stores/memory.ts";
import { verifyDatabase } from "./verify.ts";

const minuteMs = 60_000;
const beginMs = Date.UTC(2026, 5, 1);

test("replicas that were compacted and pruned at different times are sound, and nothing comes back by repair", async (t) => {
  const scratchDir = await mkdtemp(join(tmpdir(), "pageferry-pruned-"));
  t.after(() => rm(scratchDir, { recursive: true, force: true }));
  const { compaction, snapshotIntervalMs, ...config } = parseConfig({ databases: ["app.db"] });
  const retention = retentionPolicy({ ...config, compaction, snapshotIntervalMs });
  assert.ok(retention !== undefined);
  const { levelsMs } = compaction;
  const model = createBoltModel({ hasFreelist: true });
  const line = firstLine(model, "a1", (id) => beginMs + id * 20 * minuteMs);
  const clock = { nowMs: beginMs };
  const now = () => clock.nowMs;
  const replicas = ["a", "b"].map((root) => createReplica(memoryStore(), { root, now }));
  for (const replica of replicas) {
    await replica.begin(line.begin, beginMs);
    await replica.putAll(line.generation, [await snapshotItem(line, 1)]);
  }
  for (let id = 2; id <= 3 * 72; id += 1) {
    model.commit([{ key: id % 6, letter: id % 5, overflow: 0 }]);
    clock.nowMs = line.stampMs(id) + 500;
    const item = { ...segmentItem(line, id - 1, id), receivedAtMs: clock.nowMs };
    for (const [at, replica] of replicas.entries()) {
      await replica.putAll(line.generation, [item]);
      if (id % 6 > 0) continue;
      await compactReplica(replica, { levelsMs, now });
      await buildSnapshots(replica, { scratchDir, snapshotIntervalMs, levelsMs, nowMs: now(), threads: 0 });
      if (at === 0 || id % 48 === 0) await replica.prune(undefined, retention);
    }
  }

  const shared = { database: "app", replicas, retention, now };
  const { isSound, replicas: rows } = await verifyDatabase({
    ...shared,
    scratchDir,
    depth: "full",
    random: () => 0.5,
  });
  assert.ok(isSound, JSON.stringify(rows.map(({ problems }) => problems)));
  assert.deepEqual(
    rows.map(({ verdict }) => verdict),
    ["FOUND", "FOUND"],
  );
  assert.notEqual(rows[0]?.objects, rows[1]?.objects, "both hold the same: nothing was proved");

  const repaired = await repairDatabase({ ...shared, dryRun: true });
  assert.deepEqual(
    repaired.replicas.map(({ copied }) => copied),
    [0, 0],
  );
});
