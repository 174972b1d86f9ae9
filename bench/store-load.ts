// One store in a process of its own, so that its memory is its own: segments and a snapshot in and out. Reads the
// replica's entry as JSON from the first argument and prints one JSON line.
import { randomBytes } from "node:crypto";
import { parseConfig, type ReplicaConfig } from "@pageferry/format";
import { openStore } from "@pageferry/functions/stores/open";
import { residentBytes } from "../test/processes.ts";

const mb = 2 ** 20;
const segments = { count: 1000, bytes: 16 * 1024, atOnce: 8 };
const snapshotBytes = 200 * mb;

const entry: unknown = JSON.parse(process.argv[2] ?? "null");
const [config] = parseConfig({ replicas: [entry] }).replicas;
await using store = await openStore(config as ReplicaConfig, { isOwner: true });
const names = Array.from({ length: segments.count }, (_, at) => `segments/${String(at).padStart(6, "0")}`);
const body = randomBytes(segments.bytes + segments.count);

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begunMs = performance.now();
  await work();
  return (performance.now() - begunMs) / 1000;
}

/** Does it for every name, so many at a time. */
async function forEachName(work: (name: string, at: number) => Promise<unknown>): Promise<void> {
  const rest = names.entries();
  const worker = async () => {
    for (const [at, name] of rest) await work(name, at);
  };
  await Promise.all(Array.from({ length: segments.atOnce }, worker));
}

async function drain(stream: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of stream);
}

/** Incompressible, and never the whole of it in memory. */
async function* snapshot(): AsyncGenerator<Uint8Array> {
  const chunk = randomBytes(mb);
  for (let at = 0; at < snapshotBytes; at += mb) {
    chunk.writeUInt32LE(at / mb);
    yield Buffer.from(chunk);
  }
}

// The connection is made before anything is timed.
await store.put("first", new Uint8Array(1));
const beforeBytes = (await residentBytes(process.pid)).now;
const putS = await timed(() =>
  forEachName((name, at) => store.put(name, body.slice(at, at + segments.bytes))),
);
const getS = await timed(() => forEachName(async (name) => drain(await store.get(name))));
const snapshotPutS = await timed(() => store.put("snapshot", { size: snapshotBytes, open: snapshot }));
const snapshotGetS = await timed(async () => drain(await store.get("snapshot")));
const { peak } = await residentBytes(process.pid);
console.log(
  JSON.stringify({
    "segments/s put": segments.count / putS,
    "segments/s get": segments.count / getS,
    "snapshot MB/s put": snapshotBytes / mb / snapshotPutS,
    "snapshot MB/s get": snapshotBytes / mb / snapshotGetS,
    "peak RSS MB": peak / mb,
    "RSS before MB": beforeBytes / mb,
  }),
);
