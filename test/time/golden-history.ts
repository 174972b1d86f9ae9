// The golden histories as pageferry would have stored them: each transaction of the Go implementation with its meta page, its hashes and a time,
// under our names. See test/golden/README.md.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  applySegment,
  checkDatabase,
  decodeSegment,
  deriveMeta,
  encodeMetaPage,
  encodeSegment,
  encodeSnapshot,
  executeRestore,
  formatTxId,
  type Generation,
  type GenerationBegin,
  inlineWorkbench,
  logicalHash,
  memorySink,
  metaPagesFor,
  metaSlot,
  openArchive,
  PageferryError,
  parseGeneration,
  parseObjectName,
  planFromArchive,
  readObject,
  segmentAttrs,
  segmentName,
  snapshotName,
  type TxId,
  txId,
} from "@pageferry/format";
import { collect, memorySpool } from "@pageferry/format/fixtures";
import { directoryReader } from "@pageferry/format/node";
import type { ReplicaItem } from "@pageferry/functions";

const golden = join(import.meta.dirname, "../golden");

/** A generation of a golden archive. */
export interface GoldenHistory {
  readonly name: string;
  readonly begin: GenerationBegin;
  /** The snapshot it begins with. */
  readonly base: ReplicaItem;
  /** The transactions after it, one segment each, ascending. */
  readonly segments: readonly ReplicaItem[];
  /** The hash of what the live database held, by transaction. */
  readonly truth: ReadonlyMap<TxId, string>;
}

const beginMs = Date.UTC(2026, 5, 1);

/** When a transaction was committed: one each second. */
export function stampOf(id: TxId): number {
  return beginMs + Number(id) * 1000;
}

/** What an image holds, in the words of truth.json; throws unless it checks clean in full. */
export function contentOf(image: Uint8Array, pageSize: number): string {
  const { source, meta } = checked(image, pageSize);
  return logicalHash(source, meta);
}

/** Reads the generations of an archive, those of `replica`, `replica-nofreelist` or `replica-16k-none`. */
export async function goldenHistories(archive: string): Promise<GoldenHistory[]> {
  const { transactions } = JSON.parse(readFileSync(join(golden, archive, "truth.json"), "utf8")) as {
    readonly transactions: readonly Record<"generation" | "txId" | "logicalSha256", string>[];
  };
  const generations = [...new Set(transactions.map(({ generation }) => generation))];
  return Promise.all(
    generations.map((generation) => {
      const own = transactions.filter((one) => one.generation === generation);
      const truth = new Map(own.map((one) => [txId(BigInt(one.txId)), one.logicalSha256]));
      return historyOf(archive, parseGeneration(generation), truth);
    }),
  );
}

async function historyOf(
  archive: string,
  generation: Generation,
  truth: ReadonlyMap<TxId, string>,
): Promise<GoldenHistory> {
  const reader = directoryReader(join(golden, archive, "data"));
  const [first, ...rest] = [...truth.keys()] as [TxId, ...TxId[]];
  const sink = memorySink();
  const plan = await planFromArchive(await openArchive([reader]), { generation, txId: first });
  const { pageSize } = await executeRestore({
    plan,
    readers: [reader],
    sink,
    workbench: inlineWorkbench(sink),
  });
  let image = sink.bytes() as Uint8Array;
  const base = await snapshotOf(generation, first, image, pageSize);
  const segments: ReplicaItem[] = [];
  for (const id of rest) {
    const before = checked(image, pageSize);
    const name = `${generation}/segments/${formatTxId(id)}.segment.cbor`;
    const { header, pages } = decodeSegment(await readObject(reader, name, { bytesMax: 1e8 }));
    image = applySegment(image, { header, pages });
    const meta = deriveMeta({ ...header, frames: pages }, before.meta);
    const page = encodeMetaPage({ ...meta, root: meta.root ?? before.meta.root }, metaSlot(id));
    for (const [slot, data] of metaPagesFor(page).entries()) image.set(data, slot * pageSize);
    const { stateHash } = checked(image, pageSize);
    const body = encodeSegment({
      ...{ txId: id, parentTxId: header.parentTxId, pageSize, highWaterMark: header.highWaterMark },
      createdAt: Math.floor(stampOf(id) / 1000),
      attrs: segmentAttrs({ pre: before.stateHash, post: stateHash, stampMs: stampOf(id), source: "shadow" }),
      pages: [{ id: BigInt(metaSlot(id)), overflow: 0, data: page }, ...pages],
    });
    const { parentTxId } = header;
    segments.push(itemOf(segmentName({ generation, parentTxId, txId: id, stampMs: stampOf(id) }), body));
  }
  const begin = { generation, parent: null, reason: "first" as const, epoch: 1, host: "host", pageSize };
  return { name: `${archive}/${generation}`, begin, base, segments, truth };
}

async function snapshotOf(
  generation: Generation,
  id: TxId,
  image: Uint8Array,
  pageSize: number,
): Promise<ReplicaItem> {
  const stampMs = stampOf(id);
  const encoded = await encodeSnapshot(
    (async function* () {
      yield image;
    })(),
    {
      ...{ txId: id, pageSize, stampMs, createdAt: Math.floor(stampMs / 1000) },
      pageCount: BigInt(image.length / pageSize),
      stateHash: checked(image, pageSize).stateHash,
    },
    { spool: memorySpool() },
  );
  return itemOf(snapshotName({ generation, txId: id, stampMs }), await collect(encoded.open()));
}

function itemOf(name: string, body: Uint8Array): ReplicaItem {
  return { name: parseObjectName(name) as ReplicaItem["name"], body };
}

function checked(image: Uint8Array, pageSize: number) {
  const source = {
    pageSize,
    size: image.length,
    read: (page: number, count: number) => image.subarray(page * pageSize, (page + count) * pageSize),
  };
  const { meta, stateHash, problems } = checkDatabase(source, { mode: "full" });
  if (meta === undefined || stateHash === undefined || problems.length > 0)
    throw new PageferryError("corrupt", `not a sound database: ${problems.join("; ")}`);
  return { source, meta, stateHash };
}
