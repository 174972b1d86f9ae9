import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { assertAllRestore, pointsOf, temporary, until } from "../testing/agent-bench.ts";
import { createModel } from "../testing/model-database.ts";
import { assertRestores, startTinyHost, type TinyHost } from "../testing/tiny-host.ts";
import { parseCursor } from "./cursor.ts";

const script = fileURLToPath(new URL("../testing/agent-child.ts", import.meta.url));

async function spawnAgent(directory: string, host: TinyHost, granularity: string): Promise<ChildProcess> {
  const flags = ["-C", "@pageferry/source", "--disable-warning=ExperimentalWarning"];
  const args = [...flags, script, directory, host.url, granularity];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout as NodeJS.ReadableStream, "data");
  return child;
}

/** The same numbers for the same seed, so that a failure can be run again. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const kills = 6;

suite("an agent that is killed again and again", () => {
  for (const granularity of ["interval", "transaction"]) {
    test(`goes on with one history, and its acknowledged points restore (${granularity})`, async (context) => {
      const seed = Number(process.env.PAGEFERRY_SEED ?? 7);
      context.diagnostic(`PAGEFERRY_SEED=${seed}`);
      const random = numbers(seed);
      await using host = await startTinyHost();
      await using directory = await temporary();
      host.intercept = () => (random() < 0.05 ? "lose" : undefined);

      for (let kill = 0; kill < kills; kill += 1) {
        const child = await spawnAgent(directory.path, host, granularity);
        // Before its first page table is durable a generation cannot be gone on with. After that it always can.
        if (kill === 0) await until("a checkpoint", () => hasCheckpoint(directory.path));
        await setTimeout(random() * 600);
        child.kill("SIGKILL");
        await once(child, "exit");
      }
      const last = await spawnAgent(directory.path, host, granularity);
      last.kill("SIGTERM");
      const [said] = (await once(last.stdout as NodeJS.ReadableStream, "data")) as [Buffer];

      const model = createModel(1);
      const [only, ...others] = [...host.begins.values()];
      assert.ok(only);
      assert.deepEqual(others, []);
      await assertRestores(host, only.generation, model.at(Number(said.toString())));
      const points = pointsOf(host, only.generation);
      const chosen = points.filter(() => random() < 40 / points.length);
      await assertAllRestore(host, only.generation, model, chosen);
    });
  }
});

function hasCheckpoint(directory: string): boolean {
  const path = join(directory, "shadow", "app", "cursor.json");
  return existsSync(path) && parseCursor(readFileSync(path, "utf8")).checkpoint !== null;
}
