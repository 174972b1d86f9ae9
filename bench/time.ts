// What time costs: the plan of a large archive, compaction and its memory, restores before and after, bytes kept, and what a freelist costs.
import { cp, readdir, stat, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Config,
  encodeSegment,
  indexArchive,
  type ListedObject,
  mergeSegments,
  parseConfig,
  parseGeneration,
  parseObjectName,
  segmentName,
  snapshotName,
  txId,
} from "@pageferry/format";
import { compactReplica, fileReplica, planPrune, type Replica, retentionPolicy } from "@pageferry/functions";
import { newestStored } from "../test/archive.ts";
import { runWriter, startWriter } from "../test/go-apps.ts";
import { startUp } from "../test/pageferry.ts";
import { temporaryDirectory, until } from "../test/temporary.ts";
import { createSimulation, objectsOf } from "../test/time/simulation.ts";
import { median, medians, round } from "./machine.ts";
import { measured } from "./measured.ts";
import { copyOnce, prepareArchive, restoreArchive } from "./restore.ts";

const mb = 2 ** 20;

/** Indexing and planning a million names: a year of a commit every half minute that nobody compacted. */
export async function benchPlan(): Promise<Record<string, number>> {
  const generation = parseGeneration("00000000000000a1");
  const beginMs = Date.UTC(2026, 0, 1);
  const count = 1_000_000;
  const stampMs = (id: number) => beginMs + id * 31_500;
  const objects = Array.from({ length: count }, (_, at) => {
    const id = at + 1;
    const range = { generation, parentTxId: txId(id - 1), txId: txId(id), stampMs: stampMs(id) };
    return { name: id % 1000 === 1 ? snapshotName(range) : segmentName(range), size: 5000 };
  });
  const receipts = new Map(
    objects.flatMap(({ name }, at) => (at % 10 === 0 ? [[name, stampMs(at + 1)] as const] : [])),
  );
  const policy = retentionPolicy(parseConfig({ databases: ["app.db"] }));
  if (policy === undefined) throw new Error("there is no policy");
  return medians(3, async () => {
    const begun = performance.now();
    const listing = indexArchive(objects, { receipts });
    const indexedMs = performance.now() - begun;
    const plan = planPrune(listing, policy, stampMs(count));
    return {
      "index s": indexedMs / 1000,
      "plan s": (performance.now() - begun - indexedMs) / 1000,
      "may go": plan.doomed.length,
      "kept points": plan.kept.length,
    };
  });
}

async function sizesUnder(root: string): Promise<{ name: string; size: number }[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return Promise.all(
    files.map(async (file) => {
      const name = `${file.parentPath}/${file.name}`;
      return { name, size: (await stat(name)).size };
    }),
  );
}

const sum = (files: readonly { readonly size: number }[]): number =>
  files.reduce((all, { size }) => all + size, 0);

/** Compacts the archive in `root`/app by the command. */
export async function compacted(root: string, path: string, more: object): Promise<Record<string, number>> {
  const config = `${path}.yml`;
  const databases = [{ path, name: "app" }];
  await writeFile(config, JSON.stringify({ databases, replicas: [root], dataDir: `${path}.data`, ...more }));
  const before = sum(await sizesUnder(root));
  const { ms, peakBytes } = await measured(["compact", "--config", config, "app"]);
  const after = await sizesUnder(root);
  const snapshots = after.filter(({ name }) => name.includes("/snapshots/")).length;
  return {
    s: round(ms / 1000),
    "MB read of segments": round(before / mb),
    "MB/s": round(before / mb / (ms / 1000)),
    "MB written": round((sum(after) - before) / mb),
    "peak RSS MB": round(peakBytes / mb),
    snapshots,
  };
}

/** The archive of the restore bench, restored before and after it was compacted and given a snapshot, beside `cp` + fsync in the same run. */
export async function benchCompaction(): Promise<Record<string, Record<string, number>>> {
  const cache = await prepareArchive();
  await using directory = await temporaryDirectory();
  const root = directory.file("replica");
  await cp(`${cache}/replica`, `${root}/app`, { recursive: true });
  const results: Record<string, Record<string, number>> = {};
  results.compaction = await compacted(root, directory.file("app.db"), {});
  for (const check of ["none", "quick"]) {
    const out = directory.file("restored.db");
    results[`restore, ${check}`] = await medians(5, async () => {
      const before = await restoreArchive(`${cache}/replica`, out, check);
      const after = await restoreArchive(`${root}/app`, out, check);
      const copyMs = await copyOnce(out, directory.file("copy.db"));
      return {
        "before s": before.ms / 1000,
        "after s": after.ms / 1000,
        "cp + fsync s": copyMs / 1000,
        "after ÷ cp": after.ms / copyMs,
        "after, peak RSS MB": after.peakBytes / mb,
      };
    });
  }
  return results;
}

