// A host that is away for a day while an application goes on. The day passes as fast as the commits do: the agent's and the host's clock are moved on
// with each of them, the commits themselves are real.
import { readdir, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { createAgent, createHttpQueue } from "@pageferry/agent";
import { localHost } from "@pageferry/functions";
import { newestStored, readGenerations } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { openChecker, readWriterLog, runWriter, startWriter, type WriterOptions } from "./go-apps.ts";
import { byTxId, judge } from "./judge.ts";
import { startQueueProxy } from "./queue-proxy.ts";
import { openReplica, type PointName } from "./restores.ts";
import { chance, freePort, type TemporaryDirectory, temporaryDirectory, until } from "./temporary.ts";

export interface AwayScenario {
  readonly commits: number;
  /** A second, of real time. */
  readonly rate: number;
  readonly shadowBytesMax: number;
  readonly application?: Pick<WriterOptions, "keyspace" | "initialMB" | "noSync">;
  /** How many points of those that are claimed are restored, beside the newest. */
  readonly restores: number;
  readonly seed?: number;
  /** The host stays away until this was told. */
  readonly untilAlarm?: string;
}

export interface AwayReport {
  readonly seed: number;
  readonly commits: number;
  readonly hoursAway: number;
  readonly databaseBytes: number;
  /** The largest that the shadow's log was, by its own account, and all of its directory on the disk. */
  readonly shadowBytesPeak: number;
  readonly diskBytesPeak: number;
  /** What was told while the host was away. */
  readonly alarms: readonly string[];
  /** From the host's return until the newest commit can be restored. */
  readonly caughtUpMs: number;
  readonly sentBytes: number;
  readonly generations: number;
  readonly points: number;
  /** Of them, how many lie within the day. */
  readonly pointsAway: number;
  readonly restores: number;
  readonly bad: readonly string[];
  /** Alarms of the agent that are left when all is over. */
  readonly alarmsLeft: readonly string[];
}

const dayMs = 86_400_000;

const pollMs = 25;

/** A host that is away for a day is away after some seconds; the default would only make the test longer. */
const silentMs = 5000;

/** Runs the scenario. */
export async function runAwayDay(scenario: AwayScenario): Promise<AwayReport> {
  const random = chance(scenario.seed);
  await using directory = await temporaryDirectory();
  const [path, log, dataDir] = [directory.file("app.db"), directory.file("app.log"), directory.file("data")];
  const shadowDir = directory.file("shadow");
  const root = `${dataDir}/replica/app`;
  const clock = { offsetMs: 0 };
  const now = () => Date.now() + clock.offsetMs;
  const application = { ...scenario.application, path, log };
  await runWriter({ ...application, count: 200 });
  await using host = await localHost(
    {
      dataDir,
      replicas: [{ type: "file", path: `${dataDir}/replica` }],
      listen: { host: "127.0.0.1", port: 0 },
    },
    { now },
  );
  await using proxy = await startQueueProxy(host.url ?? "", await freePort());
  await using agent = createAgent({
    ...{
      databases: [path],
      shadowDir,
      now,
      shadowBytesMax: scenario.shadowBytesMax,
      syncIntervalMs: 100,
      silentMs,
    },
    queue: createHttpQueue({ url: proxy.url, token: host.token }),
  });
  const alarms = new Set<string>();
  agent.on("alarm", ({ alarm }) => alarms.add(alarm.code));
  await agent.start();
  const first = await newestTxId(path);
  await until("all is stored before", async () => (await newestStored(root)) === first);

  proxy.away = true;
  await runWriter({ ...application, count: 5, rate: 5, seed: random.seed + 1 });
  await until("its agent knows that it is away", () => alarms.has("unavailable"));
  const begunMs = now();
  await using writer = await startWriter({
    ...{ ...application, count: scenario.commits, rate: scenario.rate, seed: random.seed },
  });
  const peak = { shadow: 0, disk: 0 };
  const look = async () => {
    const done = (await newestTxId(path).catch(() => first)) - first;
    clock.offsetMs = Math.max(clock.offsetMs, Math.round((dayMs * done) / scenario.commits));
    peak.shadow = Math.max(peak.shadow, agent.status().databases[0]?.shadowBytes ?? 0);
    peak.disk = Math.max(peak.disk, await bytesBelow(shadowDir));
  };
  while (writer.isRunning()) {
    await look();
    await sleep(pollMs);
  }
  const last = await newestTxId(path);
  await until("all is in the shadow", async () => {
    await look();
    return Number(agent.status().databases[0]?.shadowedTxId) === last;
  });
  const { untilAlarm } = scenario;
  if (untilAlarm !== undefined) await until(`the alarm ${untilAlarm}`, () => alarms.has(untilAlarm));
  const [hoursAway, sentBefore, backMs] = [(now() - begunMs) / 3_600_000, proxy.sentBytes, performance.now()];

  proxy.away = false;
  await until("all is stored", async () => (await newestStored(root)) === last);
  const caughtUpMs = Math.round(performance.now() - backMs);
  const sentBytes = proxy.sentBytes - sentBefore;
  const standing = () => agent.status().databases[0]?.alarms ?? [];
  await until("the alarms are over", () => standing().length === 0, { timeoutMs: 20_000 }).catch(
    () => undefined,
  );
  const alarmsLeft = standing().map(({ code, message }) => `${code}: ${message}`);
  await agent.stop();
  const judged = await judgePoints({
    root,
    path,
    log,
    last,
    first,
    directory,
    random,
    restores: scenario.restores,
  });
  return {
    ...{ seed: random.seed, commits: last - first, hoursAway: Math.round(hoursAway * 10) / 10 },
    databaseBytes: (await stat(path)).size,
    ...{ shadowBytesPeak: peak.shadow, diskBytesPeak: peak.disk, alarms: [...alarms], caughtUpMs, sentBytes },
    generations: (await readGenerations(root)).length,
    ...{ ...judged, alarmsLeft },
  };
}

/** Bytes of all files below a directory; what goes away meanwhile does not count. */
async function bytesBelow(directory: string): Promise<number> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      stat(`${entry.parentPath}/${entry.name}`).then(
        ({ size }) => size,
        () => 0,
      ),
    );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

