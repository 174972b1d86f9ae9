// What is left of a restore when the archive is in order: the newest point of the restore bench's archive, compacted, given a snapshot and
// pruned, beside `cp` + fsync of the same file in the same run. In this process: the start of a command is not in it.
import { cp, rm } from "node:fs/promises";
import { openArchive, planFromArchive } from "@pageferry/format";
import { directoryReader, restoreFile } from "@pageferry/format/node";
import { buildSnapshots, compactReplica, fileReplica, type RetentionPolicy } from "@pageferry/functions";
import { checkFile } from "../test/go-apps.ts";
import { temporaryDirectory } from "../test/temporary.ts";
import { medians, round } from "./machine.ts";
import { copyOnce, prepareArchive } from "./restore.ts";

const mb = 2 ** 20;
const hourMs = 3_600_000;
const levelsMs = [30_000, 300_000, hourMs];

/** The newest point, and nothing else. */
const policy: RetentionPolicy = {
  ...{ segmentRetentionMs: 0, keepWithinMs: 0, snapshotSpacingMs: 0, levelsMs, supersededRetentionMs: 0 },
  ...{ keepHourly: 0, keepDaily: 0, keepWeekly: 0, keepMonthly: 0 },
};

/** Medians of five. */
export async function benchNewest(): Promise<Record<string, Record<string, number>>> {
  const cache = await prepareArchive();
  await using directory = await temporaryDirectory();
  const [root, out, scratchDir] = ["replica", "restored.db", "scratch"].map((name) => directory.file(name));
  if (root === undefined || out === undefined || scratchDir === undefined) throw new Error("no place");
  await cp(`${cache}/replica`, root, { recursive: true });
  await using replica = fileReplica({ path: root });
  // By then every window is over.
  const now = () => Date.now() + 2 * hourMs;
  const begun = performance.now();
  const { bytesIn, bytesOut } = await compactReplica(replica, { levelsMs, now });
  const mergedMs = performance.now() - begun;
  const [built] = await buildSnapshots(replica, {
    ...{ scratchDir, snapshotIntervalMs: 1, levelsMs, nowMs: now() },
  });
  const { removed } = await replica.prune(undefined, policy, { graceMs: 0 });
  const results: Record<string, Record<string, number>> = {
    archive: {
      "compaction, MB/s in": round(bytesIn / mb / (mergedMs / 1000)),
      "compaction, MB/s out": round(bytesOut / mb / (mergedMs / 1000)),
      "snapshot s": round((built?.ms ?? 0) / 1000),
      "objects removed": removed.length,
    },
  };
  for (const integrity of ["none", "quick"] as const) {
    results[`restore, ${integrity}`] = await medians(5, async () => {
      await rm(out, { force: true });
      const archive = await openArchive([directoryReader(root)]);
      const plan = await planFromArchive(archive, {});
      const { ms, bytes } = await restoreFile({ output: out, plan, readers: archive.readers, integrity });
      const copyMs = await copyOnce(out, directory.file("copy.db"));
      return {
        s: ms / 1000,
        "MB/s": bytes / mb / (ms / 1000),
        "cp + fsync s": copyMs / 1000,
        "÷ cp": ms / copyMs,
        objects: 1 + plan.steps.length,
      };
    });
  }
  if (!(await checkFile(out)).ok) throw new Error("the restored file is wrong");
  return results;
}
