// One `up` with four replicas on real servers, each remote one killed in turn while bbolt writes. four-replicas.test.ts
// runs it for seconds, proofs/four-replicas.ts for minutes.
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type ArchiveReader,
  formatTxId,
  openArchive,
  parseConfig,
  parseDatabaseName,
  planFromArchive,
  type ReplicaConfig,
  type RestoreTarget,
  readPoints,
  txId,
} from "@pageferry/format";
import { restoreFile } from "@pageferry/format/node";
import { openReplicaSet, type Replica, restoreStandalone, verifyDatabase } from "@pageferry/functions";
import { openStore } from "@pageferry/functions/stores/open";
import { type Acknowledged, type Checker, openChecker, readWriterLog, startWriter } from "./go-apps.ts";
import { byTxId, judge } from "./judge.ts";
import { startUp } from "./pageferry.ts";
import { startNats } from "./servers/nats.ts";
import { startS3 } from "./servers/s3.ts";
import { startSshd } from "./servers/sshd.ts";
import { type Chance, chance, type TemporaryDirectory, temporaryDirectory, until } from "./temporary.ts";

export interface FourReplicasScenario {
  /** How long each remote server is away, and how long all are there before and after. */
  readonly awaySeconds: number;
  readonly togetherSeconds: number;
  /** Commits a second. */
  readonly rate: number;
  /** Points restored from each replica alone, and from the mix, besides the newest. */
  readonly points: number;
  /** Of the objects of three replicas, how many are removed before the mix. */
  readonly removedShare: number;
  readonly upArguments?: readonly string[];
  readonly seed?: number;
}

export interface FourReplicasReport {
  readonly seed: number;
  readonly transactions: number;
  /** Points per replica; the same everywhere. */
  readonly points: number;
  /** From the last commit until all four had the same points. */
  readonly settledMs: number;
  readonly removed: Readonly<Record<string, number>>;
  readonly restores: number;
  readonly bad: readonly string[];
  readonly exitCode: number | null;
}

type Kind = "file" | "s3" | "nats" | "sftp";

interface RemoteServer extends AsyncDisposable {
  kill(): Promise<void>;
  restart(): Promise<void>;
}

interface Places extends AsyncDisposable {
  /** The replicas as a configuration has them. */
  readonly written: readonly object[];
  readonly entries: Readonly<Record<Kind, ReplicaConfig>>;
  readonly servers: Readonly<Record<Exclude<Kind, "file">, RemoteServer>>;
}

