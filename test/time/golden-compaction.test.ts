// Histories that the Go implementation wrote, compacted at cuts of chance, given snapshots, and thinned: what remains restores to what the live
// database held.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { listingOf, openArchive, readPoints, type TxId } from "@pageferry/format";
import { createReplica, type Replica } from "@pageferry/functions";
import { memoryStore } from "@pageferry/functions/stores/memory";
import { compactReplica } from "../../packages/functions/src/compact.ts";
import { buildSnapshots } from "../../packages/functions/src/snapshot-build.ts";
import { restoreImage } from "../../packages/functions/testing/bolt-archive.ts";
import { type Chance, chance, temporaryDirectory } from "../temporary.ts";
import { contentOf, type GoldenHistory, goldenHistories, stampOf } from "./golden-history.ts";

/** Histories of chance; each is restored to all its points. */
const cutsOfChance = 40;

/** Transactions of one history: more cost time, and tell no more. */
const transactionsMax = 140;

const archives = ["replica", "replica-nofreelist", "replica-16k-none"];

/** Windows that hold some transactions each. */
function levelsOf({ below }: Chance): number[] {
  const finest = 3 + below(10);
  const middle = finest * (2 + below(3));
  return [finest, middle, middle * (2 + below(3))].slice(0, 1 + below(3)).map((seconds) => seconds * 1000);
}

/** Stores a part of the history, some of it in packs. */
async function store(replica: Replica, items: GoldenHistory["segments"], { below }: Chance): Promise<void> {
  for (let at = 0; at < items.length; ) {
    const count = below(3) === 0 ? 1 + below(12) : 1;
    const part = items.slice(at, at + count).map((item) => ({ ...item, receivedAtMs: 1_800_000_000_000 }));
    const outcomes = await replica.putAll(part[0]?.name.generation as never, part, { pack: true });
    assert.ok(outcomes.every(({ kind }) => kind === "stored" || kind === "present"));
    at += count;
  }
}

/** Removes some of what lies within a merged range, and then perhaps every snapshot but the newest. */
async function thin(replica: Replica, merged: readonly string[], random: Chance): Promise<void> {
  const [index] = listingOf(await openArchive([replica.reader])).generations.values();
  if (index === undefined) return;
  const made = index.ranges.filter(({ name }) => merged.includes(name));
  const share = random.next();
  const gone = index.ranges
    .filter((one) => made.some((by) => by !== one && by.parentTxId <= one.parentTxId && one.txId <= by.txId))
    .filter(() => random.next() < share)
    .map(({ name }) => name);
  if (random.below(3) === 0) gone.push(...index.snapshots.slice(0, -1).map(({ name }) => name));
  await replica.objects.remove(gone);
  await replica.refresh();
}

/** Returns how many points were restored. */
async function tryCuts(history: GoldenHistory, random: Chance, scratchDir: string) {
  const replica = createReplica(memoryStore(), { root: "app" });
  const levelsMs = levelsOf(random);
  await replica.begin(history.begin, stampOf(0n as TxId));
  await replica.putAll(history.begin.generation, [history.base]);
  const count = Math.min(transactionsMax, 1 + random.below(history.segments.length));
  const merged: string[] = [];
  let snapshots = 0;
  const stages = 1 + random.below(3);
  for (let stage = 0; stage < stages; stage += 1) {
    const part = history.segments.slice((count * stage) / stages, (count * (stage + 1)) / stages);
    await store(replica, part, random);
    const report = await compactReplica(replica, { levelsMs, now: () => stampOf(1_000_000n as TxId) });
    assert.deepEqual(report.left, []);
    merged.push(...report.merged.map(({ name }) => name));
    const snapshotIntervalMs = 1000 * (10 + random.below(60));
    const built = await buildSnapshots(replica, {
      levelsMs,
      snapshotIntervalMs,
      scratchDir,
      nowMs: 0,
      threads: 0,
    });
    assert.deepEqual(
      built.map(({ failure }) => failure).filter((failure) => failure !== null),
      [],
    );
    snapshots += built.length;
  }
  await thin(replica, merged, random);
  const points = await readPoints(await openArchive([replica.reader]));
  for (const { txId } of points) {
    const image = await restoreImage(replica, { txId });
    assert.equal(contentOf(image, history.begin.pageSize), history.truth.get(txId), `transaction ${txId}`);
  }
  return { points: points.length, merged: merged.length, snapshots };
}

suite("a history that the Go implementation wrote", () => {
  test("restores to the truth at every point that is left, wherever it was cut", async (t) => {
    const histories = (await Promise.all(archives.map(goldenHistories))).flat();
    await using scratch = await temporaryDirectory();
    const { seed } = chance();
    const sum = { points: 0, merged: 0, snapshots: 0 };
    for (let at = 0; at < cutsOfChance; at += 1) {
      const history = histories[at % histories.length] as GoldenHistory;
      try {
        const done = await tryCuts(history, chance(seed + at), scratch.path);
        for (const key of ["points", "merged", "snapshots"] as const) sum[key] += done[key];
      } catch (cause) {
        throw new Error(`seed ${seed + at}, ${history.name}`, { cause });
      }
    }
    t.diagnostic(JSON.stringify(sum));
    assert.ok(sum.merged > cutsOfChance && sum.snapshots > cutsOfChance / 4);
  });
});
