// A warm standby beside a busy writer: its follower is killed at random and started again, while a reader opens the file in a loop and
// has bbolt judge it; across a replaced database, a compaction and a prune. follow.test.ts runs it for some seconds.
import { existsSync } from "node:fs";
import { link, rm, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import {
  checkFile,
  compact,
  openChecker,
  readWriterLog,
  runWriter,
  startWriter,
  type Verdict,
} from "./go-apps.ts";
import { judge } from "./judge.ts";
import { hexTxId, pageferryCommand, pageferryOk, startUp } from "./pageferry.ts";
import { type RunningProcess, startProcess } from "./processes.ts";
import { chance, quantile, temporaryDirectory, until } from "./temporary.ts";

export interface FollowScenario {
  /** Of each of the two writers. */
  readonly seconds: number;
  readonly rate: number;
  /** The longest time between a start of the follower and its end. */
  readonly aliveMsMax: number;
  readonly initialMB?: number;
  readonly seed?: number;
}

export interface FollowReport {
  readonly seed: number;
  readonly kills: number;
  /** Times that the reader had the file judged, and how many states it saw. */
  readonly opened: number;
  readonly states: number;
  readonly bad: readonly string[];
  readonly published: Readonly<Record<"delta" | "whole", number>>;
  readonly lagMs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly publishMs: { readonly p50: number; readonly p99: number };
  readonly generations: number;
  readonly equalsLive: boolean;
  readonly endedWith: number | null;
}

interface PublishedLine {
  readonly event: string;
  readonly generation: string;
  readonly how: "delta" | "whole";
  readonly why?: string;
  readonly lagMs: number;
  readonly ms: number;
}

/** Runs a scenario. */
export async function runFollow(scenario: FollowScenario): Promise<FollowReport> {
  const seed = scenario.seed ?? Math.floor(Math.random() * 1e9);
  await using directory = await temporaryDirectory();
  const path = directory.file("app.db");
  const standby = directory.file("standby.db");
  const logs = ["0", "1", "2"].map((name) => directory.file(`writer-${name}.log`));
  const [log0 = "", log1 = "", log2 = ""] = logs;
  const initialMB = scenario.initialMB === undefined ? {} : { initialMB: scenario.initialMB };
  await runWriter({ path, count: 200, log: log0, seed, ...initialMB });
  const config = directory.file("pageferry.yml");
  await writeFile(config, configText);
  await using host = await startUp([path], { dataDir: directory.file("data"), args: ["--config", config] });
  const froms = [`${host.url}/v1/databases/app`, host.replica("app")];
  await until("a replica", () => existsSync(host.replica("app")));
  const env = { PAGEFERRY_TOKEN: await host.token() };

  await using keeper = keepFollowing({ froms, standby, env, aliveMsMax: scenario.aliveMsMax, seed });
  await using reader = readInALoop(standby);
  const write = async (log: string, more: number): Promise<void> => {
    await using writer = await startWriter({ path, rate: scenario.rate, log, seed: seed + more });
    await sleep((scenario.seconds * 1000) / 2);
    await letGo(host.dataDir);
    await sleep((scenario.seconds * 1000) / 2);
    await writer.finish();
  };
  await write(log1, 1);
  await compact(path);
  await write(log2, 2);
  const live = await checkFile(path);
  const last = await keeper.settle(live.txid);
  const verdicts = await reader.stop();
  const committed = (await Promise.all(logs.map(readWriterLog))).flat();
  return {
    ...{ seed, kills: keeper.kills(), opened: verdicts.length, endedWith: last },
    states: new Set(verdicts.map(({ verdict }) => verdict.liveSha256)).size,
    bad: badOf(verdicts, new Set(committed.map(({ txId, sum }) => `${txId} ${sum}`))),
    ...figuresOf(keeper.lines()),
    equalsLive: verdicts.at(-1)?.verdict.liveSha256 === live.liveSha256,
  };
}

/** What is fine goes within seconds, so that a prune lets points go that the follower was about to take. */
const configText = `syncInterval: 50ms
snapshotInterval: 5s
compaction: { levels: [1s, 5s] }
retention: { segmentRetention: 2s, keepWithin: 6s, supersededRetention: 2s, keepDaily: 1, keepWeekly: 1 }
`;

async function letGo(dataDir: string): Promise<void> {
  await pageferryOk(["compact", "--data", dataDir]);
  await pageferryOk(["prune", "--confirm", "--grace", "0s", "--data", dataDir]);
}

interface Kept {
  /** Each start takes one of them: the history is the same. */
  readonly froms: readonly string[];
  readonly standby: string;
  readonly env: Readonly<Record<string, string>>;
  readonly aliveMsMax: number;
  readonly seed: number;
}

/** A process needs a second to begin, on a busy machine. */
const aliveMsMin = 1500;

/** Starts the follower again each time that it was killed. */
function keepFollowing({ froms, standby, env, aliveMsMax, seed }: Kept) {
  const random = chance(seed);
  const outputs: string[] = [];
  let kills = 0;
  let isOver = false;
  const start = (): RunningProcess =>
    startProcess(
      ...pageferryCommand([
        "restore",
        "--follow",
        "--interval",
        "100ms",
        "--json",
        "-o",
        standby,
        random.pick(froms),
      ]),
      { env },
    );
  const loop = (async () => {
    while (!isOver) {
      await using run = start();
      await Promise.race([run.ended, sleep(aliveMsMin + random.below(aliveMsMax - aliveMsMin))]);
      if (!run.isRunning()) throw new Error(`the follower ended by itself: ${run.output()}`);
      if (isOver) return;
      run.kill("SIGKILL");
      await run.ended;
      outputs.push(run.stdout());
      kills += 1;
    }
  })();
  loop.catch(() => {});
  return {
    async [Symbol.asyncDispose]() {
      isOver = true;
      await loop.catch(() => {});
    },
    kills: () => kills,
    lines: () =>
      outputs
        .flatMap((text) => text.split("\n"))
        .filter((line) => line.includes('"published"') && line.endsWith("}"))
        .map((line) => JSON.parse(line) as PublishedLine),
    /** Kills no more, waits until it is at a transaction, and ends it. */
    async settle(txid: number): Promise<number | null> {
      isOver = true;
      await loop;
      await using run = start();
      await run.line(new RegExp(`"(following|published)".*"txid":"${hexTxId(txid)}"`), 60_000);
      await sleep(500);
      const { code } = await run.stop();
      outputs.push(run.stdout());
      return code;
    },
  };
}

interface Opened {
  readonly verdict: Verdict;
  readonly problems: readonly string[];
}

function readInALoop(path: string) {
  const pin = `${path}.opened`;
  let isOver = false;
  const opened: Opened[] = [];
  const loop = (async () => {
    await using checker = openChecker();
    for (let isLast = false; !isLast; ) {
      isLast = isOver;
      // A second name: the judge opens it several times, and the path may be another file each time.
      const pinned = await link(path, pin).then(
        () => true,
        () => false,
      );
      if (pinned) opened.push(await judge(checker, pin, {}));
      await rm(pin, { force: true });
      await sleep(5);
    }
  })();
  loop.catch(() => {});
  return {
    async [Symbol.asyncDispose]() {
      isOver = true;
      await loop.catch(() => {});
    },
    async stop(): Promise<readonly Opened[]> {
      isOver = true;
      await loop;
      return opened;
    },
  };
}

/** Not sound, not a committed state, or older than what was seen before. */
function badOf(opened: readonly Opened[], committed: ReadonlySet<string>): string[] {
  let newest = -1;
  return opened.flatMap(({ verdict, problems }) => {
    const bad = [...problems];
    const { txid, app } = verdict;
    const number = app?.number ?? -1;
    // A compaction makes transactions of its own, of the same data.
    if (!committed.has(`${txid} ${app?.sum}`) && !isOfSum(committed, app?.sum))
      bad.push(`transaction ${txid} with ${app?.sum} was never committed`);
    if (number < newest) bad.push(`number ${number} of ${txid} after ${newest}`);
    newest = Math.max(newest, number);
    return bad;
  });
}

function isOfSum(committed: ReadonlySet<string>, sum: string | undefined): boolean {
  for (const one of committed) if (one.endsWith(` ${sum}`)) return true;
  return false;
}

function figuresOf(lines: readonly PublishedLine[]) {
  const deltas = lines.filter(({ how }) => how === "delta");
  const lags = deltas.map(({ lagMs }) => lagMs);
  const took = deltas.map(({ ms }) => ms);
  const count = (wanted: string) => lines.filter(({ how }) => how === wanted).length;
  return {
    published: { delta: count("delta"), whole: count("whole") },
    lagMs: { p50: quantile(lags, 0.5), p99: quantile(lags, 0.99), max: quantile(lags, 1) },
    publishMs: { p50: quantile(took, 0.5), p99: quantile(took, 0.99) },
    generations: new Set(lines.map(({ generation }) => generation)).size,
  };
}
