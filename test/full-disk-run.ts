// A shadow on a disk that is really full, with the application's file elsewhere: what is said of it, that the agent lives, also when it is killed
// and started there, and that it goes on by itself. full-disk.test.ts runs it in memory, proofs/full-disk.ts on other file systems.
import { randomBytes } from "node:crypto";
import { appendFile, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { decodeCompanions } from "@pageferry/format";
import { newestStored, readGenerations } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { openChecker, readWriterLog, runWriter, startWriter } from "./go-apps.ts";
import { byTxId, judge } from "./judge.ts";
import { type Host, pageferry, startReplicate, startServe } from "./pageferry.ts";
import { type QueueProxy, startQueueProxy } from "./queue-proxy.ts";
import { openReplica, type PointName } from "./restores.ts";
import { freePort, type TemporaryDirectory, temporaryDirectory, until } from "./temporary.ts";

export interface FullDiskScenario {
  readonly policy: "stop" | "squash";
  /** A directory on a small file system of its own. */
  readonly disk: string;
  /** Who takes the room: the shadow itself, until the host is back; or somebody else, until that is removed. */
  readonly fills: "shadow" | "others";
  /** Of all points so many are restored and judged. */
  readonly judged: number;
}

export interface FullDiskReport {
  readonly transactions: number;
  readonly points: number;
  /** Acknowledged segments whose end is no point. */
  readonly lost: readonly number[];
  /** Transactions in the widest range: what was committed while there was no room. */
  readonly widest: number;
  readonly generations: number;
  /** What is wrong with the restored. */
  readonly bad: readonly string[];
  /** The companion file, version by version. */
  readonly versions: readonly string[];
  readonly doctor: string;
  readonly status: string;
  /** Until the alarm was over, from when there was something that ends it. */
  readonly overMs: number;
  readonly output: string;
}

/**
 * More than what is left of a disk on which the shadow found no room. The first version is small: after a large one the files rest for as long as
 * its bytes take.
 */
const companionBytes = 900_000;

async function fill(path: string): Promise<void> {
  for (const bytes of [65_536, 4096, 1]) {
    for (let isFull = false; !isFull; ) {
      await appendFile(path, Buffer.alloc(bytes, 1)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOSPC") throw error;
        isFull = true;
      });
    }
  }
}

/** The first word of the companion file in each version that is stored, oldest first. */
async function versionsIn(root: string): Promise<string[]> {
  const names = await readdir(join(root, "files"), { recursive: true }).catch(() => []);
  const versions = await Promise.all(
    names
      .filter((name) => name.endsWith(".files.cbor"))
      .map(async (name) => decodeCompanions(`files/${name}`, await readFile(join(root, "files", name)))),
  );
  return versions
    .sort((a, b) => a.stampMs - b.stampMs)
    .map(({ files }) => files.map(({ bytes }) => Buffer.from(bytes.subarray(0, 8)).toString().trim()).join());
}

interface Stage {
  readonly path: string;
  readonly log: string;
  readonly config: string;
  readonly shadow: string;
  readonly host: Host;
  readonly root: string;
  readonly proxy: QueueProxy;
  setCompanion(word: string, bytes?: number): Promise<void>;
  startAgent(): Promise<ReturnType<typeof startReplicate>>;
}

async function openStage(
  { policy, disk }: FullDiskScenario,
  directory: TemporaryDirectory,
  held: AsyncDisposableStack,
): Promise<Stage> {
  const [path, log, config] = ["app.db", "app.log", "agent.json"].map((name) => directory.file(name)) as [
    string,
    string,
    string,
  ];
  const companion = directory.file("app.key");
  const setCompanion = (word: string, bytes = companionBytes) =>
    writeFile(companion, Buffer.concat([Buffer.from(word.padEnd(8)), randomBytes(bytes)]));
  await setCompanion("one", 0);
  const settings = { shadowPolicy: policy, syncInterval: "100ms", granularity: "transaction" };
  await writeFile(config, JSON.stringify({ databases: [{ path, files: [companion] }], ...settings }));
  await runWriter({ path, count: 50, log, keyspace: 300 });
  const host = held.use(await startServe({ dataDir: directory.file("data") }));
  const proxy = held.use(await startQueueProxy(host.url, await freePort()));
  const shadow = join(disk, "shadow");
  const startAgent = async () => {
    const to = { host: proxy.url, token: await host.token(), shadowDir: shadow };
    return held.use(startReplicate([], { ...to, args: ["--config", config] }));
  };
  return { path, log, config, shadow, host, root: host.replica("app"), proxy, setCompanion, startAgent };
}

