// Every store on its real server: 1,000 segments of 16 KiB, eight at a time, and a snapshot of 200 MB, in and out; the
// memory of the process that does it; and what a server is asked for 1,000 segments, one by one and as fan-out packs them.
import { randomBytes } from "node:crypto";
import { chmod } from "node:fs/promises";
import {
  encodeSegment,
  generationOf,
  parseConfig,
  parseDatabaseName,
  parseObjectName,
  type ReplicaConfig,
  segmentName,
  txId,
} from "@pageferry/format";
import { segmentOf } from "@pageferry/format/fixtures";
import { openReplicaSet, type ReplicaItem } from "@pageferry/functions";
import { runProcess } from "../test/processes.ts";
import { startHttpProxy } from "../test/servers/http-proxy.ts";
import { startNats } from "../test/servers/nats.ts";
import { startS3 } from "../test/servers/s3.ts";
import { startSshd } from "../test/servers/sshd.ts";
import { temporaryDirectory } from "../test/temporary.ts";
import { medians } from "./machine.ts";

const load = new URL("./store-load.ts", import.meta.url).pathname;
const runs = 3;

/** One run of the load in a process of its own. */
async function measure(entry: object): Promise<Record<string, number>> {
  const args = [...process.execArgv, load, JSON.stringify(entry)];
  const { code, stdout, stderr } = await runProcess(process.execPath, args, { timeoutMs: 300_000 });
  if (code !== 0) throw new Error(`the load ended with ${code}: ${stderr.slice(-2000)}`);
  return JSON.parse(stdout) as Record<string, number>;
}

async function benchFile(): Promise<Record<string, number>> {
  return await medians(runs, async () => {
    await using directory = await temporaryDirectory();
    return await measure({ type: "file", path: directory.path });
  });
}

async function benchS3(): Promise<Record<string, number>> {
  await using server = await startS3();
  return await medians(runs, async () => measure({ type: "s3", ...server.entry(await server.makeBucket()) }));
}

async function benchNats(): Promise<Record<string, number>> {
  await using server = await startNats();
  return await medians(runs, (run) =>
    measure({ type: "nats", url: server.url, bucket: `bench-${run}`, createBucket: true }),
  );
}

async function benchSftp(): Promise<Record<string, number>> {
  return await medians(runs, async () => {
    await using directory = await temporaryDirectory();
    // The server runs as another user.
    await chmod(directory.path, 0o755);
    await using server = await startSshd({ directory: directory.file("objects") });
    const { host, port, user, keyPath, hostKey } = server;
    return await measure({ type: "sftp", host, port, user, keyPath, hostKey, path: server.directory });
  });
}

async function countSftp(): Promise<Record<string, number>> {
  await using server = await startSshd({ isRecorded: true });
  const { host, port, user, keyPath, hostKey, directory } = server;
  return await countRequests({
    place: (name) => ({ type: "sftp", host, port, user, keyPath, hostKey, path: `${directory}/${name}` }),
    asked: async () => (await server.requests()).length,
  });
}

/** 1,000 segments that follow one another, as fan-out hands them to a replica: so many at a time. */
function batches(generation: ReturnType<typeof generationOf>, atOnce: number): ReplicaItem[][] {
  const items = Array.from({ length: 1000 }, (_, at): ReplicaItem => {
    const ids = { parentTxId: txId(at + 2), txId: txId(at + 3) };
    const name = parseObjectName(segmentName({ generation, ...ids, stampMs: 1_790_000_000_000 + at }));
    if (name?.kind !== "segment") throw new Error("no segment's name");
    return { name, body: encodeSegment(segmentOf(ids)) };
  });
  return Array.from({ length: items.length / atOnce }, (_, at) =>
    items.slice(at * atOnce, (at + 1) * atOnce),
  );
}

interface Counted {
  /** A replica's entry in a place of its own. */
  readonly place: (name: string) => object | Promise<object>;
  /** What the server was asked so far. */
  readonly asked: () => number | Promise<number>;
}

/** What a replica asks its server for 1,000 segments, one by one and packed. */
async function countRequests({ place, asked }: Counted): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const atOnce of [1, 20]) {
    const [entry] = parseConfig({ replicas: [await place(`count-${atOnce}`)] }).replicas;
    await using set = await openReplicaSet(entry as ReplicaConfig);
    const replica = await set.of(parseDatabaseName("app"));
    const generation = generationOf(randomBytes(8));
    await replica.holdings();
    const before = await asked();
    for (const items of batches(generation, atOnce)) {
      const outcomes = await replica.putAll(generation, items, { pack: true });
      if (outcomes.some(({ kind }) => kind !== "stored")) throw new Error(JSON.stringify(outcomes[0]));
    }
    counts[`${atOnce} at a time`] = (await asked()) - before;
  }
  return counts;
}

async function countS3(): Promise<Record<string, number>> {
  await using server = await startS3();
  await using proxy = await startHttpProxy(server.endpoint);
  return await countRequests({
    place: async () => ({
      type: "s3",
      ...server.entry(await server.makeBucket()),
      endpoint: proxy.endpoint,
    }),
    asked: () => proxy.requests.length,
  });
}

async function countNats(): Promise<Record<string, number>> {
  await using server = await startNats();
  return await countRequests({
    place: (bucket) => ({ type: "nats", url: server.url, bucket, createBucket: true }),
    asked: async () => {
      const answer = await fetch(server.monitorUrl);
      return ((await answer.json()) as { in_msgs: number }).in_msgs;
    },
  });
}

/** Medians of three runs for each store; the servers run on this machine too. */
export async function benchStores(): Promise<Record<string, Record<string, number>>> {
  return {
    file: await benchFile(),
    s3: await benchS3(),
    nats: await benchNats(),
    sftp: await benchSftp(),
    "S3 requests for 1,000 segments": await countS3(),
    "NATS messages for 1,000 segments": await countNats(),
    "SFTP file operations for 1,000 segments": await countSftp(),
  };
}
