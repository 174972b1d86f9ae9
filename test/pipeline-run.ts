// The whole way beside a real application: file, agent, queue, replica, restore. pipeline.test.ts runs it for seconds,
// proofs/pipeline.ts for minutes.
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { listRanges, newestStored } from "./archive.ts";
import { newestTxId } from "./capture-run.ts";
import { startEtcd } from "./etcd.ts";
import {
  openChecker,
  readWriterLog,
  startWriter,
  type Verdict,
  type WriterLine,
  type WriterOptions,
} from "./go-apps.ts";
import { byTxId, judge } from "./judge.ts";
import { hexTxId, listPoints, type Point, restore, startUp } from "./pageferry.ts";
import { openReplica } from "./restores.ts";
import { chance, quantile, type TemporaryDirectory, temporaryDirectory, until } from "./temporary.ts";

export interface PipelineScenario {
  readonly name: string;
  readonly seconds: number;
  readonly restores: number;
  readonly application: Omit<WriterOptions, "path" | "log"> | { readonly etcdPuts: number };
  readonly upArguments?: readonly string[];
  readonly seed?: number;
}

export interface PipelineReport {
  readonly name: string;
  readonly seed: number;
  readonly transactions: number;
  readonly writer?: WriterLine;
  readonly generations: number;
  readonly points: number;
  readonly restores: number;
  readonly bad: readonly string[];
  /** Of the transactions in segments: how many are points of their own. */
  readonly singleShare: number;
  /** The time between the first and the last commit of a segment, from the writer's log. */
  readonly rangeMsP99: number;
  readonly drainMs: number;
  readonly exitCode: number | null;
  readonly newestEqualsLive: boolean;
}

interface Application extends AsyncDisposable {
  readonly path: string;
  readonly log?: string;
  end(): Promise<WriterLine | undefined>;
}

async function startApplication(
  scenario: PipelineScenario,
  directory: TemporaryDirectory,
): Promise<Application> {
  if ("etcdPuts" in scenario.application) {
    const etcd = await startEtcd(directory.path);
    const endPuts = etcd.startPuts(scenario.application.etcdPuts);
    const end = async () => {
      await endPuts();
      await etcd.stop();
      return undefined;
    };
    return { path: etcd.databasePath, end, [Symbol.asyncDispose]: etcd[Symbol.asyncDispose] };
  }
  const [path, log] = [directory.file("db"), directory.file("app.log")];
  const writer = await startWriter({ ...scenario.application, path, log });
  return { path, log, end: writer.finish, [Symbol.asyncDispose]: writer[Symbol.asyncDispose] };
}

/** How many of the archived transactions are single, and how long the ranges of the others last. */
async function measureRanges(root: string, atMs: (txId: number) => number | undefined) {
  const points = new Set((await listPoints(root)).map((point) => Number.parseInt(point.txid, 16)));
  const ranges = await listRanges(root);
  const first = ranges[0]?.firstTxId ?? 0;
  const last = ranges.at(-1)?.lastTxId ?? 0;
  const widths: number[] = [];
  let [from, single, all] = [first, 0, 0];
  for (let txId = first; txId <= last; txId += 1) {
    if (points.has(txId)) {
      all += txId - from + 1;
      single += txId === from ? 1 : 0;
      const [begin, end] = [atMs(from), atMs(txId)];
      if (begin !== undefined && end !== undefined) {
        widths.push(end - begin);
      }
      from = txId + 1;
    }
  }
  return { singleShare: single / Math.max(1, all), rangeMsP99: quantile(widths, 0.99) };
}

/** The first, the newest, is restored by the command; the others by its engine. */
async function restoreOne(root: string, point: Point, out: string, index: number): Promise<void> {
  if (index > 0) {
    await (await openReplica(root)).restore(out, point);
    return;
  }
  const run = await restore(root, out, { txid: point.txid, generation: point.generation });
  if (run.code !== 0) {
    throw new Error(`restore ended with ${run.code}: ${run.stderr.slice(-1000)}`);
  }
}

/** Restores the points and judges each file; gives the problems, and the newest's verdict. */
async function restoreAndJudge(
  root: string,
  points: readonly Point[],
  directory: TemporaryDirectory,
  expected: Parameters<typeof judge>[2],
): Promise<{ readonly bad: string[]; readonly verdicts: Verdict[] }> {
  await using checker = openChecker();
  const bad: string[] = [];
  const verdicts: Verdict[] = [];
  const queue = [...points.entries()];
  const work = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [index, point] = next;
      const out = directory.file(`restored-${index}.db`);
      try {
        await restoreOne(root, point, out, index);
      } catch (error) {
        bad.push(`${point.txid}: ${error}`);
        continue;
      }
      const judged = await judge(checker, out, { ...expected, txId: Number.parseInt(point.txid, 16) });
      bad.push(...judged.problems);
      verdicts[index] = judged.verdict;
      await rm(out);
    }
  };
  await Promise.all([work(), work()]);
  return { bad, verdicts };
}

/** Runs the scenario. */
export async function runPipeline(scenario: PipelineScenario): Promise<PipelineReport> {
  const random = chance(scenario.seed);
  await using directory = await temporaryDirectory();
  await using application = await startApplication(scenario, directory);
  await using host = await startUp([application.path], {
    dataDir: directory.file("data"),
    args: scenario.upArguments ?? [],
  });
  const root = host.replica("db");
  await until("a first object in the replica", async () => (await newestStored(root)) > 0, {
    timeoutMs: 60_000,
  });
  const from = await newestTxId(application.path);
  await sleep(scenario.seconds * 1000);
  const to = await newestTxId(application.path);
  const writer = await application.end();
  const last = await newestTxId(application.path);
  const drainMs = performance.now();
  await until(`the replica has ${last}`, async () => (await newestStored(root)) === last, {
    timeoutMs: 120_000,
  });
  const drained = performance.now() - drainMs;
  const { code } = await host.stop();

  const log = application.log === undefined ? undefined : byTxId(await readWriterLog(application.log));
  const points = await listPoints(root);
  const newest = points.find((point) => point.txid === hexTxId(last));
  if (newest === undefined) {
    throw new Error(`no point ${hexTxId(last)} among ${points.length}`);
  }
  const chosen = [newest, ...random.sample(points, scenario.restores)];
  const expected = { hasApp: log !== undefined, ...(log === undefined ? {} : { log }) };
  const { bad, verdicts } = await restoreAndJudge(root, chosen, directory, expected);
  await using checker = openChecker();
  const live = await checker.check(application.path);
  return {
    name: scenario.name,
    seed: random.seed,
    transactions: to - from,
    ...(writer === undefined ? {} : { writer }),
    generations: new Set(points.map((point) => point.generation)).size,
    points: points.length,
    restores: chosen.length,
    bad,
    ...(await measureRanges(root, (txId) => log?.get(txId)?.atMs)),
    drainMs: Math.round(drained),
    exitCode: code,
    newestEqualsLive: live.ok && verdicts[0] !== undefined && verdicts[0].liveSha256 === live.liveSha256,
  };
}
