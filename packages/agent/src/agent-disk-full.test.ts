import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { appendFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { movableFile, startBench, temporary, until } from "../testing/agent-bench.ts";
import { openModelSource } from "../testing/model-database.ts";
import { assertRestores, startTinyHost } from "../testing/tiny-host.ts";

/** Fills a small disk that holds the shadow while the agent is stopped, and frees it later. Runs in the child. */
async function startOnFullDisk(directory: string): Promise<void> {
  await using host = await startTinyHost();
  const file = movableFile();
  let tables = 0;
  const bench = await startBench(host, directory, file, {
    openSource(options) {
      const source = openModelSource(options, () => file);
      file.source = source;
      const checkpoint = (path: string) => {
        tables += 1;
        if (tables === 1) source.checkpoint(path);
      };
      return { ...source, checkpoint };
    },
  });
  await bench.settled();
  await until("a checkpoint", () => bench.status().snapshotTxId !== null);
  // Beyond the checkpoint: the next start has to write what it goes on from.
  file.commit(5);
  await bench.settled();
  const generation = bench.generation();
  await bench.agent.stop({ deadlineMs: 1 });
  await rm(join(directory, "shadow", "app", "reserve"), { force: true });
  const filler = join(directory, "filler");
  const fill = (bytes: number): Promise<void> =>
    appendFile(filler, Buffer.alloc(bytes, 1)).then(() => fill(bytes));
  for (const bytes of [65_536, 4096, 1]) await assert.rejects(fill(bytes), { code: "ENOSPC" });
  file.source = undefined;

  await using again = await startBench(host, directory, file);
  await until("an alarm", () => again.status().alarms.some(({ code }) => code === "disk-full"));
  assert.equal(file.source, undefined, "nothing is captured from an unknown state");
  file.set(9);
  await rm(filler);
  await until("a source", () => file.source !== undefined);
  await again.settled();

  assert.deepEqual([again.generation(), host.begins.size], [generation, 1]);
  await assertRestores(host, generation, file.model.at(9));
  await until("no alarm", () => again.status().alarms.length === 0);
}

const inChild = process.env.PAGEFERRY_SMALL_DISK;

if (inChild !== undefined) await startOnFullDisk(inChild);
else {
  test("a disk that is full at the start is waited for, and costs no new generation", async () => {
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
