// The demo as a story with a proof: a recorded application commits onto a live file, `up` backs it up, the file is lost, and four
// points come back as the recording says they were.

import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  checkDatabase,
  counted,
  formatTxId,
  logicalHash,
  type Meta,
  PageferryError,
  type Point,
  parseConfig,
  type TxId,
} from "@pageferry/format";
import { openPageSource, restoreFile } from "@pageferry/format/node";
import { type BackupSource, openBackupSource } from "./backup-source.ts";
import { replicaDir } from "./data-dir.ts";
import { type History, loadHistory } from "./demo-history.ts";
import { createLiveFile } from "./demo-replay.ts";
import type { Io } from "./io.ts";
import { startUp } from "./up.ts";

/** A point that was brought back, and whether it is what the recording says. */
export interface ProvenRestore {
  readonly txid: string;
  readonly ms: number;
  readonly logicalHash: string;
  /** No problem was found in the whole file. */
  readonly isSound: boolean;
  /** The content and the meta page are those that were recorded. */
  readonly isTrue: boolean;
}

/** What the demo did. */
export interface DemoReport {
  readonly directory: string;
  readonly transactions: number;
  readonly commitsPerSecond: number;
  readonly points: number;
  readonly restores: readonly ProvenRestore[];
  readonly seconds: number;
}

/** How to run the demo. */
export interface DemoOptions {
  /** An empty directory to work in. */
  readonly directory: string;
  /** Called with a sentence for each step. */
  readonly tell: (sentence: string) => void;
}

/** Fast enough to end soon, slow enough to be an application: some six seconds for the whole recording. */
const transactionsPerSecond = 75;

/** The recording's first state has to be stored before it goes on. */
const firstSnapshotTimeoutMs = 20_000;

/** Runs the demo. A restore that is not as recorded is `corrupt`, after all four were tried. */
export async function runDemo(io: Io, { directory, tell }: DemoOptions): Promise<DemoReport> {
  const startMs = io.now();
  const history = await loadHistory();
  const path = join(directory, "app.db");
  const dataDir = join(directory, "data");
  const archive = join(replicaDir(dataDir), "app");
  tell(
    `A bbolt application was recorded: ${history.transactions.length} transactions, every page in the order it was written.`,
  );
  const commitsPerSecond = await backUp(history, { path, dataDir, archive, io });
  const source = await openBackupSource([archive], io);
  const points = await source.points(io.signal);
  tell(
    `Replayed onto ${path} at ${commitsPerSecond.toFixed(0)} commits/s while \`up\` backed it up: ${counted(points.length, "point")} in ${archive}.`,
  );
  await rm(path);
  tell(`Lost: ${path} is deleted.`);
  const restores: ProvenRestore[] = [];
  for (const point of choosePoints(points)) {
    const restored = await proveRestore(point, { history, source, directory, io });
    restores.push(restored);
    tell(describeRestore(point, restored));
  }
  const seconds = (io.now() - startMs) / 1000;
  checkProof(restores, points, history);
  return {
    directory,
    transactions: history.transactions.length,
    commitsPerSecond,
    points: points.length,
    restores,
    seconds,
  };
}

interface Stage {
  readonly path: string;
  readonly dataDir: string;
  readonly archive: string;
  readonly io: Io;
}

/** Backs the recording up while it is replayed, drains, and gives the pace that was reached. */
async function backUp(history: History, { path, dataDir, archive, io }: Stage): Promise<number> {
  await mkdir(dataDir, { recursive: true });
  await using file = await createLiveFile(history, path);
  const config = parseConfig({
    databases: [{ path, name: "app" }],
    granularity: "transaction",
    syncInterval: "200ms",
    listen: { port: 0 },
  });
  const up = await startUp({ config, dataDir, io });
  try {
    await firstSnapshot(archive, io);
    const startMs = io.now();
    await file.replay(history.transactions, { transactionsPerSecond, signal: io.signal, now: io.now });
    return (history.transactions.length * 1000) / (io.now() - startMs);
  } finally {
    await up.stop();
  }
}

async function firstSnapshot(archive: string, io: Io): Promise<void> {
  const deadlineMs = io.now() + firstSnapshotTimeoutMs;
  while (io.now() < deadlineMs) {
    const points = await openBackupSource([archive], io)
      .then((source) => source.points(io.signal))
      .catch(() => []);
    if (points.length > 0) return;
    await sleep(50, undefined, { signal: io.signal });
  }
  throw new PageferryError(
    "unavailable",
    `the demo's first snapshot was not stored in ${firstSnapshotTimeoutMs} ms`,
  );
}

/** The newest, and three earlier ones spread over the rest. */
function choosePoints(points: readonly Point[]): readonly Point[] {
  const at = [0, 1 / 4, 1 / 2, 3 / 4].map((share) => Math.floor(points.length * share));
  return [...new Set(at)].flatMap((index) => points[index] ?? []);
}

interface Proof {
  readonly history: History;
  readonly source: BackupSource;
  readonly directory: string;
  readonly io: Io;
}

async function proveRestore(point: Point, { history, source, directory, io }: Proof): Promise<ProvenRestore> {
  const output = join(directory, `restored-${formatTxId(point.txId)}.db`);
  const plan = await source.plan({ txId: point.txId, generation: point.generation }, io.signal);
  const { ms } = await restoreFile({ plan, readers: source.readers, output, signal: io.signal });
  using file = openPageSource(output);
  const { meta, problemCount } = checkDatabase(file, { mode: "full" });
  const recorded = recordedState(history, point.txId);
  const hash = meta === undefined ? "" : logicalHash(file, meta as Meta);
  const metaPage = file.read(Number(point.txId % 2n), 1);
  return {
    txid: formatTxId(point.txId),
    ms: Math.round(ms),
    logicalHash: hash,
    isSound: problemCount === 0,
    isTrue: hash === recorded?.logicalSha256 && Buffer.compare(metaPage, recorded.metaPage) === 0,
  };
}

function recordedState(history: History, txId: TxId) {
  return [history.first, ...history.transactions].find((state) => state.txId === txId);
}

function describeRestore(point: Point, { txid, ms, isSound, isTrue, logicalHash }: ProvenRestore): string {
  const which = point.stampMs === null ? "" : ` of ${new Date(point.stampMs).toISOString()}`;
  const verdict =
    isSound && isTrue ? `as recorded (${logicalHash.slice(0, 12)}…), check clean` : "NOT as recorded";
  return `Restored ${txid}${which} in ${ms} ms: ${verdict}.`;
}

function checkProof(restores: readonly ProvenRestore[], points: readonly Point[], history: History): void {
  const newest = history.transactions.at(-1)?.txId;
  if (points[0]?.txId !== newest) {
    throw new PageferryError(
      "corrupt",
      `the newest point is ${points[0] && formatTxId(points[0].txId)}, not the last commit`,
    );
  }
  const wrong = restores.filter(({ isSound, isTrue }) => !isSound || !isTrue);
  if (wrong.length > 0 || restores.length < 4) {
    throw new PageferryError("corrupt", `${wrong.length} of ${restores.length} restores are not as recorded`);
  }
}
