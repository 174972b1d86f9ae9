// Meta pages of a bolt file: parse, validate, make, and derive one that a segment does not carry. docs/format.md#meta-page
// has the layout.
import { PageferryError } from "../errors.ts";
import { pageSizeMax, pageSizeMin } from "../limits.ts";
import { type TxId, txId } from "../txid.ts";
import {
  branchChildren,
  isTreePage,
  leafBuckets,
  pageFlagFreelist,
  pageFlagMeta,
  pageHeader,
} from "./page.ts";

/** Everything a meta page says, without the checksum that follows from it. */
export interface MetaFields {
  /** Bytes of one page block: a power of two up to 64 KiB. */
  readonly pageSize: number;
  readonly flags: number;
  /** Page id of the root bucket's root. */
  readonly root: number;
  /** The root bucket's sequence, in practice 0. */
  readonly sequence: bigint;
  /** Page id of the freelist; null where the file holds none (NoFreelistSync). */
  readonly freelist: number | null;
  /** The first page id that was never allocated: the database is this many pages long. */
  readonly highWaterMark: number;
  readonly txId: TxId;
}

/** A valid meta page. */
export interface Meta extends MetaFields {
  /** FNV-1a 64 of the meta's bytes [16, 72) of the page. */
  readonly checksum: bigint;
}

/** Bytes of a page that a meta needs: the page header and the meta itself. */
export const metaBytes = 80;

const magic = 0xed0cdaed;
const version = 2;
const noFreelist = 0xffffffffffffffffn;

/** Tells whether `size` can be a page size of a bolt file. */
function isPageSize(size: number): boolean {
  return size >= pageSizeMin && size <= pageSizeMax && (size & (size - 1)) === 0;
}

/**
 * Reads the meta of a page's first 80 bytes or more. Undefined: torn, not a meta, or with a page size out of range. The
 * page's own header is not looked at, as in bolt itself.
 */
export function parseMeta(block: Uint8Array): Meta | undefined {
  if (block.length < metaBytes) return undefined;
  const view = new DataView(block.buffer, block.byteOffset, metaBytes);
  if (view.getUint32(16, true) !== magic || view.getUint32(20, true) !== version) return undefined;
  const sum = checksumHalves(block);
  if (view.getUint32(72, true) !== sum.low || view.getUint32(76, true) !== sum.high) return undefined;
  const pageSize = view.getUint32(24, true);
  if (!isPageSize(pageSize)) return undefined;
  const freelist = view.getBigUint64(48, true);
  return {
    pageSize,
    flags: view.getUint32(28, true),
    root: idAt(view, 32),
    sequence: view.getBigUint64(40, true),
    freelist: freelist === noFreelist ? null : Number(freelist),
    highWaterMark: idAt(view, 56),
    txId: txId(view.getBigUint64(64, true)),
    checksum: view.getBigUint64(72, true),
  };
}

/** Makes the whole meta page that slot 0 or 1 holds: page header, meta with its checksum, and zeros. */
export function encodeMetaPage(meta: MetaFields, slot: 0 | 1): Uint8Array<ArrayBuffer> {
  const page = new Uint8Array(meta.pageSize);
  const view = new DataView(page.buffer);
  view.setUint32(0, slot, true);
  view.setUint16(8, pageFlagMeta, true);
  view.setUint32(16, magic, true);
  view.setUint32(20, version, true);
  view.setUint32(24, meta.pageSize, true);
  view.setUint32(28, meta.flags, true);
  view.setBigUint64(32, BigInt(meta.root), true);
  view.setBigUint64(40, meta.sequence, true);
  view.setBigUint64(48, meta.freelist === null ? noFreelist : BigInt(meta.freelist), true);
  view.setBigUint64(56, BigInt(meta.highWaterMark), true);
  view.setBigUint64(64, meta.txId, true);
  const sum = checksumHalves(page);
  view.setUint32(72, sum.low, true);
  view.setUint32(76, sum.high, true);
  return page;
}

/** The meta that bolt would use: the valid one with the higher txid, the first of two equals. Undefined: neither is valid. */
export function newestMeta(block0: Uint8Array, block1: Uint8Array): Meta | undefined {
  const meta0 = parseMeta(block0);
  const meta1 = parseMeta(block1);
  if (meta0 === undefined || meta1 === undefined) return meta0 ?? meta1;
  return meta1.txId > meta0.txId ? meta1 : meta0;
}

/** The slot, which is also the page id, that a transaction's meta is written to. */
export function metaSlot(id: TxId): 0 | 1 {
  return (id & 1n) === 0n ? 0 : 1;
}

/**
 * Both meta pages of a database at the transaction of `metaPage`: its slot T%2 holds it, the other the same with txid T-1,
 * so that either serves. Transaction 0 has no forerunner; its other slot is a meta page that is not valid. Throws `corrupt`
 * when `metaPage` holds no valid meta.
 */