/** Starts the three servers. */
async function startPlaces(directory: TemporaryDirectory): Promise<Places> {
  await using undo = new AsyncDisposableStack();
  const s3 = undo.use(await startS3());
  const nats = undo.use(await startNats());
  const sftp = undo.use(await startSshd());
  const bucket = await s3.makeBucket();
  const kept = undo.move();
  const { host, port, user, keyPath, hostKey } = sftp;
  const written = {
    file: { type: "file", path: directory.file("replica") },
    s3: { type: "s3", ...s3.entry(bucket) },
    nats: { type: "nats", url: nats.url, bucket: "backups", createBucket: true },
    sftp: { type: "sftp", host, port, user, keyPath, hostKey, path: `${sftp.directory}/backups` },
  };
  const entry = (kind: Kind) => parseConfig({ replicas: [written[kind]] }).replicas[0] as ReplicaConfig;
  return {
    written: Object.values(written),
    entries: { file: entry("file"), s3: entry("s3"), nats: entry("nats"), sftp: entry("sftp") },
    servers: { s3, nats, sftp },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

interface OpenPlaces extends AsyncDisposable {
  readonly replicas: readonly Replica[];
  readonly readers: Readonly<Record<Kind, ArchiveReader>>;
}

const database = parseDatabaseName("app");

async function openPlaces({ entries }: Places): Promise<OpenPlaces> {
  await using undo = new AsyncDisposableStack();
  const open = async (kind: Kind) => await undo.use(await openReplicaSet(entries[kind])).of(database);
  const file = await open("file");
  const s3 = await open("s3");
  const nats = await open("nats");
  const sftp = await open("sftp");
  const readers = { file: file.reader, s3: s3.reader, nats: nats.reader, sftp: sftp.reader };
  const kept = undo.move();
  return { replicas: [file, s3, nats, sftp], readers, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

const kinds: readonly Kind[] = ["file", "s3", "nats", "sftp"];

async function pointsOf(reader: ArchiveReader): Promise<string[]> {
  const points = await readPoints(await openArchive([reader]));
  return points.map(({ generation, txId }) => `${generation}/${formatTxId(txId)}`).sort();
}

/** Waits until every replica has the very same points, up to the last commit. */
async function untilSettled(places: Places, last: number): Promise<string[]> {
  return until(
    `four replicas with the same points up to ${last}`,
    async () => {
      await using opened = await openPlaces(places);
      const all = await Promise.all(kinds.map((kind) => pointsOf(opened.readers[kind])));
      const [first = []] = all;
      const isNewest = first.some((point) => Number.parseInt(point.split("/")[1] ?? "", 16) === last);
      if (isNewest && all.every((points) => points.join() === first.join())) return first;
      throw new Error(all.map((points, at) => `${kinds[at]}: ${points.length}`).join(", "));
    },
    { timeoutMs: 240_000, everyMs: 1000 },
  );
}

interface Judge {
  readonly checker: Checker;
  readonly log: ReadonlyMap<number, Acknowledged>;
  readonly directory: TemporaryDirectory;
  readonly live: string | undefined;
  readonly bad: string[];
  restores: number;
}

/** Restores a point, or the newest, from these readers and judges it; the newest has to be the live file. */
async function restoreAndJudge(
  self: Judge,
  from: string,
  readers: readonly ArchiveReader[],
  point: RestoreTarget,
): Promise<void> {
  await using place = await temporaryDirectory(self.directory.path);
  const output = place.file("restored.db");
  self.restores += 1;
  try {
    const archive = await openArchive(readers);
    const plan = await planFromArchive(archive, point);
    await restoreFile({ plan, readers: archive.readers, output });
    const expected = point.txId === undefined ? {} : { txId: Number(point.txId) };
    const { verdict, problems } = await judge(self.checker, output, { ...expected, log: self.log });
    self.bad.push(...problems.map((problem) => `${from}: ${problem}`));
    if (point.txId === undefined && verdict.liveSha256 !== self.live) {
      self.bad.push(`${from}: the newest point is not the live file`);
    }
  } catch (error) {
    self.bad.push(`${from} at ${point.txId ?? "newest"}: ${error}`);
  }
}

/** The newest point again, as an application restores it that has neither host nor agent. */
async function restoreByConfig(self: Judge, kind: Kind, entry: ReplicaConfig): Promise<void> {
  await using place = await temporaryDirectory(self.directory.path);
  const targetPath = place.file("restored.db");
  self.restores += 1;
  try {
    await restoreStandalone({
      replicas: [entry],
      databases: [{ name: database, path: targetPath }],
      restore: { enabled: true, targetPath },
    });
    const { liveSha256 } = await self.checker.check(targetPath);
    if (liveSha256 !== self.live) self.bad.push(`${kind} by its configuration is not the live file`);
  } catch (error) {
    self.bad.push(`${kind} by its configuration: ${error}`);
  }
}

/** Every replica verified, restored from and read to the last byte: what does not hold is bad. */
async function verifyAll(self: Judge, { replicas }: OpenPlaces): Promise<void> {
  await using scratch = await temporaryDirectory(self.directory.path);
  const report = await verifyDatabase({ database, replicas, depth: "full", scratchDir: scratch.path });
  for (const { replica, verdict, problems, points, error } of report.replicas) {
    const isSound = verdict === "FOUND" && error === null && points.length > 0;
    if (!isSound) self.bad.push(`verify of ${replica}: ${verdict}, ${error}, ${JSON.stringify(problems)}`);
  }
  if (!report.isSound || report.replicas.length !== kinds.length)
    self.bad.push(`verify: ${JSON.stringify(report)}`);
}

/** Removes objects at random from three of the four, as many as `share` says, never what tells of a generation. */
async function removeAtRandom(places: Places, opened: OpenPlaces, share: number, random: Chance) {
  const removed: Record<string, number> = {};
  for (const kind of random.sample(kinds, 3)) {
    const names: string[] = [];
    for await (const { name } of opened.readers[kind].list()) {
      if (/\.(segment|pack|snapshot)\.cbor$/.test(name)) names.push(`${database}/${name}`);
    }
    const doomed = random.sample(names, Math.ceil(names.length * share));
    await using store = await openStore(places.entries[kind]);
    await store.remove(doomed);
    removed[kind] = doomed.length;
  }
  return removed;
}

/** Runs the scenario. */
export async function runFourReplicas(scenario: FourReplicasScenario): Promise<FourReplicasReport> {
  const random = chance(scenario.seed);
  await using directory = await temporaryDirectory();
  await using places = await startPlaces(directory);
  const [path, log, config] = [
    directory.file("app.db"),
    directory.file("app.log"),
    directory.file("pageferry.json"),
  ];
  await writeFile(config, JSON.stringify({ replicas: places.written }));
  await using writer = await startWriter({ path, log, rate: scenario.rate });
  await using host = await startUp([path], {
    dataDir: directory.file("data"),
    args: ["--config", config, ...(scenario.upArguments ?? [])],
  });
  for (const server of Object.values(places.servers)) {
    await sleep(scenario.togetherSeconds * 1000);
    await server.kill();
    await sleep(scenario.awaySeconds * 1000);
    await server.restart();
  }
  await sleep(scenario.togetherSeconds * 1000);
  const { txid: last } = await writer.finish();
  const finishedMs = performance.now();
  const points = await untilSettled(places, last);
  const settledMs = Math.round(performance.now() - finishedMs);
  const { code } = await host.stop();

  await using checker = openChecker();
  const { liveSha256: live } = await checker.check(path);
  const self: Judge = {
    checker,
    log: byTxId(await readWriterLog(log)),
    directory,
    live,
    bad: [],
    restores: 0,
  };
  await using opened = await openPlaces(places);
  const targets = (): RestoreTarget[] => [
    {},
    ...random
      .sample(points, scenario.points)
      .map((point) => ({ txId: txId(BigInt(`0x${point.split("/")[1]}`)) })),
  ];
  for (const kind of kinds) {
    for (const target of targets()) await restoreAndJudge(self, kind, [opened.readers[kind]], target);
    await restoreByConfig(self, kind, places.entries[kind]);
  }
  await verifyAll(self, opened);
  const removed = await removeAtRandom(places, opened, scenario.removedShare, random);
  const mix = kinds.map((kind) => opened.readers[kind]);
  for (const target of targets()) await restoreAndJudge(self, "mix", mix, target);
  return {
    seed: random.seed,
    transactions: last,
    points: points.length,
    settledMs,
    removed,
    restores: self.restores,
    bad: self.bad,
    exitCode: code,
  };
}
