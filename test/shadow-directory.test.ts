// What Go applications wrote into their shadow directories, played file by file under `up`, which is killed at any moment. Points of
// all kinds are restored and held against what the files themselves say, and against what was recorded when they were made.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  applySegment,
  checkDatabase,
  decodeSegment,
  decodeSnapshot,
  deriveMeta,
  encodeMetaPage,
  formatStateHash,
  logicalHash,
  type MetaFields,
  metaPagesFor,
  metaSlot,
  newestMeta,
} from "@pageferry/format";
import { openPageSource } from "@pageferry/format/node";
import { newestStored, readGenerations } from "./archive.ts";
import { checkFile } from "./go-apps.ts";
import { type Host, startUp } from "./pageferry.ts";
import { openReplica } from "./restores.ts";
import { temporaryDirectory, until } from "./temporary.ts";

const golden = join(import.meta.dirname, "golden");

/** A file of a shadow directory, in the order in which it was written. */
interface WrittenFile {
  readonly name: string;
  readonly txId: number;
  readonly isSnapshot: boolean;
}

/** Each transaction's segments come before its snapshot; what forked a generation comes as it was numbered. */
async function filesOf(archive: string): Promise<WrittenFile[]> {
  const names = await readdir(join(golden, archive, "data"), { recursive: true });
  const files = names
    .filter((name) => name.endsWith(".cbor"))
    .map((name) => ({
      name,
      txId: Number.parseInt(/([0-9a-f]{16})\.\w+\.cbor$/.exec(name)?.[1] ?? "", 16),
      isSnapshot: name.includes("/snapshots/"),
    }));
  return files.sort((a, b) => a.txId - b.txId || Number(a.isSnapshot) - Number(b.isSnapshot));
}

interface Truth {
  readonly stateHash: string;
  readonly logicalSha256: string;
}

/** Every state of an archive that its snapshots and segments lead to one after the other, by nothing but its own bytes. */
async function truthOf(archive: string, files: readonly WrittenFile[]): Promise<Map<number, Truth>> {
  const truth = new Map<number, Truth>();
  let image = new Uint8Array(0);
  let meta: MetaFields | undefined;
  for (const { name, txId, isSnapshot } of files) {
    const bytes = await readFile(join(golden, archive, "data", name));
    if (isSnapshot) {
      if (meta !== undefined && meta.txId >= BigInt(txId)) continue;
      image = Buffer.concat(await Array.fromAsync(decodeSnapshot([bytes]).raw, (part) => part.slice()));
      const pageSize = newestMeta(image, new Uint8Array(0))?.pageSize ?? 0;
      meta = newestMeta(image, image.subarray(pageSize));
    } else {
      const segment = decodeSegment(bytes);
      if (meta === undefined || meta.txId + 1n !== segment.header.txId) continue;
      const derived = deriveMeta({ ...segment.header, frames: segment.pages }, meta);
      image = applySegment(image, segment);
      meta = { ...derived, root: derived.root ?? meta.root };
    }
    if (meta !== undefined) truth.set(txId, stateOf(image, meta));
  }
  return truth;
}

function stateOf(bytes: Uint8Array, meta: MetaFields): Truth {
  const { pageSize } = meta;
  const image = bytes.slice();
  for (const [page, block] of metaPagesFor(encodeMetaPage(meta, metaSlot(meta.txId))).entries()) {
    image.set(block, page * pageSize);
  }
  const read = (page: number, count: number) => image.subarray(page * pageSize, (page + count) * pageSize);
  const source = { pageSize, size: image.length, read };
  const { stateHash, problems } = checkDatabase(source, { mode: "full" });
  assert.deepEqual(problems, []);
  return { stateHash: formatStateHash(stateHash ?? 0n), logicalSha256: logicalHash(source, meta) };
}

function restoredState(path: string): Truth & { readonly txId: number } {
  using source = openPageSource(path);
  const { meta, stateHash, problems } = checkDatabase(source, { mode: "full" });
  assert.ok(meta !== undefined);
  assert.deepEqual(problems, []);
  return {
    txId: Number(meta.txId),
    stateHash: formatStateHash(stateHash ?? 0n),
    logicalSha256: logicalHash(source, meta),
  };
}

/** As os.WriteFile does it: the name first, then the bytes in whatever pieces. */
async function writeAsGo(from: string, to: string): Promise<void> {
  const bytes = await readFile(from);
  await mkdir(dirname(to), { recursive: true });
  const { promise, resolve } = Promise.withResolvers<void>();
  setImmediate(resolve);
  await writeFile(to, bytes.subarray(0, bytes.length >> 1));
  await promise;
  await writeFile(to, bytes);
}

const archives = ["shadow", "replica-observer-bug", "replica"] as const;

