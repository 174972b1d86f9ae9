// Restore of a ~200 MB database from one snapshot and 2,000 segments of about 110 incompressible pages each. The
// archive is made once, by the whole pipeline, into test/.cache.
import { existsSync } from "node:fs";
import { copyFile, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { listRanges, newestStored } from "../test/archive.ts";
import { checkFile, startWriter } from "../test/go-apps.ts";
import { startUp } from "../test/pageferry.ts";
import { temporaryDirectory, until } from "../test/temporary.ts";
import { medians, round } from "./machine.ts";
import { type Measured, measured } from "./measured.ts";

const cache = new URL("../test/.cache/bench-restore", import.meta.url).pathname;
const segmentCount = 2000;
const mb = 2 ** 20;

/** Makes the archive where it is not there yet: two minutes. */
export async function prepareArchive(): Promise<string> {
  if (existsSync(`${cache}/live.json`)) {
    return cache;
  }
  const making = `${cache}.making`;
  await rm(making, { recursive: true, force: true });
  await mkdir(making, { recursive: true });
  const path = `${making}/app.db`;
  await using writer = await startWriter({
    path,
    initialMB: 190,
    value: 1024,
    keys: 100,
    rate: 20,
    deletes: 0,
    nested: 0,
    overflow: 0,
  });
  await using host = await startUp([path], {
    dataDir: `${making}/data`,
    args: ["--sync-interval", "0s", "--granularity", "transaction"],
    readyMs: 120_000,
  });
  const root = host.replica("app");
  await until("so many segments", async () => (await listRanges(root)).length >= segmentCount, {
    timeoutMs: 600_000,
    everyMs: 1000,
  });
  const { txid } = await writer.finish();
  await until("the drain", async () => (await newestStored(root)) === txid, { timeoutMs: 60_000 });
  await host.stop();
  const live = await checkFile(path);
  await rename(root, `${making}/replica`);
  await rm(`${making}/data`, { recursive: true });
  await rm(path);
  await writeFile(`${making}/live.json`, JSON.stringify(live));
  await rm(cache, { recursive: true, force: true });
  await rename(making, cache);
  return cache;
}

async function bytesUnder(directory: string): Promise<number> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(
    files.map(async (file) => (await stat(`${file.parentPath}/${file.name}`)).size),
  );
  return sizes.reduce((a, b) => a + b, 0);
}

/** One restore by the command: its time, and the highest resident set that was seen. */
export async function restoreArchive(from: string, out: string, check: string): Promise<Measured> {
  await rm(out, { force: true });
  return measured(["restore", "-o", out, "--integrity-check", check, from]);
}

/** Copies a file and makes it durable, as a restore does; ms. */
export async function copyOnce(from: string, to: string): Promise<number> {
  await rm(to, { force: true });
  const begun = performance.now();
  await copyFile(from, to);
  await using file = await open(to, "r+");
  await file.sync();
  return performance.now() - begun;
}

/** Per kind of check, and beside a plain copy of the same file. */
export async function benchRestore(): Promise<Record<string, Record<string, number>>> {
  await prepareArchive();
  const live = JSON.parse(await readFile(`${cache}/live.json`, "utf8")) as Awaited<
    ReturnType<typeof checkFile>
  >;
  const results: Record<string, Record<string, number>> = {
    archive: {
      segments: (await listRanges(`${cache}/replica`)).length,
      "MB in the archive": round((await bytesUnder(`${cache}/replica`)) / mb),
      "MB in the database": round((live.highWaterMark * live.pageSize) / mb),
    },
  };
  await using directory = await temporaryDirectory();
  const out = directory.file("restored.db");
  for (const check of ["none", "quick", "full"]) {
    results[`integrity-check ${check}`] = await medians(3, async () => {
      const { ms, peakBytes } = await restoreArchive(`${cache}/replica`, out, check);
      const copyMs = await copyOnce(out, directory.file("copy.db"));
      return {
        s: ms / 1000,
        "MB/s of database": (live.highWaterMark * live.pageSize) / mb / (ms / 1000),
        "MB/s of archive": (results.archive?.["MB in the archive"] ?? 0) / (ms / 1000),
        "peak RSS MB": peakBytes / mb,
        "cp + fsync s": copyMs / 1000,
      };
    });
    const restored = await checkFile(out);
    if (!restored.ok || restored.liveSha256 !== live.liveSha256) {
      throw new Error(`the restored file is wrong: ${JSON.stringify(restored)}`);
    }
  }
  return results;
}