export function metaPagesFor(metaPage: Uint8Array): [Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>] {
  const meta = parseMeta(metaPage);
  if (meta === undefined)
    throw new PageferryError("corrupt", "meta page: magic, version or checksum does not hold");
  const slot = metaSlot(meta.txId);
  const own = encodeMetaPage(meta, slot);
  const otherSlot = slot === 0 ? 1 : 0;
  let other: Uint8Array<ArrayBuffer>;
  if (meta.txId === 0n) {
    other = new Uint8Array(meta.pageSize);
    other[0] = otherSlot;
    other[8] = pageFlagMeta;
  } else {
    other = encodeMetaPage({ ...meta, txId: txId(meta.txId - 1n) }, otherSlot);
  }
  return slot === 0 ? [own, other] : [other, own];
}

/** What a segment that carries no meta page says about it: enough to derive one. */
export interface MetaEvidence {
  readonly txId: TxId;
  readonly pageSize: number;
  readonly highWaterMark: bigint | number;
  /** One bolt run each, as the Go implementation writes them. Merged frames will not do: they need not begin with a header. */
  readonly frames: readonly {
    readonly id: bigint | number;
    readonly data: Uint8Array;
  }[];
}

/** A meta that was derived; its root is undefined where the transaction wrote no tree page and the parent is not known. */
export type DerivedMeta = Omit<MetaFields, "root"> & {
  readonly root: number | undefined;
};

/**
 * The meta page of a transaction whose segment does not hold it: the freelist is the one freelist frame, the root the one tree
 * frame that no other frame refers to, else the parent's. Throws `corrupt` when two frames could be it.
 */
export function deriveMeta(
  evidence: MetaEvidence,
  parent?: Pick<MetaFields, "root" | "sequence">,
): DerivedMeta {
  const trees = new Set<number>();
  const referred = new Set<number>();
  let freelist: number | null = null;
  for (const frame of evidence.frames) {
    const id = Number(frame.id);
    const { flags } = pageHeader(frame.data);
    if (id < 2) continue;
    if (flags === pageFlagFreelist) {
      if (freelist !== null) throw twoCandidates(evidence, "freelist", freelist, id);
      freelist = id;
    } else if (isTreePage(flags)) {
      trees.add(id);
      for (const child of branchChildren(frame.data)) referred.add(child);
      for (const child of leafBuckets(frame.data)) referred.add(child);
    } else {
      throw new PageferryError(
        "corrupt",
        `page ${id}: flags 0x${flags.toString(16)} are neither tree nor freelist`,
      );
    }
  }
  let root: number | undefined;
  for (const id of trees) {
    if (referred.has(id)) continue;
    if (root !== undefined) throw twoCandidates(evidence, "root", root, id);
    root = id;
  }
  if (root === undefined && trees.size > 0) {
    throw new PageferryError(
      "corrupt",
      `transaction ${evidence.txId}: every tree page is referred to by another, none is the root`,
    );
  }
  return {
    pageSize: evidence.pageSize,
    flags: 0,
    root: root ?? parent?.root,
    sequence: parent?.sequence ?? 0n,
    freelist,
    highWaterMark: Number(evidence.highWaterMark),
    txId: evidence.txId,
  };
}

function twoCandidates(evidence: MetaEvidence, what: string, first: number, second: number): PageferryError {
  return new PageferryError(
    "corrupt",
    `transaction ${evidence.txId}: pages ${first} and ${second} could both be the ${what}`,
  );
}

/**
 * Finds the page size of a bolt file, also when meta 0 is torn: then meta 1 is looked for at every page size. `readAt` gives up to
 * `length` bytes at `offset`, fewer at the end of the file. Undefined: not a bolt file.
 */
export function detectPageSize(readAt: (offset: number, length: number) => Uint8Array): number | undefined {
  const first = parseMeta(readAt(0, metaBytes));
  if (first !== undefined) return first.pageSize;
  for (let size = pageSizeMin; size <= pageSizeMax; size *= 2) {
    // Meta 1 begins where page 1 does, so one that names another size is an old page's content.
    if (parseMeta(readAt(size, metaBytes))?.pageSize === size) return size;
  }
  return undefined;
}

function idAt(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

/** FNV-1a 64 over [16, 72), in 32-bit halves: capture polls this, so no BigInt is made per byte. */
function checksumHalves(block: Uint8Array): {
  readonly low: number;
  readonly high: number;
} {
  let low = 0x84222325;
  let high = 0xcbf29ce4;
  for (let at = 16; at < 72; at += 1) {
    low = (low ^ (block[at] as number)) >>> 0;
    // Times 2^40 + 0x1b3: the first summand moves the low half 8 bits up into the high one.
    const product = low * 0x1b3;
    high = (Math.imul(high, 0x1b3) + Math.floor(product / 2 ** 32) + (low << 8)) >>> 0;
    low = product >>> 0;
  }
  return { low, high };
}