interface Judged {
  readonly root: string;
  readonly path: string;
  readonly log: string;
  readonly first: number;
  readonly last: number;
  readonly directory: TemporaryDirectory;
  readonly random: ReturnType<typeof chance>;
  readonly restores: number;
}

async function judgePoints({ root, path, log, first, last, directory, random, restores }: Judged) {
  await using checker = openChecker();
  const committed = byTxId(await readWriterLog(log));
  const replica = await openReplica(root);
  const points = await replica.points();
  const txIdOf = ({ txid }: PointName) => Number.parseInt(txid, 16);
  const bad: string[] = [];
  const newest = points.find((point) => txIdOf(point) === last);
  if (newest === undefined) bad.push(`${last} is no point`);
  const chosen = [...(newest === undefined ? [] : [newest]), ...random.sample(points, restores)];
  const live = await checker.check(path);
  for (const [index, point] of chosen.entries()) {
    const out = directory.file(`restored-${index}.db`);
    try {
      const { stateHash } = await replica.restore(out, point);
      const { verdict, problems } = await judge(checker, out, {
        ...{ txId: txIdOf(point), log: committed },
        ...(stateHash === undefined ? {} : { stateHash }),
      });
      bad.push(...problems);
      if (point === newest && verdict.liveSha256 !== live.liveSha256)
        bad.push("the newest point is not the live file");
    } catch (error) {
      bad.push(`${point.txid}: ${error}`);
    }
  }
  const pointsAway = points.filter((point) => txIdOf(point) > first).length;
  return { points: points.length, pointsAway, restores: chosen.length, bad };
}
