// What the restore API costs: a database through it beside the same read from the replica directly, and answers about an archive of 100,000 objects.
import { cp, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import {
  crc64,
  encodeSegment,
  encodeSnapshotFile,
  formatGenerationJson,
  generationJsonName,
  parseGeneration,
  segmentAttrs,
  segmentName,
  snapshotName,
  txId,
} from "@pageferry/format";
import { s3Store } from "@pageferry/functions/stores/s3";
import { type Host, pageferryOk, startServe } from "../test/pageferry.ts";
import { residentBytes, runProcess } from "../test/processes.ts";
import { quantile, temporaryDirectory } from "../test/temporary.ts";
import { medians, round } from "./machine.ts";
import { prepareArchive } from "./restore.ts";

const mb = 2 ** 20;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

async function curl(host: Host, path: string, out: string): Promise<void> {
  const authorization = `Authorization: Bearer ${await host.token()}`;
  const { code, stderr } = await runProcess("curl", [
    "-fsS",
    "-H",
    authorization,
    "-o",
    out,
    `${host.url}${path}`,
  ]);
  if (code !== 0) throw new Error(`${path}: ${stderr}`);
}

/** The archive of the restore bench, its newest points in turn: directly, by `…/restore` cold and kept, and by the manifest. */
export async function benchApiRestore(): Promise<Record<string, number>> {
  const cache = await prepareArchive();
  await using directory = await temporaryDirectory();
  const root = directory.file("data", "replica", "app");
  await mkdir(dirname(root), { recursive: true });
  await cp(`${cache}/replica`, root, { recursive: true });
  await using host = await startServe({ dataDir: directory.file("data") });
  const out = directory.file("out.db");
  const { txid: newest } = JSON.parse(await readFile(`${cache}/live.json`, "utf8")) as { txid: number };
  const env = { PAGEFERRY_TOKEN: await host.token() };
  const restored = async (
    from: string,
    id: string,
  ): Promise<{ readonly ms: number; readonly bytes: number }> => {
    await rm(out, { force: true });
    const text = await pageferryOk(["restore", "--json", "-o", out, "--txid", id, from], { env });
    return JSON.parse(text.trim().split("\n").at(-1) ?? "") as { ms: number; bytes: number };
  };
  await curl(host, "/v1/databases/app/manifest", out);
  return await medians(3, async (run) => {
    const id = String(newest - 1 - run);
    const path = `/v1/databases/app/restore?txid=${id}`;
    const direct = await restored(root, id);
    const wholeMs = await timed(() => restored(root, id));
    await rm(out, { force: true });
    const coldMs = await timed(() => curl(host, path, out));
    const keptMs = await timed(() => curl(host, path, out));
    const { size } = await stat(out);
    const manifest = await restored(`${host.url}/v1/databases/app`, id);
    const rate = (ms: number) => size / mb / (ms / 1000);
    return {
      "MB of database": size / mb,
      "directly, the command MB/s": rate(wholeMs),
      "directly, without its start MB/s": rate(direct.ms),
      "…/restore MB/s": rate(coldMs),
      "÷ the command": wholeMs / coldMs,
      "÷ without its start": direct.ms / coldMs,
      "…/restore, kept MB/s": rate(keptMs),
      "by the manifest MB/s": rate(manifest.ms),
    };
  });
}

const generation = parseGeneration("00000000000000a1");
const beginMs = Date.UTC(2026, 0, 1);
const objectCount = 100_000;
const pageSize = 512;

/** An archive of small segments and a snapshot for each thousand of them; what their pages hold is never looked at. */
export async function placeArchive(root: string): Promise<void> {
  const put = async (name: string, bytes: Uint8Array): Promise<void> => writeFile(`${root}/${name}`, bytes);
  for (const kind of ["segments", "snapshots"])
    await mkdir(`${root}/${generation}/${kind}`, { recursive: true });
  const begin = { generation, parent: null, reason: "first", epoch: 1, host: "bench", pageSize } as const;
  await put(
    generationJsonName(generation),
    formatGenerationJson({ version: 1, ...begin, receivedAtMs: beginMs }),
  );
  const frame = { id: 3n, overflow: 0, data: new Uint8Array(pageSize) };
  for (let id = 2; id <= objectCount; id += 1) {
    const stampMs = beginMs + id * 1000;
    const range = { generation, parentTxId: txId(id - 1), txId: txId(id), stampMs };
    const attrs = segmentAttrs({ pre: BigInt(id - 1), post: BigInt(id), stampMs, source: "observer" });
    const header = { ...range, pageSize, createdAt: Math.floor(stampMs / 1000), highWaterMark: 4n, attrs };
    await put(segmentName(range), encodeSegment({ ...header, pages: [frame] }));
    if (id % 1000 !== 2) continue;
    const data = new Uint8Array(4 * pageSize);
    const file = encodeSnapshotFile({
      data,
      header: {
        ...{ version: 1, txId: txId(id), pageSize, createdAt: header.createdAt, pageCount: 4n, stampMs },
        ...{ compression: "none", compressionLevel: 0, compressionWindow: 0 },
        ...{ checksum: crc64(data), stateHash: BigInt(id) },
      },
    });
    await put(snapshotName({ generation, txId: txId(id), stampMs }), file);
  }
}

async function latencies(
  count: number,
  ask: (at: number) => Promise<unknown>,
): Promise<Record<string, number>> {
  const times: number[] = [];
  for (let at = 0; at < count; at += 1) times.push(await timed(() => ask(at)));
  return { "p50 ms": round(quantile(times, 0.5)), "p99 ms": round(quantile(times, 0.99)) };
}

/** Answers about 100,000 objects in a file replica, from a warm listing, and the first of all. */
export async function benchApiLatency(): Promise<Record<string, Record<string, number>>> {
  await using directory = await temporaryDirectory();
  await placeArchive(directory.file("data", "replica", "app"));
  await using host = await startServe({ dataDir: directory.file("data") });
  const headers = { authorization: `Bearer ${await host.token()}` };
  const get = async (path: string): Promise<number> => {
    const answer = await fetch(`${host.url}/v1/databases/app${path}`, { headers });
    const { length } = await answer.bytes();
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
    return length;
  };
  const someId = (at: number) => 2 + ((at * 7919) % (objectCount - 2));
  const time = (at: number) => new Date(beginMs + someId(at) * 1000).toISOString();
  const cold = { "first manifest ms": round(await timed(() => get("/manifest"))) };
  const store = s3Store({ bucket: "b", endpoint: "http://127.0.0.1:1", accessKey: "a", secretKey: "s" });
  const name = segmentName({ generation, parentTxId: txId(1), txId: txId(2), stampMs: beginMs });
  await store.presign(name, { expiresSeconds: 60 });
  return {
    cold,
    "manifest, newest": await latencies(300, () => get("/manifest")),
    "manifest, some transaction": await latencies(300, (at) => get(`/manifest?txid=${someId(at)}`)),
    "manifest, some time": await latencies(300, (at) => get(`/manifest?timestamp=${time(at)}`)),
    points: await latencies(20, () => get("/points")),
    "points, timeline": await latencies(20, () => get("/points?timeline=true")),
    status: await latencies(300, () => get("")),
    "a presigned URL": await latencies(1000, () => store.presign(name, { expiresSeconds: 60 })),
    host: { "MB resident": round((await residentBytes(host.pid)).now / mb) },
  };
}
