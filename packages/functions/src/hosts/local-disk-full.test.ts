import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { appendFile, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isPageferryError, parseObjectName } from "@pageferry/format";
import { historyOf } from "../../testing/history.ts";
import { localHost } from "./local.ts";

const history = historyOf("a1");

/** Fills a small disk that holds queue, stage and replica, sees it refuse, frees it, sees it go on. Runs in the child. */
async function fillAndFree(directory: string): Promise<void> {
  const ballast = join(directory, "ballast");
  await writeFile(ballast, Buffer.alloc(3 * 1024 * 1024, 1));
  const host = await localHost({ dataDir: join(directory, "data") }, { http: false });
  const taken: number[] = [];
  const codes = new Set<string>();
  const send = async (at: number) => {
    try {
      await host.queue.send(history.envelope([history.segment(at, at + 1, 60_000)]));
      taken.push(at + 1);
    } catch (error) {
      codes.add(isPageferryError(error) ? error.code : String(error));
    }
  };
  for (let at = 4; at < 600 && codes.size === 0; at++) await send(at);
  assert.deepEqual([...codes], ["disk-full"]);
  const large = history.snapshot(4, 2 ** 22).bytes;
  const digest = createHash("sha256").update(large).digest("hex");
  const body = {
    digest,
    size: large.length,
    async *open() {
      yield large;
    },
  };
  await assert.rejects(host.queue.stage("app", body), { code: "disk-full" });
  // What else is on the disk fills it to the last byte: the queue can neither take nor give.
  const more = join(directory, "more");
  const fill = (bytes: number): Promise<void> =>
    appendFile(more, Buffer.alloc(bytes, 1)).then(() => fill(bytes));
  for (const bytes of [65_536, 4096, 1]) await assert.rejects(fill(bytes), { code: "ENOSPC" });
  await send(700);
  await sleep(500);
  assert.deepEqual([...codes], ["disk-full"]);

  await rm(ballast);
  await rm(more);
  for (let tries = 0; tries < 100 && taken.at(-1) !== 801; tries++, await sleep(100)) await send(800);
  const waits = async () => {
    const { waiting, replicas } = await host.status("app");
    return waiting + replicas.reduce((sum, replica) => sum + replica.waiting, 0);
  };
  for (let tries = 0; tries < 200 && (await waits()) > 0; tries++) await sleep(100);
  await host.close();

  assert.equal(taken.at(-1), 801);
  const files = await readdir(join(directory, "data/replica/app"), { recursive: true });
  const stored = files
    .map(parseObjectName)
    .flatMap((name) => (name?.kind === "segment" || name?.kind === "pack" ? [name] : []));
  const lost = taken.filter(
    (txId) => !stored.some((name) => name.firstTxId <= txId && BigInt(txId) <= name.lastTxId),
  );
  assert.deepEqual(lost, []);
  assert.deepEqual(
    files.filter((name) => name.endsWith(".tmp")),
    [],
  );
}

const inChild = process.env.PAGEFERRY_SMALL_DISK;

if (inChild !== undefined) await fillAndFree(inChild);
else {
  test("a full disk is told in a code, loses nothing that was acknowledged, and work goes on when there is room", async (t) => {
    const directory = await mkdtemp(join(tmpdir(), "pageferry-small-disk-"));
    t.after(() => rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }));
    const flags = process.execArgv.filter((flag) => !flag.startsWith("--test"));
    // A file system of its own, in name spaces of its own: nothing is left of it when the child ends.
    const mount = 'mount -t tmpfs -o size=12m tmpfs "$0" && exec "$@"';
    const command = [
      "--user",
      "--map-root-user",
      "--mount",
      "sh",
      "-c",
      mount,
      directory,
      process.execPath,
      ...flags,
    ];
    const child = spawn("unshare", [...command, import.meta.filename], {
      env: { ...process.env, PAGEFERRY_SMALL_DISK: directory, NODE_TEST_CONTEXT: undefined },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text) => (output += text));

    const code = await new Promise((resolve) => child.once("close", resolve));

    assert.equal(code, 0, output);
  });
}
