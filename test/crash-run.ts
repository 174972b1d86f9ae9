// Agent, host and writer as three processes, killed at random moments; what was acknowledged has to restore all the
// same. crash.test.ts runs it for seconds, proofs/crash.ts for 200 kills.
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { newestStored, readGenerations } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import {
  type Acknowledged,
  type Checker,
  openChecker,
  readWriterLog,
  startWriter,
  type WriterOptions,
} from "./go-apps.ts";
import { byTxId, judge } from "./judge.ts";
import { startReplicate, startServe } from "./pageferry.ts";
import type { RunningProcess } from "./processes.ts";
import { type QueueProxy, startQueueProxy } from "./queue-proxy.ts";
import { type OpenReplica, openReplica, type PointName } from "./restores.ts";
import {
  type Chance,
  chance,
  freePort,
  type TemporaryDirectory,
  temporaryDirectory,
  until,
} from "./temporary.ts";

export interface CrashScenario {
  readonly kills: number;
  /** Points restored after each kill besides the newest. */
  readonly pointsPerKill: number;
  /** Acknowledged points restored at the end, chosen by chance; Infinity for all. */
  readonly pointsAtEnd: number;
  /** The longest time between a restart and the next kill. */
  readonly aliveMsMax: number;
  readonly application: Omit<WriterOptions, "path" | "log" | "seed">;
  readonly syncInterval: string;
  /** Default: the agent's own, which is longer than any test. */
  readonly snapshotInterval?: string;
  /** Told after each kill. */
  readonly onKill?: (kill: number, victim: string) => void;
  readonly seed?: number;
}

export interface CrashReport {
  readonly seed: number;
  readonly kills: Readonly<Record<string, number>>;
  readonly transactions: number;
  readonly acknowledgedSegments: number;
  readonly restores: number;
  readonly bad: readonly string[];
  /** Acknowledged segments whose last transaction is no point after the drain. */
  readonly lost: readonly string[];
  readonly generations: readonly string[];
  /** Generations without a parent or a reason although they are not the first. */
  readonly nameless: readonly string[];
  readonly newestEqualsLive: boolean;
  readonly drainMs: number;
}

const roles = ["host", "agent", "writer"] as const;
type Role = (typeof roles)[number];

/** The three processes, each of which can be started again. */
interface Cast extends AsyncDisposable {
  readonly path: string;
  readonly log: string;
  readonly root: string;
  readonly proxy: QueueProxy;
  start(role: Role): Promise<void>;
  kill(role: Role): Promise<void>;
  stop(role: Role): Promise<void>;
}

async function openCast(scenario: CrashScenario, directory: TemporaryDirectory): Promise<Cast> {
  const [path, log, dataDir] = [directory.file("app.db"), directory.file("app.log"), directory.file("data")];
  const [port, proxyPort] = [await freePort(), await freePort()];
  const proxy = await startQueueProxy(`http://127.0.0.1:${port}`, proxyPort);
  const config = directory.file("agent.yml");
  await writeFile(config, `snapshotInterval: ${scenario.snapshotInterval ?? "6h"}\n`);
  const running = new Map<Role, RunningProcess>();
  let writers = 0;
  let token = "";
  const starters: Record<Role, () => Promise<RunningProcess>> = {
    host: async () => {
      const host = await startServe({ dataDir, port });
      token = await host.token();
      return host;
    },
    agent: async () =>
      startReplicate([path], {
        host: proxy.url,
        token,
        shadowDir: directory.file("shadow"),
        args: ["--sync-interval", scenario.syncInterval, "--config", config],
      }),
    writer: async () => {
      writers += 1;
      return startWriter({ ...scenario.application, path, log, seed: writers });
    },
  };
  const end = async (role: Role, how: (child: RunningProcess) => Promise<unknown>) => {
    const child = running.get(role);
    running.delete(role);
    if (child !== undefined) {
      await how(child);
    }
  };
  return {
    path,
    log,
    root: `${dataDir}/replica/app`,
    proxy,
    start: async (role) => void running.set(role, await starters[role]()),
    kill: (role) =>
      end(role, async (child) => {
        // Other people stop writers; agent and host have no reason to end.
        if (!child.isRunning() && role !== "writer") {
          throw new Error(`the ${role} had ended by itself:\n${child.output().slice(-3000)}`);
        }
        child.kill("SIGKILL");
        await child.ended;
      }),
    stop: (role) => end(role, (child) => child.stop()),
    async [Symbol.asyncDispose]() {
      await Promise.all([...running.values()].map((child) => child[Symbol.asyncDispose]()));
      await proxy[Symbol.asyncDispose]();
    },
  };
}

interface Judge {
  readonly bad: string[];
  restores: number;
  /** Restores points two at a time and judges each against the writer's log. */
  points(
    replica: OpenReplica,
    points: readonly (PointName | "newest")[],
    log: ReadonlyMap<number, Acknowledged>,
  ): Promise<void>;
}

