import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { generationNamed, goController } from "../../testing/go-controller.ts";
import { shadowBench } from "../../testing/shadow-bench.ts";
import { fillDisk, inChild, runOnSmallDisk } from "../../testing/small-disk.ts";
import { recordedHistory } from "./simulated-file.ts";

/** Fills the small disk that holds the mirror, and frees it later. */
async function mirrorOnFullDisk(context: Pick<TestContext, "after">, smallDisk: string): Promise<void> {
  const history = await recordedHistory("replica", "0862e0be1cb6d5ca");
  const bench = shadowBench(context, history, join(smallDisk, "mirror"));
  const go = goController(history, bench.shadow);
  const generation = generationNamed(1);
  go.writeSnapshot(generation, 2);
  go.write(generation, 3, 9);
  const followed = bench.start();
  await followed.reach(9);
  const filler = join(smallDisk, "filler");
  await fillDisk(filler);

  go.write(generation, 10, 300);
  go.write(generationNamed(2), 301);
  await followed.until("an alarm", () => followed.alarms().includes("disk-full"));
  assert.ok(followed.consumer.txId() < 300);
  rmSync(filler);

  await followed.reach(301);
  assert.deepEqual(followed.begins(), ["first/snapshot"]);
  assert.equal(followed.consumer.counts.ranges, 0);
  await followed.until("the end of the alarm", () =>
    followed.events.some((event) => event.type === "cleared" && event.code === "disk-full"),
  );
  await followed.stop();
}

if (inChild !== undefined) {
  const { directory } = inChild;
  test("in a small disk", (context) => mirrorOnFullDisk(context, directory));
} else {
  test("a disk that is full under the mirror is waited for, and costs nothing but the time", () =>
    runOnSmallDisk(import.meta.filename, "mirror", "2m"));
}
