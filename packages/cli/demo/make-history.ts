// Makes history.zst, the recorded application that `pageferry demo` replays, from test/golden/replica: README.md says how.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { constants, zstdCompressSync } from "node:zlib";
import { decodeSegment, decodeSnapshotFile, type PageFrame, zstdDecompressSync } from "@pageferry/format";

interface TruthOfTransaction {
  readonly generation: string;
  readonly txId: string;
  readonly metaPageId: number;
  readonly metaPageHex80: string;
  readonly highWaterMark: string;
  readonly bodySha256: string;
  readonly logicalSha256: string;
}

const golden = new URL("../../../test/golden/replica/", import.meta.url);
const truth: readonly TruthOfTransaction[] = JSON.parse(
  readFileSync(new URL("truth.json", golden), "utf8"),
).transactions;
const pageSize = 4096;

const [first, ...later] = truth;
if (first === undefined) throw new Error("the truth is empty");

const image = snapshotImage(first);
const live = Buffer.alloc(pageSize * Math.max(...truth.map(({ highWaterMark }) => Number(highWaterMark))));
image.copy(live);

const transactions = later.map((transaction) => {
  const frames = framesOf(transaction);
  for (const { id, data } of frames) live.set(data, Number(id) * pageSize);
  const body = live.subarray(2 * pageSize, Number(transaction.highWaterMark) * pageSize);
  const digest = createHash("sha256").update(body).digest("hex");
  if (digest !== transaction.bodySha256)
    throw new Error(`transaction ${transaction.txId}: the body differs from the truth`);
  return { transaction, frames };
});

const index = {
  pageSize,
  imageBytes: image.length,
  firstTxId: first.txId,
  firstLogicalSha256: first.logicalSha256,
  transactions: transactions.map(({ transaction, frames }) => ({
    txId: transaction.txId,
    meta: transaction.metaPageHex80,
    runs: frames.map(({ id, data }) => [Number(id), data.length / pageSize]),
    logicalSha256: transaction.logicalSha256,
  })),
};

const head = Buffer.from(JSON.stringify(index));
const length = Buffer.alloc(4);
length.writeUInt32LE(head.length);
const raw = Buffer.concat([
  length,
  head,
  image,
  ...transactions.flatMap(({ frames }) => frames.map(({ data }) => data)),
]);
const packed = zstdCompressSync(raw, {
  params: {
    [constants.ZSTD_c_compressionLevel]: 19,
    [constants.ZSTD_c_windowLog]: 26,
    [constants.ZSTD_c_enableLongDistanceMatching]: 1,
    [constants.ZSTD_c_checksumFlag]: 1,
  },
});
writeFileSync(new URL("history.zst", import.meta.url), packed);
console.log(`${transactions.length} transactions, ${raw.length} bytes, ${packed.length} compressed`);

function framesOf(transaction: TruthOfTransaction): readonly PageFrame[] {
  const segments = new URL(`data/${transaction.generation}/segments/`, golden);
  const name = `${BigInt(transaction.txId).toString(16).padStart(16, "0")}.segment.cbor`;
  if (readdirSync(segments).includes(name)) return decodeSegment(readFileSync(new URL(name, segments))).pages;
  // The first segment of a generation was pruned by the program that wrote it; its snapshot holds the same pages.
  return changedRuns(snapshotImage(transaction));
}

function changedRuns(after: Buffer): PageFrame[] {
  const runs: PageFrame[] = [];
  for (let id = 2; id * pageSize < after.length; ) {
    const isSame =
      after.compare(live, id * pageSize, (id + 1) * pageSize, id * pageSize, (id + 1) * pageSize) === 0;
    const overflow = isSame ? 0 : after.readUInt32LE(id * pageSize + 12);
    if (!isSame)
      runs.push({
        id: BigInt(id),
        overflow,
        data: after.subarray(id * pageSize, (id + overflow + 1) * pageSize),
      });
    id += overflow + 1;
  }
  return runs;
}

function snapshotImage(transaction: TruthOfTransaction): Buffer {
  const snapshots = new URL(`data/${transaction.generation}/snapshots/`, golden);
  const suffix = `-${BigInt(transaction.txId).toString(16).padStart(16, "0")}.snapshot.cbor`;
  const name = readdirSync(snapshots).find((candidate) => candidate.endsWith(suffix));
  if (name === undefined) throw new Error(`transaction ${transaction.txId} has no snapshot`);
  const { data } = decodeSnapshotFile(readFileSync(new URL(name, snapshots)));
  return Buffer.from(zstdDecompressSync(data, { outputBytesMax: 2 ** 24 }));
}