/** Runs it. The application's commits go on all the time; the companion file is changed twice while there is no room. */
export async function runFullDisk(scenario: FullDiskScenario): Promise<FullDiskReport> {
  await using directory = await temporaryDirectory();
  await using held = new AsyncDisposableStack();
  const stage = await openStage(scenario, directory, held);
  const { path, log, config, shadow, root, proxy } = stage;
  const filler = join(scenario.disk, "filler");
  const isStored = async (txid: number) => (await newestStored(root).catch(() => undefined)) === txid;
  let agent = await stage.startAgent();
  await until("a base", async () => isStored(await newestTxId(path)));
  await until("a version", async () => (await versionsIn(root)).length === 1);

  proxy.away = true;
  const writer = held.use(await startWriter({ path, rate: 50, log, seed: 2, value: 2000, keyspace: 300 }));
  if (scenario.fills === "others") await fill(filler);
  await agent.line(/^alarm: disk-full: app: .*shadow/, 60_000);
  await stage.setCompanion("two");
  // Another alarm of the same code is told on its own.
  await agent.line(/^alarm: disk-full: app: .*\/files/, 60_000);
  const to = ["--shadow", shadow, "--host", proxy.url, "--sample", "100ms"];
  const [doctor, status] = await Promise.all([
    pageferry(["doctor", "--config", config, ...to]),
    pageferry(["status", "--agent", "--shadow", shadow]),
  ]);
  agent.kill("SIGKILL");
  await agent.ended;
  agent = await stage.startAgent();
  await agent.line(/^alarm: disk-full: app: /, 60_000);
  const then = await newestTxId(path);
  await until("commits", async () => (await newestTxId(path)) > then + 50);
  await stage.setCompanion("three");
  const beginMs = performance.now();
  if (scenario.fills === "others") await rm(filler);
  else proxy.away = false;
  await agent.line(/^over: disk-full: /, 60_000);
  const overMs = Math.round(performance.now() - beginMs);
  proxy.away = false;

  const { transactions } = await writer.finish();
  const last = await newestTxId(path);
  await until("all of it", () => isStored(last), { everyMs: 200 });
  await until("the newest version", async () => (await versionsIn(root)).at(-1) === "three");
  const alarms = async (): Promise<number> => {
    const { stdout } = await pageferry(["status", "--agent", "--json", "--shadow", shadow]);
    return JSON.parse(stdout).databases[0].alarms.length;
  };
  await until("no alarm", async () => (await alarms()) === 0, { everyMs: 500 });
  const judged = await judgeAll(stage, directory, scenario.judged);
  return {
    ...{ transactions, ...judged, overMs, output: agent.output() },
    generations: (await readGenerations(root)).length,
    versions: await versionsIn(root),
    doctor: doctor.stdout,
    status: status.stdout,
  };
}

type Judged = Pick<FullDiskReport, "points" | "lost" | "widest" | "bad">;

async function judgeAll(
  { root, log, proxy }: Stage,
  directory: TemporaryDirectory,
  count: number,
): Promise<Judged> {
  const replica = await openReplica(root);
  const points = await replica.points();
  const idOf = ({ txid }: PointName) => Number.parseInt(txid, 16);
  const ids = points.map(idOf).sort((a, b) => a - b);
  const acknowledged = [...proxy.acknowledged].flatMap((name) => {
    const last = /\/segments\/[0-9a-f]{16}-([0-9a-f]{16})-/.exec(name)?.[1];
    return last === undefined ? [] : [Number.parseInt(last, 16)];
  });
  const known = new Set(ids);
  await using checker = openChecker();
  const committed = byTxId(await readWriterLog(log));
  const step = Math.max(1, Math.floor(points.length / count));
  const bad: string[] = [];
  for (const point of points.filter((_, at) => at % step === 0)) {
    const out = directory.file("restored.db");
    await rm(out, { force: true });
    await replica.restore(out, point);
    bad.push(...(await judge(checker, out, { txId: idOf(point), log: committed })).problems);
  }
  return {
    points: points.length,
    lost: acknowledged.filter((id) => !known.has(id)),
    widest: Math.max(...ids.map((id, at) => id - (ids[at - 1] ?? id))),
    bad,
  };
}
