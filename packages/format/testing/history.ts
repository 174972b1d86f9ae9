// A made-up history of a small, sound bolt database, and the objects that an archive may hold of it: for tests of restore. Page 2 is the
// root, a branch; every other page is a leaf of one key, rewritten in place, which bolt never does and a restore never asks.

import { checkDatabase } from "../src/bolt/check.ts";
import { encodeMetaPage, metaPagesFor, metaSlot } from "../src/bolt/meta.ts";
import type { PageSource } from "../src/bolt/tree.ts";
import type { CompressionConfig } from "../src/config-compression.ts";
import { type Generation, packName, segmentName, snapshotName } from "../src/names.ts";
import { encodePack } from "../src/pack.ts";
import type { Spool } from "../src/ports.ts";
import { encodeSegment } from "../src/segment.ts";
import { segmentAttrs } from "../src/segment-header.ts";
import { encodeSnapshot } from "../src/snapshot-encode.ts";
import type { StateHash } from "../src/state-hash.ts";
import { txId } from "../src/txid.ts";

export const pageSize = 512;
const rootPage = 2;
const firstLeaf = 3;

/** An object of an archive. */
export interface StoredObject {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** How to make a range. */
export interface RangeOptions {
  readonly compression?: CompressionConfig;
  readonly isHashed?: boolean;
}

/** A history: transaction n is committed at n seconds, and writes the leaves that it was given. */
export interface History {
  readonly newest: number;
  /** The whole database at a transaction, as a restore has to give it. */
  image(id: number): Uint8Array;
  stateHash(id: number): StateHash;
  segment(parent: number, id: number, options?: RangeOptions): StoredObject;
  pack(ids: readonly number[]): StoredObject;
  snapshot(
    id: number,
    options?: { readonly compression?: CompressionConfig; readonly isHashed?: boolean },
  ): Promise<StoredObject>;
}

/** Makes a history in which transaction n writes leaves `writes[n - 1]` (numbers below `leaves`). Transaction 0 writes all. */
export function makeHistory(
  generation: Generation,
  leaves: number,
  writes: readonly (readonly number[])[],
): History {
  const highWaterMark = firstLeaf + leaves;
  const valueAt = (leaf: number, id: number): number => {
    for (let at = id; at > 0; at -= 1) if (writes[at - 1]?.includes(leaf) === true) return at;
    return 0;
  };
  const image = (id: number): Uint8Array => {
    const bytes = new Uint8Array(highWaterMark * pageSize);
    const [meta0, meta1] = metaPagesFor(metaPage(id, highWaterMark));
    bytes.set(meta0, 0);
    bytes.set(meta1, pageSize);
    bytes.set(rootOf(leaves), rootPage * pageSize);
    for (let leaf = 0; leaf < leaves; leaf += 1)
      bytes.set(leafOf(leaf, valueAt(leaf, id)), (firstLeaf + leaf) * pageSize);
    return bytes;
  };
  const stateHash = (id: number): StateHash => {
    const { problems, stateHash: hash } = checkDatabase(sourceOf(image(id)), { mode: "full" });
    if (hash === undefined || problems.length > 0)
      throw new Error(`the made-up database is broken: ${problems.join("; ")}`);
    return hash;
  };
  const segment = (parent: number, id: number, options: RangeOptions = {}): StoredObject => {
    const written = new Set(Array.from({ length: id - parent }, (_, at) => writes[parent + at] ?? []).flat());
    const pages = [...written]
      .sort((a, b) => a - b)
      .map((leaf) => ({ id: BigInt(firstLeaf + leaf), overflow: 0, data: leafOf(leaf, valueAt(leaf, id)) }));
    const hashes = options.isHashed === false ? {} : { pre: stateHash(parent), post: stateHash(id) };
    const bytes = encodeSegment(
      {
        txId: txId(id),
        parentTxId: txId(parent),
        pageSize,
        highWaterMark: BigInt(highWaterMark),
        createdAt: id,
        attrs: segmentAttrs({ ...hashes, stampMs: id * 1000 }),
        pages: [{ id: BigInt(metaSlot(txId(id))), overflow: 0, data: metaPage(id, highWaterMark) }, ...pages],
      },
      options.compression === undefined ? {} : { compression: options.compression },
    );
    return {
      name: segmentName({ generation, parentTxId: txId(parent), txId: txId(id), stampMs: id * 1000 }),
      bytes,
    };
  };
  return {
    newest: writes.length,
    image,
    stateHash,
    segment,
    pack(ids) {
      const parts = ids.slice(1).map((id, at) => segment(ids[at] as number, id));
      const [parent, id] = [ids[0] as number, ids.at(-1) as number];
      const name = packName({ generation, parentTxId: txId(parent), txId: txId(id), stampMs: id * 1000 });
      return { name, bytes: encodePack(parts) };
    },
    async snapshot(id, options = {}) {
      const raw = image(id);
      const encoded = await encodeSnapshot(
        chunksOf(raw),
        {
          txId: txId(id),
          pageSize,
          createdAt: id,
          pageCount: BigInt(highWaterMark),
          stampMs: id * 1000,
          ...(options.isHashed === false ? {} : { stateHash: stateHash(id) }),
        },
        {
          spool: memorySpool(),
          ...(options.compression === undefined ? {} : { compression: options.compression }),
        },
      );
      const name = snapshotName({ generation, txId: txId(id), stampMs: id * 1000 });
      return { name, bytes: Buffer.concat(await Array.fromAsync(encoded.open())) };
    },
  };
}

function metaPage(id: number, highWaterMark: number): Uint8Array {
  const fields = {
    pageSize,
    flags: 0,
    root: rootPage,
    sequence: 0n,
    freelist: null,
    highWaterMark,
    txId: txId(id),
  };
  return encodeMetaPage(fields, metaSlot(txId(id)));
}

function rootOf(leaves: number): Uint8Array {
  const page = pageOf(rootPage, 1, leaves);
  for (let leaf = 0; leaf < leaves; leaf += 1) {
    const element = 16 + leaf * 16;
    const key = 16 + leaves * 16 + leaf;
    page.writeUInt32LE(key - element, element);
    page.writeUInt32LE(1, element + 4);
    page.writeUInt32LE(firstLeaf + leaf, element + 8);
    page[key] = leaf;
  }
  return page;
}

function leafOf(leaf: number, value: number): Uint8Array {
  const page = pageOf(firstLeaf + leaf, 2, 1);
  page.writeUInt32LE(16, 20);
  page.writeUInt32LE(1, 24);
  page.writeUInt32LE(4, 28);
  page[32] = leaf;
  page.writeUInt32LE(value, 33);
  return page;
}

function pageOf(id: number, flags: number, count: number): Buffer {
  const page = Buffer.alloc(pageSize);
  page.writeUInt32LE(id, 0);
  page.writeUInt16LE(flags, 8);
  page.writeUInt16LE(count, 10);
  return page;
}

/** Reads pages out of an image. */
function sourceOf(bytes: Uint8Array): PageSource & { readonly size: number } {
  return {
    pageSize,
    size: bytes.length,
    read: (page, count) => bytes.subarray(page * pageSize, (page + count) * pageSize),
  };
}

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function memorySpool(): Spool {
  const parts: Uint8Array[] = [];
  return {
    async write(bytes) {
      parts.push(new Uint8Array(bytes));
    },
    size: () => parts.reduce((sum, part) => sum + part.length, 0),
    async *open() {
      yield* parts;
    },
    async remove() {
      parts.length = 0;
    },
  };
}
