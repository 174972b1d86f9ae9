// From the moment bolt acknowledged a commit to the writer until an object that holds it has its name in the file
// replica, which it gets only after its fsync. Writer, agent and host all on this machine.
import { type FSWatcher, watch } from "node:fs";
import { mkdir } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { listGenerations, newestStored } from "../test/archive.ts";
import { readWriterLog, startWriter } from "../test/go-apps.ts";
import { startUp } from "../test/pageferry.ts";
import { quantile, temporaryDirectory, until } from "../test/temporary.ts";
import { medians } from "./machine.ts";

const objectName = /-([0-9a-f]{16})-[0-9a-f]{12}\.(?:segment|pack)\.cbor$/;

interface Arrival {
  readonly txId: number;
  readonly atMs: number;
}

/** Notes when objects get their names. */
function watchArrivals(directory: string, arrivals: Arrival[]): FSWatcher {
  return watch(directory, (_event, name) => {
    const match = name === null ? null : objectName.exec(name);
    if (match !== null) {
      arrivals.push({
        txId: Number.parseInt(match[1] ?? "", 16),
        atMs: performance.timeOrigin + performance.now(),
      });
    }
  });
}

async function measure(syncInterval: string, seconds: number): Promise<Record<string, number>> {
  await using directory = await temporaryDirectory();
  const [path, log, dataDir] = [directory.file("app.db"), directory.file("app.log"), directory.file("data")];
  await using writer = await startWriter({ path, log, rate: 300 });
  await using host = await startUp([path], {
    dataDir,
    args: ["--sync-interval", syncInterval, "--granularity", "transaction"],
  });
  const root = host.replica("app");
  await until("a first object", async () => (await newestStored(root)) > 0, { timeoutMs: 60_000 });
  const [generation] = await listGenerations(root);
  const segments = `${root}/${generation}/segments`;
  await mkdir(segments, { recursive: true });
  const arrivals: Arrival[] = [];
  const watcher = watchArrivals(segments, arrivals);
  const fromMs = performance.timeOrigin + performance.now();
  await sleep(seconds * 1000);
  const toMs = performance.timeOrigin + performance.now();
  const { txid: last, perSecond } = await writer.finish();
  await until("the drain", async () => (await newestStored(root)) === last, { timeoutMs: 60_000 });
  watcher.close();

  arrivals.sort((a, b) => a.txId - b.txId);
  const soonest: Arrival[] = [];
  for (const arrival of arrivals.toReversed()) {
    const later = soonest.at(-1);
    soonest.push({
      txId: arrival.txId,
      atMs: Math.min(arrival.atMs, later?.atMs ?? Number.POSITIVE_INFINITY),
    });
  }
  soonest.reverse();
  const latencies: number[] = [];
  let at = 0;
  for (const commit of await readWriterLog(log)) {
    while (at < soonest.length && (soonest[at]?.txId ?? 0) < commit.txId) {
      at += 1;
    }
    const arrival = soonest[at];
    if (commit.atMs >= fromMs && commit.atMs < toMs && arrival !== undefined) {
      latencies.push(arrival.atMs - commit.atMs);
    }
  }
  return {
    "p50 ms": quantile(latencies, 0.5),
    "p99 ms": quantile(latencies, 0.99),
    "max ms": quantile(latencies, 1),
    commits: latencies.length,
    "tx/s": perSecond,
    "objects/s": (arrivals.length * 1000) / (toMs - fromMs),
  };
}

/** At 300 transactions a second, sending at once and with the default interval. */
export async function benchLatency(): Promise<Record<string, Record<string, number>>> {
  return {
    "sync interval 0": await medians(3, () => measure("0s", 15)),
    "sync interval 1 s": await medians(3, () => measure("1s", 15)),
  };
}
