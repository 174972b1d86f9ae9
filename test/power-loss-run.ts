// Agent and host under load with everything recorded that they do to files; then the power fails, offline, at many moments: from what each crash
// leaves of their disks they are started again, and what was acknowledged has to be there. power-loss.test.ts runs a few crashes,
// proofs/power-loss.ts hundreds.
import { mkdir, rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { newestStored } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { type Checker, openChecker, readWriterLog, startWriter } from "./go-apps.ts";
import { byTxId, judge } from "./judge.ts";
import { startReplicate, startServe } from "./pageferry.ts";
import { afterCrash, type Tree, withEverything, writeTree } from "./power/crash-state.ts";
import { type FileOperation, readTrace } from "./power/trace.ts";
import { startQueueProxy } from "./queue-proxy.ts";
import { openReplica } from "./restores.ts";
import {
  type Chance,
  chance,
  freePort,
  type TemporaryDirectory,
  temporaryDirectory,
  until,
} from "./temporary.ts";

export interface PowerScenario {
  readonly seconds: number;
  /** Commits a second. */
  readonly rate: number;
  readonly crashes: number;
  /** True: the control, in which no fsync makes anything durable from the first acknowledgement on. */
  readonly dropsFsyncs?: boolean;
  readonly onCrash?: (crash: number, victim: string) => void;
  readonly seed?: number;
}

export interface PowerReport {
  readonly seed: number;
  readonly transactions: number;
  readonly operations: Readonly<Record<string, number>>;
  readonly fsyncs: number;
  /** Crashes by who lost power. */
  readonly crashes: Readonly<Record<string, number>>;
  /** Acknowledged points that were looked for, over all crashes. */
  readonly acknowledged: number;
  readonly restores: number;
  readonly bad: readonly string[];
  /** Acknowledged points that are not there after all came back. */
  readonly lost: readonly string[];
  /** The longest a crash took to be caught up with. */
  readonly recoveredMsMax: number;
}

const recorder = new URL(".cache/bin/trace.so", import.meta.url).pathname;
const token = "power-loss-token-power-loss-token-0123456789";

/** One run of agent and host, recorded. */
interface Recording {
  readonly path: string;
  readonly log: string;
  readonly last: number;
  readonly host: { readonly root: string; readonly operations: readonly FileOperation[] };
  readonly agent: { readonly root: string; readonly operations: readonly FileOperation[] };
  /** Acknowledged points (generation/txid), and when. */
  readonly acknowledged: ReadonlyMap<string, bigint>;
}

async function record(scenario: PowerScenario, directory: TemporaryDirectory): Promise<Recording> {
  const [path, log] = [directory.file("app.db"), directory.file("app.log")];
  const roots = { host: directory.file("data"), agent: directory.file("shadow") };
  const traced = (role: "host" | "agent") => ({
    ...{ LD_PRELOAD: recorder, PAGEFERRY_TRACE_ROOT: roots[role], UV_USE_IO_URING: "0" },
    ...{ PAGEFERRY_TRACE: directory.file(`${role}.trace`), PAGEFERRY_TOKEN: token },
  });
  await Promise.all(Object.values(roots).map((root) => mkdir(root)));
  await using writer = await startWriter({ path, log, rate: scenario.rate });
  await using host = await startServe({ dataDir: roots.host, env: traced("host") });
  await using proxy = await startQueueProxy(host.url, await freePort());
  await using agent = startReplicate([path], {
    ...{ host: proxy.url, token, shadowDir: roots.agent, env: traced("agent") },
    args: ["--sync-interval", "50ms"],
  });
  await until("a first object", async () => (await newestStored(`${roots.host}/replica/app`)) > 0);
  await sleep(scenario.seconds * 1000);
  await writer.finish();
  const last = await newestTxId(path);
  await until("all is stored", async () => (await newestStored(`${roots.host}/replica/app`)) === last);
  await agent.stop();
  await host.stop();
  return {
    ...{ path, log, last },
    host: { root: roots.host, operations: await readTrace(directory.file("host.trace")) },
    agent: { root: roots.agent, operations: await readTrace(directory.file("agent.trace")) },
    acknowledged: pointsOf(proxy.acknowledgedAtNs),
  };
}

function pointsOf(names: ReadonlyMap<string, bigint>): Map<string, bigint> {
  const points = new Map<string, bigint>();
  for (const [name, atNs] of names) {
    const match = /([0-9a-f]{16})\/segments\/[0-9a-f]{16}-([0-9a-f]{16})-/.exec(name);
    if (match !== null) points.set(`${match[1]}/${match[2]}`, atNs);
  }
  return points;
}

interface Run {
  readonly scenario: PowerScenario;
  readonly recording: Recording;
  readonly random: Chance;
  readonly checker: Checker;
  readonly directory: TemporaryDirectory;
  readonly live: string | undefined;
  readonly report: { acknowledged: number; restores: number; recoveredMsMax: number };
  readonly bad: string[];
  readonly lost: string[];
}

const victims = ["host", "agent", "both"] as const;

async function crashOnce(run: Run, crash: number): Promise<string> {
  const { recording, random, scenario } = run;
  const times = [...recording.acknowledged.values()].toSorted((a, b) => (a < b ? -1 : 1));
  const [first = 0n, end = 0n] = [times[0], times.at(-1)];
  const atNs = first + ((end - first) * BigInt(random.below(100_000))) / 100_000n;
  // An agent alone loses nothing that its host has, whatever an fsync does.
  const victim = random.pick(scenario.dropsFsyncs ? (["host", "both"] as const) : victims);
  const place = run.directory.file(`crash-${crash}`);
  for (const role of ["host", "agent"] as const) {
    const { root, operations } = recording[role];
    const done = operations.filter(({ timeNs }) => timeNs <= atNs);
    const begun = done.filter(({ timeNs }) => timeNs <= first).length;
    const isHit = victim === role || victim === "both";
    const tree: Tree = isHit
      ? afterCrash(done, root, { random, withoutFsync: scenario.dropsFsyncs ? begun : undefined })
      : withEverything(done, root);
    await writeTree(tree, root, `${place}/${role}`);
  }
  const known = [...recording.acknowledged].flatMap(([point, time]) => (time <= atNs ? [point] : []));
  const name = `crash ${crash} of ${victim}, seed ${random.seed}`;
  try {
    await comeBack(run, place);
    await judgeAll(run, name, place, known);
  } catch (error) {
    run.bad.push(`${name}: ${error}`);
    // What does not come back has lost it, too.
    if (scenario.dropsFsyncs)
      run.lost.push(...lostOf(name, known, await pointsIn(place).catch(() => new Map())));
  }
  await rm(place, { recursive: true, force: true });
  return victim;
}

/** Starts both on what the crash left, until everything that is in the file is stored. */
async function comeBack({ recording, report, scenario }: Run, place: string): Promise<void> {
  await using host = await startServe({ dataDir: `${place}/host`, env: { PAGEFERRY_TOKEN: token } });
  await using agent = startReplicate([recording.path], {
    ...{ host: host.url, token, shadowDir: `${place}/agent` },
    args: ["--sync-interval", "50ms"],
  });
  const begunMs = performance.now();
  await until(
    `what is stored is at ${recording.last}`,
    async () => {
      if (!agent.isRunning() || !host.isRunning())
        throw new Error(`ended by itself:\n${agent.output()}${host.output()}`);
      return (await newestStored(`${place}/host/replica/app`)) === recording.last;
    },
    { timeoutMs: scenario.dropsFsyncs ? 8000 : 60_000 },
  );
  report.recoveredMsMax = Math.max(report.recoveredMsMax, Math.round(performance.now() - begunMs));
  await agent.stop();
  await host.stop();
}

async function pointsIn(place: string) {
  const points = await (await openReplica(`${place}/host/replica/app`)).points();
  return new Map(points.map((point) => [`${point.generation}/${point.txid}`, point]));
}

function lostOf(
  name: string,
  acknowledged: readonly string[],
  there: ReadonlyMap<string, unknown>,
): string[] {
  return acknowledged.filter((point) => !there.has(point)).map((point) => `${name}: ${point}`);
}

async function judgeAll(run: Run, name: string, place: string, acknowledged: readonly string[]) {
  const { recording, random, report, checker } = run;
  const log = byTxId(await readWriterLog(recording.log));
  const replica = await openReplica(`${place}/host/replica/app`);
  const there = await pointsIn(place);
  report.acknowledged += acknowledged.length;
  run.lost.push(...lostOf(name, acknowledged, there));
  const known = acknowledged.flatMap((point) => there.get(point) ?? []);
  for (const point of [undefined, ...random.sample(known, 2)]) {
    report.restores += 1;
    const out = `${place}/restored-${report.restores}.db`;
    await replica.restore(out, point);
    const txId = point === undefined ? recording.last : Number.parseInt(point.txid, 16);
    const { verdict, problems } = await judge(checker, out, { txId, log });
    run.bad.push(...problems.map((problem) => `${name}: ${problem}`));
    if (point === undefined && verdict.liveSha256 !== run.live) run.bad.push(`${name}: is not the live file`);
  }
}

/** Runs the scenario. */
export async function runPowerLoss(scenario: PowerScenario): Promise<PowerReport> {
  const random = chance(scenario.seed);
  await using directory = await temporaryDirectory();
  await using checker = openChecker();
  const recording = await record(scenario, directory);
  const { liveSha256: live } = await checker.check(recording.path);
  const report = { acknowledged: 0, restores: 0, recoveredMsMax: 0 };
  const run: Run = {
    ...{ scenario, recording, random, checker, directory, live, report },
    bad: [],
    lost: [],
  };
  const crashes: Record<string, number> = { host: 0, agent: 0, both: 0 };
  for (let crash = 1; crash <= scenario.crashes; crash += 1) {
    const victim = await crashOnce(run, crash);
    crashes[victim] = (crashes[victim] ?? 0) + 1;
    scenario.onCrash?.(crash, victim);
  }
  const { host, agent } = recording;
  const isSync = ({ kind }: FileOperation) => kind === "fsync" || kind === "dirsync";
  return {
    ...{ seed: random.seed, transactions: recording.last, crashes, ...report, bad: run.bad, lost: run.lost },
    operations: { host: host.operations.length, agent: agent.operations.length },
    fsyncs: [...host.operations, ...agent.operations].filter(isSync).length,
  };
}