/** A database of 1 GB with a minute of commits: what compaction and a snapshot of it take. */
export async function benchLarge(): Promise<Record<string, number>> {
  await using directory = await temporaryDirectory();
  const path = directory.file("app.db");
  await using writer = await startWriter({ path, initialMB: 1000, value: 1024, keys: 20, rate: 20 });
  await using host = await startUp([path], {
    dataDir: directory.file("data"),
    args: ["--sync-interval", "1s"],
    readyMs: 300_000,
  });
  await until("the snapshot", async () => (await newestStored(host.replica("app"))) > 0, {
    timeoutMs: 400_000,
  });
  await sleep(60_000);
  await writer.finish();
  await host.stop();
  // Awaited here: the directory goes when this returns.
  return await compacted(directory.file("data/replica"), path, { snapshotInterval: "10s" });
}

/**
 * A day of ten commits a second under the default policies, by the real decisions over names and sizes (test/time/simulation.ts): a segment a second, of
 * 28 pages anywhere in 35 MB that nothing compresses, as `kept` weighs them.
 */
export async function benchDay(): Promise<Record<string, number>> {
  const config = parseConfig({ databases: ["app.db"] }) as Config;
  const beginMs = Date.UTC(2026, 0, 1, 0, 7, 11);
  const load = { databasePages: (35 * mb) / 4096, pagesPerCommit: 28, storedPageBytes: 4110 };
  const day = createSimulation({
    ...{ config, beginMs, load, commitEveryMs: 1000, snapshotLookMs: 300_000 },
  });
  const hourMs = 3_600_000;
  const hours = Array.from({ length: 48 }, (_, at) => {
    day.runUntil(beginMs + (at + 1) * hourMs);
    return { bytes: day.bytes(), objects: day.objects() };
  });
  const database = load.databasePages * 4096;
  const [first, second] = [hours.slice(0, 24), hours.slice(24)];
  const most = (some: typeof hours, key: "bytes" | "objects") => Math.max(...some.map((hour) => hour[key]));
  return {
    "stored after a day ÷ database": round((hours[23]?.bytes ?? 0) / database),
    "at most on the first day ÷ database": round(most(first, "bytes") / database),
    "at most on the second day ÷ database": round(most(second, "bytes") / database),
    "objects at most": most(second, "objects"),
    "objects of a restore": objectsOf(day.listing()),
    "all segments, singly ÷ database": round(
      (86_400 * load.pagesPerCommit * load.storedPageBytes) / database,
    ),
  };
}

/** Thirty times faster than life: ten commits a segment, as at 10 tx/s with an interval of 1 s; retention and windows shortened alike. */
const hurry = 30;

/** What is kept of a database of some 30 MB that commits ten times a second, by the default policy, from the sizes of two hours of it. */
export async function benchKept(): Promise<Record<string, number>> {
  await using directory = await temporaryDirectory();
  const path = directory.file("app.db");
  const ms = (time: number) => `${Math.round(time / hurry)}ms`;
  const hourMs = 3_600_000;
  const config = directory.file("c.yml");
  const levels = [30_000, 300_000, hourMs].map(ms);
  const retention = { segmentRetention: ms(hourMs), keepWithin: ms(24 * hourMs), checkInterval: "2s" };
  await writeFile(
    config,
    JSON.stringify({
      snapshotInterval: ms(6 * hourMs),
      syncInterval: ms(1000),
      compaction: { levels },
      retention,
    }),
  );
  await using writer = await startWriter({ path, initialMB: 30, rate: 10 * hurry });
  await using host = await startUp([path], {
    dataDir: directory.file("data"),
    args: ["--config", config],
    readyMs: 120_000,
  });
  await sleep((2 * hourMs + 60_000) / hurry);
  await writer.finish();
  await host.stop();
  const files = await sizesUnder(directory.file("data/replica"));
  const widthOf = (name: string): number => {
    const [first = "0", last = "0"] = (name.split("/").at(-1) ?? "").split("-");
    return Number.parseInt(last, 16) - Number.parseInt(first, 16) + 1;
  };
  const ranges = files.filter(({ name }) => name.includes(".segment.cbor") || name.includes(".pack.cbor"));
  const between = (from: number, to: number) =>
    ranges.filter(({ name }) => widthOf(name) >= from && widthOf(name) < to);
  const mean = (some: readonly { readonly size: number }[]) =>
    some.length === 0 ? 0 : sum(some) / some.length;
  // By width: a second is ten commits, and where the machine was late some more; an hour that would be too large is several ranges.
  const [fine, half, five] = [between(5, 20), between(100, 1000), between(1000, 6000)];
  const coarse = between(6000, 1e9);
  const hours = coarse.reduce((all, { name }) => all + widthOf(name), 0) / 36_000;
  const hour = hours === 0 ? 0 : sum(coarse) / hours;
  const snapshot = Math.max(
    ...files.filter(({ name }) => name.includes("/snapshots/")).map(({ size }) => size),
  );
  const database = (await stat(path)).size;
  // A day at most: an hour of fine points and half minutes, five minutes and hours, a snapshot every six hours.
  const day = 3600 * mean(fine) + 120 * mean(half) + 288 * mean(five) + 24 * hour + 4 * snapshot;
  return {
    "MB of the database": round(database / mb),
    "MB of a snapshot": round(snapshot / mb),
    "KB a second": round(mean(fine) / 1024),
    "KB per half minute": round(mean(half) / 1024),
    "KB per five minutes": round(mean(five) / 1024),
    "KB per hour": round(hour / 1024),
    "hours merged": round(hours),
    "MB stored after two hours": round(sum(files) / mb),
    "objects after two hours": files.length,
    "kept after a day ÷ snapshot": round(day / snapshot),
    "without compaction and prune ÷ snapshot": round((86_400 * mean(fine) + 4 * snapshot) / snapshot),
  };
}

