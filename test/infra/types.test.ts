// sst.config.ts and infra against SST's own types, as `sst install` lays them down without an account.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { repository } from "./platform.ts";

const run = promisify(execFile);
const tsc = join(repository, "node_modules", ".bin", "tsc");

describe("the types of the deployment", () => {
  it("hold", async () => {
    await run(tsc, ["-p", "infra"], { cwd: repository });
  });

  it("are SST's: mistakes in what is given to it are found", async () => {
    // Beside the others, so that it is checked as they are.
    const mistakes = join(repository, "infra", `mistakes-${process.pid}.ts`);
    const project = join(repository, "infra", `mistakes-${process.pid}.json`);
    await writeFile(
      mistakes,
      [
        `import { Pageferry } from "./pageferry.ts";`,
        `export const queue = new sst.aws.Queue("Q", { dlq: { queue: "arn", retry: "five" } });`,
        `export const backup = new Pageferry("B", { databases: ["a"], replicas: { disk: { type: "file", path: "/" } } });`,
        `export const other = new Pageferry("B", { databases: ["a"], replicas: {}, schedules: { prune: "hourly" } });`,
        `queue.subscribe("arn", { batch: { partialResponse: true } });`,
      ].join("\n"),
    );
    await writeFile(
      project,
      JSON.stringify({ extends: "./tsconfig.json", include: [mistakes, "../sst.config.ts"] }),
    );
    try {
      const refused = (await run(tsc, ["-p", project], { cwd: repository }).catch(
        (error: unknown) => error,
      )) as {
        readonly stdout: string;
      };
      const found = [...refused.stdout.matchAll(/mistakes-\d+\.ts\((\d+),\d+\): error TS(\d+)/g)].map(
        ([, line, code]) => `${line} TS${code}`,
      );
      assert.deepEqual(found, ["2 TS2322", "3 TS2322", "4 TS2322", "5 TS2353"]);
    } finally {
      await Promise.all([rm(mistakes), rm(project)]);
    }
  });
});
