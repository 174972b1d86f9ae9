import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { appendFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { temporary } from "../../testing/agent-bench.ts";
import { generationNamed, goController } from "../../testing/go-controller.ts";
import { shadowBench } from "../../testing/shadow-bench.ts";
import { recordedHistory } from "./simulated-file.ts";

const inChild = process.env.PAGEFERRY_SMALL_DISK;

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
  const fill = (bytes: number): void => {
    for (;;) appendFileSync(filler, Buffer.alloc(bytes, 1));
  };
  for (const bytes of [65_536, 4096, 1]) assert.throws(() => fill(bytes), { code: "ENOSPC" });

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
  test("in a small disk", (context) => mirrorOnFullDisk(context, inChild));
} else {
  test("a disk that is full under the mirror is waited for, and costs nothing but the time", async () => {
    await using directory = await temporary();
    const flags = process.execArgv.filter((flag) => !flag.startsWith("--test"));
    // A file system of its own, in name spaces of its own: nothing is left of it when the child ends.
    const mount = 'mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@"';
    const spaces = ["--user", "--map-root-user", "--mount", "sh", "-c", mount, directory.path];
    const child = spawn("unshare", [...spaces, process.execPath, ...flags, import.meta.filename], {
      env: { ...process.env, PAGEFERRY_SMALL_DISK: directory.path, NODE_TEST_CONTEXT: undefined },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text) => (output += text));

    const code = await new Promise((resolve) => child.once("close", resolve));

    assert.equal(code, 0, output);
  });
}