function openJudge(checker: Checker, directory: TemporaryDirectory): Judge {
  const self: Judge = {
    bad: [],
    restores: 0,
    async points(replica, points, log) {
      const rest = points.values();
      const worker = async () => {
        for (const point of rest) {
          self.restores += 1;
          await using place = await temporaryDirectory(directory.path);
          const out = place.file("restored.db");
          const name = point === "newest" ? point : `${point.generation}/${point.txid}`;
          try {
            await replica.restore(out, point === "newest" ? undefined : point);
          } catch (error) {
            self.bad.push(`${name}: restore: ${error}`);
            continue;
          }
          const txId = point === "newest" ? {} : { txId: Number.parseInt(point.txid, 16) };
          const { problems } = await judge(checker, out, { ...txId, log });
          self.bad.push(...problems.map((problem) => `${name}: ${problem}`));
        }
      };
      await Promise.all([worker(), worker()]);
    },
  };
  return self;
}

/** Kills one role or all, leaves them dead for a moment, starts them again, and restores meanwhile. */
async function killOnce(
  cast: Cast,
  verdicts: Judge,
  scenario: CrashScenario,
  random: Chance,
): Promise<string> {
  await sleep(30 + random.below(scenario.aliveMsMax));
  const victim = random.pick([...roles, "all"] as const);
  const victims = victim === "all" ? roles : [victim];
  await Promise.all(victims.map((role) => cast.kill(role)));
  await sleep(random.below(300));
  const log = byTxId(await readWriterLog(cast.log));
  const replica = await openReplica(cast.root);
  const chosen = random.sample(await replica.points(), scenario.pointsPerKill);
  const judged = verdicts.points(replica, ["newest", ...chosen], log);
  const restarted = (async () => {
    for (const role of victims) {
      await cast.start(role);
    }
  })();
  await Promise.all([judged, restarted]);
  return victim;
}

/** The acknowledged segments: their generation and last txid, from their names. */
function acknowledgedPoints(names: ReadonlySet<string>): Map<string, string> {
  const points = new Map<string, string>();
  for (const name of names) {
    const match = /([0-9a-f]{16})\/segments\/[0-9a-f]{16}-([0-9a-f]{16})-/.exec(name);
    if (match !== null) {
      points.set(`${match[1]}/${match[2]}`, name);
    }
  }
  return points;
}

/** Runs the scenario. */
export async function runCrashes(scenario: CrashScenario): Promise<CrashReport> {
  const random = chance(scenario.seed);
  await using directory = await temporaryDirectory();
  await using checker = openChecker({ logical: false });
  await using cast = await openCast(scenario, directory);
  for (const role of ["writer", "host", "agent"] as const) {
    await cast.start(role);
  }
  await until("a first object in the replica", async () => (await newestStored(cast.root)) > 0, {
    timeoutMs: 60_000,
  });
  const verdicts = openJudge(checker, directory);
  const kills: Record<string, number> = { host: 0, agent: 0, writer: 0, all: 0 };
  for (let kill = 0; kill < scenario.kills; kill += 1) {
    const victim = await killOnce(cast, verdicts, scenario, random);
    kills[victim] = (kills[victim] ?? 0) + 1;
    scenario.onKill?.(kill + 1, victim);
  }

  await cast.stop("writer");
  const last = await newestTxId(cast.path);
  const drainMs = performance.now();
  await until(`the replica has ${last}`, async () => (await newestStored(cast.root)) === last, {
    timeoutMs: 120_000,
  });
  const drained = Math.round(performance.now() - drainMs);
  await cast.stop("agent");
  await cast.stop("host");

  const log = byTxId(await readWriterLog(cast.log));
  const replica = await openReplica(cast.root);
  const points = await replica.points();
  const known = new Map(points.map((point) => [`${point.generation}/${point.txid}`, point]));
  const acknowledged = acknowledgedPoints(cast.proxy.acknowledged);
  const lost = [...acknowledged].filter(([key]) => !known.has(key)).map(([, name]) => name);
  const kept = [...acknowledged.keys()].flatMap((key) => known.get(key) ?? []);
  const chosen = Number.isFinite(scenario.pointsAtEnd) ? random.sample(kept, scenario.pointsAtEnd) : kept;
  await verdicts.points(replica, ["newest", ...chosen], log);
  const out = directory.file("newest.db");
  await replica.restore(out);
  const [live, newest] = [await checker.check(cast.path), await checker.check(out)];
  const generations = await readGenerations(cast.root);
  return {
    seed: random.seed,
    kills,
    transactions: last,
    acknowledgedSegments: acknowledged.size,
    restores: verdicts.restores,
    bad: verdicts.bad,
    lost,
    generations: generations.map(({ generation, reason }) => `${generation} ${reason}`),
    nameless: generations
      .filter(({ parent, reason }) => (parent === null) !== (reason === "first"))
      .map(({ generation }) => generation),
    newestEqualsLive:
      live.ok && newest.ok && live.txid === newest.txid && live.liveSha256 === newest.liveSha256,
    drainMs: drained,
  };
}