test("shadow directories of Go applications, under an agent that is killed, restore to what they were", async () => {
  await using directory = await temporaryDirectory();
  const databases = archives.map((name) => ({
    name,
    path: directory.file(`${name}.db`),
    shadowDirectory: directory.file("streams", name),
  }));
  const config = directory.file("pageferry.json");
  await writeFile(config, JSON.stringify({ databases, granularity: "transaction", syncInterval: "50ms" }));
  const dataDir = directory.file("data");
  const start = (): Promise<Host> => startUp([], { dataDir, args: ["--config", config] });
  const plays = await Promise.all(archives.map((archive) => filesOf(archive)));
  let host = await start();
  const steps = 4;
  for (let step = 0; step < steps; step += 1) {
    for (const [index, files] of plays.entries()) {
      const archive = archives[index] ?? "";
      const part = files.slice((files.length * step) / steps, (files.length * (step + 1)) / steps);
      for (const { name } of part) {
        await writeAsGo(join(golden, archive, "data", name), directory.file("streams", archive, name));
      }
    }
    // While it is at it, and not when it is done.
    await sleep(step * 150);
    if (step === steps - 1) break;
    host.kill("SIGKILL");
    await host[Symbol.asyncDispose]();
    host = await start();
  }

  for (const [index, archive] of archives.entries()) {
    const last = plays[index]?.at(-1)?.txId ?? 0;
    await until(`${archive} is stored`, async () => (await newestStored(host.replica(archive))) === last);
  }
  host.kill("SIGTERM");
  await host[Symbol.asyncDispose]();

  for (const [index, archive] of archives.entries()) {
    const root = `${dataDir}/replica/${archive}`;
    await assertHistory(
      root,
      await truthOf(archive, plays[index] ?? []),
      directory.file(`${archive}-restored`),
    );
  }
  await assertRecorded(directory.file("replica-restored"), directory.file("shadow-restored"));
  const parents = await Promise.all(
    archives.map(async (archive) => {
      const generations = await readGenerations(`${dataDir}/replica/${archive}`);
      return generations.map(({ parent }) => parent?.txId ?? "none").sort();
    }),
  );
  // The second process's first segment is not among the files of `replica`: what joins the two nobody can say.
  assert.deepEqual(parents, [["none"], ["none"], ["000000000000012d", "none"]]);
});

/** Of many points, every fifth is restored, and those around what is odd: the ends, and where one generation follows another. */
const allPointsMax = 50;
const oddTxIds = new Set([2, 3, 300, 301, 302, 303]);

/** Restores the points that are offered, into `out-<txid>`. */
async function assertHistory(root: string, truth: ReadonlyMap<number, Truth>, out: string): Promise<void> {
  const replica = await openReplica(root);
  const points = await replica.points();
  // A kill may merge what was captured and not sent; it may not lose the ends.
  assert.ok(points.length >= truth.size / 2, `${points.length} points of ${truth.size} transactions`);
  assert.ok(points.some(({ txid }) => Number.parseInt(txid, 16) === Math.max(...truth.keys())));
  for (const [index, point] of points.entries()) {
    const id = Number.parseInt(point.txid, 16);
    const isChosen = points.length <= allPointsMax || index % 5 === 0 || oddTxIds.has(id);
    if (!isChosen && index < points.length - 1) continue;
    const path = `${out}-${id}`;
    await replica.restore(path, point);
    const { txId, ...restored } = restoredState(path);
    assert.deepEqual(restored, truth.get(txId), `${root} at ${txId}`);
  }
}

interface RecordedTruth {
  readonly transactions: readonly { readonly txId: string; readonly logicalSha256: string }[];
  readonly finalLogicalSha256: string;
}

/** What the Go programs recorded when they ran. */
async function assertRecorded(replicaOut: string, shadowOut: string): Promise<void> {
  const recorded = (archive: string): RecordedTruth =>
    JSON.parse(readFileSync(join(golden, archive, "truth.json"), "utf8"));
  let compared = 0;
  for (const { txId, logicalSha256 } of recorded("replica").transactions) {
    const path = `${replicaOut}-${txId}`;
    const isRestored = await readFile(path).then(
      () => true,
      () => false,
    );
    if (!isRestored) continue;
    assert.equal(restoredState(path).logicalSha256, logicalSha256, `replica at ${txId}`);
    compared += 1;
  }
  assert.ok(compared > 40, `${compared} transactions were compared`);
  assert.equal(restoredState(`${shadowOut}-31`).logicalSha256, recorded("shadow").finalLogicalSha256);
  assert.deepEqual((await checkFile(`${shadowOut}-31`)).errors, []);
  assert.deepEqual((await checkFile(`${replicaOut}-451`)).errors, []);
}
