// One database, spread over the objects of an archive as a history would have left it: of each page the newest copy in some object, and what
// lies below it in older ones is something else.

import type { ArchiveReader } from "../src/archive-reader.ts";
import { encodeMetaPage, metaSlot } from "../src/bolt/meta.ts";
import { type CompressionConfig, defaultCompression } from "../src/config-compression.ts";
import { PageferryError } from "../src/errors.ts";
import { memorySpool, seeded } from "../src/fixtures.ts";
import { type Generation, packName, parseGeneration, segmentName, snapshotName } from "../src/names.ts";
import { encodePack } from "../src/pack.ts";
import { encodeSegment } from "../src/segment.ts";
import { segmentAttrs } from "../src/segment-header.ts";
import { encodeSnapshot } from "../src/snapshot-encode.ts";
import type { StateHash } from "../src/state-hash.ts";
import { txId } from "../src/txid.ts";
import type { BoltImage } from "./bolt-image.ts";
import type { StoredObject } from "./history.ts";

export const generation: Generation = parseGeneration("00000000000000a1");

/** How to spread it. */
export interface LayerOptions {
  /** Segments above the snapshot. */
  readonly steps?: number;
  /** Whether the newest steps lie in a pack. */
  readonly isPacked?: boolean;
  readonly compression?: CompressionConfig;
  readonly seed?: number;
  /** Which step (0 is the snapshot) has the newest copy of a page. Default: any. */
  readonly stepOf?: (page: number) => number;
  /** `pre` of the newest step; its other hashes are made up alike. */
  readonly pre?: bigint;
}

/** The objects of an archive whose newest point is the image. */
export async function layersOf(image: BoltImage, options: LayerOptions = {}): Promise<StoredObject[]> {
  const { steps = 0, isPacked = false, seed = 1, compression = defaultCompression } = options;
  const { pageSize, meta, bytes } = image;
  const random = seeded(seed);
  const stepOf = options.stepOf ?? ((): number => random() % (steps + 1));
  const pages = Array.from({ length: meta.highWaterMark }, (_, page) => (page < 2 ? 0 : stepOf(page)));
  const newest = Number(meta.txId);
  const below = bytes.slice();
  for (const [page, step] of pages.entries())
    if (step > 0) below.fill(0xa5, page * pageSize, (page + 1) * pageSize);
  const firstId = newest - steps;
  const metaAt = (id: number): Uint8Array => {
    const fields = { ...meta, txId: txId(id), root: id === newest ? meta.root : meta.highWaterMark - 1 };
    return encodeMetaPage(fields, metaSlot(fields.txId));
  };
  below.set(metaAt(firstId), metaSlot(txId(firstId)) * pageSize);
  below.set(metaAt(firstId - 1), metaSlot(txId(firstId - 1)) * pageSize);
  const segments = Array.from({ length: steps }, (_, at) => {
    const step = at + 1;
    const id = firstId + step;
    const own = [...pages.entries()].flatMap(([page, newestStep]) => {
      if (page < 2 || newestStep < step || (newestStep > step && random() % 3 > 0)) return [];
      const data =
        newestStep === step
          ? bytes.subarray(page * pageSize, (page + 1) * pageSize)
          : Buffer.alloc(pageSize, step);
      return [{ id: BigInt(page), overflow: 0, data }];
    });
    const pre = (step === steps ? options.pre : undefined) ?? BigInt(id - 1);
    return {
      id,
      bytes: encodeSegment(
        {
          ...{ txId: txId(id), parentTxId: txId(id - 1), pageSize, createdAt: id },
          highWaterMark: BigInt(meta.highWaterMark),
          attrs: segmentAttrs({ pre: pre as StateHash, post: BigInt(id) as StateHash, stampMs: id * 1000 }),
          pages: [{ id: BigInt(metaSlot(txId(id))), overflow: 0, data: metaAt(id) }, ...own],
        },
        { compression },
      ),
    };
  });
  return [await snapshotOf(below, image, firstId, compression), ...named(segments, isPacked)];
}

function named(
  segments: readonly { readonly id: number; readonly bytes: Uint8Array }[],
  isPacked: boolean,
): StoredObject[] {
  const alone = isPacked ? segments.slice(0, -3) : segments;
  const packed = segments.slice(alone.length);
  const names = (from: number, to: number) => ({
    ...{ generation, parentTxId: txId(from), txId: txId(to), stampMs: to * 1000 },
  });
  const objects = alone.map(({ id, bytes }) => ({ name: segmentName(names(id - 1, id)), bytes }));
  const [first, last] = [packed[0], packed.at(-1)];
  if (first === undefined || last === undefined) return objects;
  return [...objects, { name: packName(names(first.id - 1, last.id)), bytes: encodePack(packed) }];
}

async function snapshotOf(
  raw: Uint8Array,
  { pageSize, meta }: BoltImage,
  id: number,
  compression: CompressionConfig,
): Promise<StoredObject> {
  const encoded = await encodeSnapshot(
    chunksOf(raw),
    {
      ...{ txId: txId(id), pageSize, createdAt: id, stampMs: id * 1000 },
      ...{ pageCount: BigInt(meta.highWaterMark), stateHash: BigInt(id) as StateHash },
    },
    { spool: memorySpool(), compression },
  );
  const name = snapshotName({ generation, txId: txId(id), stampMs: id * 1000 });
  return { name, bytes: Buffer.concat(await Array.fromAsync(encoded.open())) };
}

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Objects in memory as a reader, which tells what is asked of it. */
export function memoryReader(
  objects: readonly StoredObject[],
  options: { readonly name?: string; readonly onGet?: (name: string, bytes: number) => void } = {},
): ArchiveReader {
  const map = new Map(objects.map(({ name, bytes }) => [name, bytes]));
  return {
    name: options.name ?? "memory",
    async *list() {
      for (const [name, bytes] of map) yield { name, size: bytes.length };
    },
    async get(name, { offset = 0, length, signal } = {}) {
      signal?.throwIfAborted();
      const bytes = map.get(name)?.slice(offset, length === undefined ? undefined : offset + length);
      if (bytes === undefined) throw new PageferryError("not-found", `${name}: not here`);
      options.onGet?.(name, bytes.length);
      return (async function* () {
        yield bytes;
      })();
    },
  };
}
