// For tests: what an archive may hold of a model database, encoded as the agent and fan-out encode it, and restores of it.

import {
  encodePack,
  encodeSegment,
  encodeSnapshot,
  executeRestore,
  type Generation,
  type GenerationBegin,
  inlineWorkbench,
  memorySink,
  openArchive,
  packName,
  parseGeneration,
  parseObjectName,
  planFromArchive,
  type RestoreTarget,
  segmentAttrs,
  segmentName,
  snapshotName,
  txId,
} from "@pageferry/format";
import { memorySpool } from "@pageferry/format/fixtures";
import type { StateObjectName } from "../src/describe.ts";
import type { Replica } from "../src/replica.ts";
import type { ReplicaItem } from "../src/replica-put.ts";
import { type BoltModel, framesOf, modelPageSize } from "./bolt-model.ts";

/** One generation of a model: what encodes its transactions, and when they were committed. */
export interface ModelLine {
  readonly generation: Generation;
  readonly begin: GenerationBegin;
  readonly model: BoltModel;
  /** The commit stamp of a transaction. */
  readonly stampMs: (id: number) => number;
}

/** The first generation of a model, under a name of few hex digits. */
export function firstLine(model: BoltModel, hex: string, stampMs: (id: number) => number): ModelLine {
  const generation = parseGeneration(hex.padStart(16, "0"));
  const begin = {
    ...{ generation, parent: null, host: "h", pageSize: modelPageSize },
    ...{ reason: "first" as const, epoch: 1 },
  };
  return { generation, begin, model, stampMs };
}

/** The range (parent, id] as the agent sends it. */
export function segmentItem(line: ModelLine, parent: number, id: number, isThrifty = true): ReplicaItem {
  return { name: nameOf(segmentNameOf(line, parent, id)), body: segmentBytes(line, parent, id, isThrifty) };
}

/** Single transactions and ranges side by side, as fan-out packs them: `ids` are the states between, both ends included. */
export function packItem(line: ModelLine, ids: readonly number[]): ReplicaItem {
  const [first, last] = [ids[0] as number, ids.at(-1) as number];
  const name = packName({
    generation: line.generation,
    parentTxId: txId(first),
    txId: txId(last),
    stampMs: line.stampMs(last),
  });
  const parts = ids.slice(1).map((id, at) => ({ bytes: segmentBytes(line, ids[at] as number, id, true) }));
  return { name: nameOf(name), body: encodePack(parts) };
}

/** A snapshot as the agent sends it. */
export async function snapshotItem(line: ModelLine, id: number): Promise<ReplicaItem> {
  const { generation, model } = line;
  const state = model.at(id);
  const encoded = await encodeSnapshot(
    chunksOf(state.image()),
    {
      txId: txId(id),
      pageSize: modelPageSize,
      createdAt: Math.floor(line.stampMs(id) / 1000),
      pageCount: BigInt(state.meta.highWaterMark),
      stateHash: state.stateHash,
      stampMs: line.stampMs(id),
    },
    { spool: memorySpool() },
  );
  const name = snapshotName({ generation, txId: txId(id), stampMs: line.stampMs(id) });
  return { name: nameOf(name), body: Buffer.concat(await Array.fromAsync(encoded.open())) };
}

function segmentNameOf({ generation, stampMs }: ModelLine, parent: number, id: number): string {
  return segmentName({ generation, parentTxId: txId(parent), txId: txId(id), stampMs: stampMs(id) });
}

function segmentBytes(
  { model, stampMs }: ModelLine,
  parent: number,
  id: number,
  isThrifty: boolean,
): Uint8Array {
  const state = model.at(id);
  return encodeSegment({
    txId: txId(id),
    parentTxId: txId(parent),
    pageSize: modelPageSize,
    highWaterMark: BigInt(state.meta.highWaterMark),
    createdAt: Math.floor(stampMs(id) / 1000),
    attrs: segmentAttrs({
      pre: model.at(parent).stateHash,
      post: state.stateHash,
      stampMs: stampMs(id),
      source: "bolt-file",
    }),
    pages: framesOf(model, parent, id, isThrifty),
  });
}

function nameOf(name: string): StateObjectName {
  return parseObjectName(name) as StateObjectName;
}

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Restores a point from one replica alone into memory, fully checked: the engine throws for anything that does not hold. */
export async function restoreImage(
  replica: Pick<Replica, "reader">,
  target: RestoreTarget,
): Promise<Uint8Array> {
  const archive = await openArchive([replica.reader]);
  const plan = await planFromArchive(archive, target);
  const sink = memorySink();
  await executeRestore({
    plan,
    readers: archive.readers,
    sink,
    workbench: inlineWorkbench(sink),
    integrity: "full",
  });
  const image = sink.bytes();
  if (image === undefined) throw new Error("the restore published nothing");
  return image;
}

/** Whether every live block of a state stands in an image, and the image is exactly as long as the state. */
export function holdsState(image: Uint8Array, model: BoltModel, id: number): boolean {
  const { live, meta } = model.at(id);
  if (image.length !== meta.highWaterMark * modelPageSize) return false;
  return live.every(({ id: page, data }) => {
    const at = page * modelPageSize;
    return Buffer.compare(image.subarray(at, at + data.length), data) === 0;
  });
}
