// Capture alone against a real application: the scenario that capture.test.ts runs for seconds and proofs/capture.ts
// for minutes.
import { existsSync } from "node:fs";
import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { newestMeta } from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";
import { openBoltFileSource } from "../packages/agent/src/sources/bolt-file.ts";
import { type CaptureFigures, recordCapture } from "./capture-recorder.ts";
import { startEtcd } from "./etcd.ts";
import { openChecker, readWriterLog, startWriter, type WriterOptions } from "./go-apps.ts";
import { byTxId, judge } from "./judge.ts";
import { chance, type TemporaryDirectory, temporaryDirectory, until } from "./temporary.ts";

export interface CaptureScenario {
  readonly name: string;
  readonly seconds: number;
  /** About how many images are judged. */
  readonly images: number;
  /** The writer's options, or puts per second on a live etcd. */
  readonly application: Omit<WriterOptions, "path" | "log"> | { readonly etcdPuts: number };
  /** Ask for another base so often. */
  readonly baseEveryMs?: number;
  readonly seed?: number;
}

export interface CaptureReport extends CaptureFigures {
  readonly name: string;
  readonly seed: number;
  readonly seconds: number;
  readonly transactions: number;
  readonly perSecond: number;
  readonly writer?: { readonly p50Ms: number; readonly p99Ms: number; readonly fileBytes: number };
  /** Of the transactions since capture began: how many have a delta of their own. */
  readonly singleShare: number;
  readonly firstBaseMs: number;
  readonly imagesJudged: number;
  readonly invalid: readonly string[];
  /** The database rebuilt from what was captured has the very live pages of the file. */
  readonly equalsLiveFile: boolean;
}

/** The newest txid of a bolt file, read without a lock. */
export async function newestTxId(path: string): Promise<number> {
  using source = openPageSource(path);
  await using file = await open(path, "r");
  const blocks = [0, 1].map(async (page) => {
    const block = new Uint8Array(source.pageSize);
    await file.read(block, 0, block.length, page * source.pageSize);
    return block;
  });
  const [block0, block1] = await Promise.all(blocks);
  const meta = block0 && block1 ? newestMeta(block0, block1) : undefined;
  if (meta === undefined) {
    throw new Error(`${path}: no valid meta`);
  }
  return Number(meta.txId);
}

/** A place in memory where there is one, so that images do not compete with the writer's fsyncs. */
function imageDirectory(): Promise<TemporaryDirectory> {
  return existsSync("/dev/shm") ? temporaryDirectory("/dev/shm") : temporaryDirectory();
}

interface Application extends AsyncDisposable {
  readonly path: string;
  readonly log?: string;
  readonly fileBytes: number;
  /** Stops it, cleanly. */
  end(): Promise<{ p50Ms: number; p99Ms: number; fileBytes: number } | undefined>;
}

async function startApplication(
  scenario: CaptureScenario,
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
    return { path: etcd.databasePath, fileBytes: 0, end, [Symbol.asyncDispose]: etcd[Symbol.asyncDispose] };
  }
  const [path, log] = [directory.file("app.db"), directory.file("app.log")];
  const writer = await startWriter({ ...scenario.application, path, log });
  const fileBytes = (scenario.application.initialMB ?? 0) << 20;
  return { path, log, fileBytes, end: writer.finish, [Symbol.asyncDispose]: writer[Symbol.asyncDispose] };
}

/** Images at random times, about `count` of them in all. */
function randomTimes(count: number, seconds: number, next: () => number): () => boolean {
  const spacingMs = (seconds * 1000) / count;
  let dueMs = performance.now() + spacingMs * next();
  return () => {
    if (performance.now() < dueMs) {
      return false;
    }
    dueMs = performance.now() + 2 * spacingMs * next();
    return true;
  };
}

/** Runs the scenario and judges what was captured. */
export async function runCapture(scenario: CaptureScenario): Promise<CaptureReport> {
  const random = chance(scenario.seed);
  await using directory = await temporaryDirectory();
  await using images = await imageDirectory();
  await using application = await startApplication(scenario, directory);
  const begunMs = performance.now();
  let firstBaseMs = 0;
  const source = openBoltFileSource({
    path: application.path,
    scratchDir: images.file("scratch"),
    now: Date.now,
  });
  const recorder = recordCapture(source, {
    directory: images.path,
    keep: randomTimes(scenario.images, scenario.seconds, random.next),
    onEvent: (event) => {
      firstBaseMs ||= event.type === "base" ? performance.now() - begunMs : 0;
    },
  });
  await until("a first base", () => recorder.figures.bases > 0, { timeoutMs: 15 * 60_000, everyMs: 5 });
  const bases = setInterval(() => source.requestBase(), scenario.baseEveryMs ?? 2 ** 30);
  const from = { txId: await newestTxId(application.path), atMs: performance.now() };
  await sleep(scenario.seconds * 1000);
  const to = { txId: await newestTxId(application.path), atMs: performance.now() };
  clearInterval(bases);
  const writer = await application.end();
  const last = await newestTxId(application.path);
  await until(
    `capture reaches ${last}`,
    () => recorder.txId() === last || (recorder.txId() === 0 && recorder.images.at(-1)?.txId === last),
    { timeoutMs: 120_000 },
  );
  recorder.keepNow();
  source.stop({ deadlineMs: 5000 });
  await recorder.done;

  const log = application.log === undefined ? undefined : byTxId(await readWriterLog(application.log));
  await using checker = openChecker({ logical: application.fileBytes < 2 ** 28, timeoutMs: 300_000 });
  const judged = { invalid: [] as string[], newest: "" };
  for (const image of recorder.images) {
    const expected = { txId: image.txId, stateHash: image.stateHash, hasApp: log !== undefined };
    const { verdict, problems } = await judge(
      checker,
      image.path,
      log === undefined ? expected : { ...expected, log },
    );
    judged.invalid.push(...problems);
    judged.newest = verdict.liveSha256 ?? "";
  }
  const live = await checker.check(application.path);
  const { figures } = recorder;
  return {
    ...figures,
    name: scenario.name,
    seed: random.seed,
    seconds: scenario.seconds,
    transactions: to.txId - from.txId,
    perSecond: Math.round((to.txId - from.txId) / ((to.atMs - from.atMs) / 1000)),
    ...(writer === undefined
      ? {}
      : { writer: { p50Ms: writer.p50Ms, p99Ms: writer.p99Ms, fileBytes: writer.fileBytes } }),
    singleShare: figures.singles / Math.max(1, figures.lastTxId - figures.firstTxId),
    firstBaseMs: Math.round(firstBaseMs),
    imagesJudged: recorder.images.length,
    invalid: judged.invalid,
    equalsLiveFile: live.ok && live.liveSha256 === judged.newest && live.txid === last,
  };
}