/**
 * One key a second on a file with a freelist of megabytes, which bolt writes anew with each commit: bytes stored per committed byte, singly and
 * per closed window of 30 s; and what a window takes if it keeps the freelists that were written on the way.
 */
export async function benchFreelist(): Promise<Record<string, number>> {
  await using directory = await temporaryDirectory();
  const path = directory.file("app.db");
  // A key a page: all but a few of 330,000 pages are free in the end.
  const pages = { path, pageSize: 1024, value: 900, noSync: true, nested: 0, overflow: 0 };
  await runWriter({ ...pages, initialMB: 300, keys: 10, count: 1 });
  await runWriter({ ...pages, keys: 20_000, keyspace: 335_000, deletes: 1, count: 60 });
  const value = 64;
  await using writer = await startWriter({
    ...{ path, pageSize: 1024, value, keys: 1, nested: 0, overflow: 0, deletes: 0, rate: 1 },
  });
  const config = directory.file("c.yml");
  await writeFile(config, JSON.stringify({ compaction: { levels: [] } }));
  await using host = await startUp([path], {
    ...{ dataDir: directory.file("data"), readyMs: 300_000 },
    args: ["--config", config, "--sync-interval", "0s", "--granularity", "transaction"],
  });
  await sleep(100_000);
  await writer.finish();
  await host.stop();
  await using replica = fileReplica({ path: host.replica("app") });
  const segments = async () => {
    const listed = await Array.fromAsync(replica.reader.list());
    return listed.filter(({ name }) => parseObjectName(name)?.kind === "segment");
  };
  const singles = await segments();
  // All windows are over a minute from now.
  const now = () => Date.now() + 60_000;
  const { merged } = await compactReplica(replica, { levelsMs: [30_000], now });
  const all = await Promise.all(merged.map(({ name }) => windowOf(replica, name, singles)));
  const windows = all.filter(({ commits }) => commits > 1);
  const committed = (commits: number) => Math.max(1, commits * value);
  const perByte = (key: "single" | "stored" | "kept") =>
    round(
      windows.reduce((all, one) => all + one[key], 0) /
        committed(windows.reduce((n, one) => n + one.commits, 0)),
    );
  return {
    commits: singles.length,
    "KB a commit, single": round(median(singles.map(({ size }) => size)) / 1024),
    windows: windows.length,
    "bytes stored per committed byte, single": perByte("single"),
    "by window, stale freelists kept": perByte("kept"),
    "by window": perByte("stored"),
  };
}

/** What a window takes singly, merged, and merged with every block that was written on the way. */
async function windowOf(replica: Replica, merged: string, singles: readonly ListedObject[]) {
  const window = parseObjectName(merged);
  if (window?.kind !== "segment") throw new Error(`${merged} is no segment`);
  const sources = singles.filter(({ name }) => {
    const source = parseObjectName(name);
    return (
      source?.kind === "segment" && source.firstTxId >= window.firstTxId && source.lastTxId <= window.lastTxId
    );
  });
  const segments = await Promise.all(sources.map((source) => replica.fetchSegment(source)));
  // Where the machine was late some of it lies in packs.
  const width = Number(window.lastTxId - window.firstTxId) + 1;
  if (sources.length < width) return { commits: 0, single: 0, stored: 0, kept: 0 };
  const kept = encodeSegment(mergeSegments(segments)).length;
  return { commits: sources.length, single: sum(sources), stored: await sizeOf(replica, merged), kept };
}

async function sizeOf(replica: Replica, name: string): Promise<number> {
  for await (const object of replica.reader.list()) if (object.name === name) return object.size;
  throw new Error(`${name} is not there`);
}
