import assert from "node:assert/strict";
import { existsSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { txId } from "@pageferry/format";
import { generationNamed, goController } from "../../testing/go-controller.ts";
import { type FollowedShadow, type ShadowBench, shadowBench } from "../../testing/shadow-bench.ts";
import { recordedHistory, withOtherData } from "./simulated-file.ts";

const history = await recordedHistory("replica", "0862e0be1cb6d5ca");
const [first, second] = [1, 2].map(generationNamed) as [string, string];

/** Longer than a source takes to remove what it may. */
const anyTimeMs = 1200;

/** Transactions whose segments are there. */
function segmentsIn({ shadow }: ShadowBench, generation: string): number[] {
  const path = join(shadow, generation, "segments");
  if (!existsSync(path)) return [];
  return readdirSync(path).map((name) => Number.parseInt(name.slice(0, 16), 16));
}

function snapshotsIn({ shadow }: ShadowBench, generation: string): number[] {
  return readdirSync(join(shadow, generation, "snapshots")).map((name) =>
    Number.parseInt(name.slice(-30, -14), 16),
  );
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

function originOf({ events }: FollowedShadow, at = -1): string {
  const begins = events.filter((event) => event.type === "begin");
  return begins.at(at)?.origin ?? assert.fail("no begin");
}

/** A source that is at 60, with snapshots at 2, 20 and 40. */
async function atSixty(context: Parameters<typeof shadowBench>[0]) {
  const bench = shadowBench(context, history);
  const go = goController(history, bench.shadow);
  for (const id of [2, 20, 40]) go.writeSnapshot(first, id);
  go.write(first, 3, 60);
  const followed = bench.start();
  await followed.reach(60);
  return { bench, go, followed };
}

suite("a shadow directory is trimmed", { concurrency: 8 }, () => {
  test("below the newest snapshot that is not above what is stored, and no further", async (context) => {
    const { bench, followed } = await atSixty(context);

    followed.source.stored?.(originOf(followed), txId(39), false);

    await followed.until("the trimming", () => segmentsIn(bench, first).length === 40);
    await sleep(anyTimeMs);
    assert.deepEqual(segmentsIn(bench, first), range(21, 60));
    assert.deepEqual(snapshotsIn(bench, first), [20, 40]);

    followed.source.stored?.(originOf(followed), txId(60), false);

    await followed.until("the rest", () => segmentsIn(bench, first).length === 20);
    assert.deepEqual(snapshotsIn(bench, first), [40]);
  });

  test("not at all while nothing is stored, or what is stored is another history's", async (context) => {
    const { bench, followed } = await atSixty(context);

    followed.source.stored?.("0123456789abcdef", txId(60), true);

    await sleep(anyTimeMs);
    assert.deepEqual(segmentsIn(bench, first), range(3, 60));
  });

  test("not by a snapshot that is cut short, or holds something else", async (context) => {
    const { bench, go, followed } = await atSixty(context);
    const whole = go.snapshot(50);
    go.writeSnapshot(first, 50);
    writeFileSync(go.snapshotPath(first, 50), whole.subarray(0, whole.length - 10));

    followed.source.stored?.(originOf(followed), txId(60), false);

    await followed.until("the trimming", () => segmentsIn(bench, first).length === 20);
    await sleep(anyTimeMs);
    assert.deepEqual(segmentsIn(bench, first), range(41, 60));
    assert.deepEqual(snapshotsIn(bench, first), [40, 50]);
  });

  test("with all that a controller wrote twice, and the directories it left", async (context) => {
    const bench = shadowBench(context, history);
    const go = goController(history, bench.shadow);
    go.writeSnapshot(first, 2);
    for (const id of range(3, 20)) for (const fork of [100, 99]) go.write(generationNamed(fork + id), id);
    const followed = bench.start();
    await followed.reach(20);
    go.writeSnapshot(generationNamed(120), 20);

    followed.source.stored?.(originOf(followed), txId(20), false);

    const left = () => readdirSync(bench.shadow).flatMap((generation) => segmentsIn(bench, generation));
    await followed.until("the trimming", () => left().length === 0);
    assert.ok(existsSync(join(bench.shadow, generationNamed(110))), "a directory may still be written to");
    const longAgo = Date.now() / 1000 - 120;
    for (const name of readdirSync(bench.shadow)) {
      for (const inner of readdirSync(join(bench.shadow, name)))
        utimesSync(join(bench.shadow, name, inner), longAgo, longAgo);
    }
    await followed.until("the directories", () => readdirSync(bench.shadow).length <= 2);
  });

  test("but for generations that are not known to be ours", async (context) => {
    const { bench, followed } = await atSixty(context);
    const stranger = goController(withOtherData(history, 30), bench.shadow);
    stranger.write(second, 30, 35);

    followed.source.stored?.(originOf(followed), txId(60), false);

    await followed.until("the trimming", () => segmentsIn(bench, first).length === 20);
    await sleep(anyTimeMs);
    assert.deepEqual(segmentsIn(bench, second), range(30, 35));
  });

  test("of a history that was left, once all of it and the snapshot of the next are stored", async (context) => {
    const { bench, followed } = await atSixty(context);
    const remade = withOtherData(history, 44);
    const again = goController(remade, bench.shadow, { beganMs: Date.now() - 600_000 });
    again.writeSnapshot(second, 44);
    again.write(second, 45, 50);
    followed.consumer.adopt(remade);
    await followed.reach(50);
    await followed.until("a begin", () => followed.begins().length === 2);

    followed.source.stored?.(originOf(followed, 0), txId(60), true);
    await sleep(anyTimeMs);
    assert.deepEqual(segmentsIn(bench, first), range(3, 60));
    followed.source.stored?.(originOf(followed), txId(50), false);

    await followed.until("the trimming", () => segmentsIn(bench, first).length === 0);
    assert.deepEqual(segmentsIn(bench, second), range(45, 50));
    assert.deepEqual(snapshotsIn(bench, second), [44]);
  });
});

test("a snapshot that contradicts the segments before it begins a history of its own, and nothing is trimmed by it", async (context) => {
  const { bench, followed } = await atSixty(context);
  const remade = withOtherData(history, 44);
  goController(remade, bench.shadow).writeSnapshot(first, 55);
  followed.consumer.adopt(remade);

  followed.source.stored?.(originOf(followed), txId(60), false);

  await followed.until("an alarm", () => followed.alarms().includes("fork"));
  await followed.until("a begin", () => followed.begins().length === 2);
  assert.deepEqual(followed.begins(), ["first/snapshot", "unprovable/snapshot"]);
  await followed.reach(60);
  assert.deepEqual(segmentsIn(bench, first), range(3, 60));
});
