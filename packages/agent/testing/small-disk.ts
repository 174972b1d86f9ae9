// For tests: a small file system of their own that can be filled to the last byte, in a child process in name spaces of its own, so that it
// needs no rights and nothing is left of it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { appendFile } from "node:fs/promises";
import { temporary } from "./agent-bench.ts";

/** In the child: the scenario to run, and the directory that is the small disk. Undefined in the test itself. */
export const inChild: { readonly scenario: string; readonly directory: string } | undefined =
  process.env.PAGEFERRY_SMALL_DISK === undefined
    ? undefined
    : { scenario: process.env.PAGEFERRY_SCENARIO ?? "", directory: process.env.PAGEFERRY_SMALL_DISK };

/** Runs a test's file again as a child whose small disk has `size`, as `mount` takes it. Fails when the child does. */
export async function runOnSmallDisk(filename: string, scenario: string, size: string): Promise<void> {
  await using directory = await temporary();
  const flags = process.execArgv.filter((flag) => !flag.startsWith("--test"));
  const mount = `mount -t tmpfs -o size=${size} tmpfs "$0" && exec "$@"`;
  const spaces = ["--user", "--map-root-user", "--mount", "sh", "-c", mount, directory.path];
  const child = spawn("unshare", [...spaces, process.execPath, ...flags, filename], {
    env: {
      ...process.env,
      PAGEFERRY_SMALL_DISK: directory.path,
      PAGEFERRY_SCENARIO: scenario,
      NODE_TEST_CONTEXT: undefined,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text) => (output += text));
  const code = await new Promise((resolve) => child.once("close", resolve));
  assert.equal(code, 0, output);
}

/** Appends to a file until the disk takes not one byte more. */
export async function fillDisk(path: string): Promise<void> {
  const append = (bytes: number): Promise<void> =>
    appendFile(path, Buffer.alloc(bytes, 1)).then(() => append(bytes));
  for (const bytes of [65_536, 4096, 1]) await assert.rejects(append(bytes), { code: "ENOSPC" });
}
