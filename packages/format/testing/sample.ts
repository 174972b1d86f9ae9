// A real database that tests break in one way each.
import { type CheckResult, checkDatabase } from "../src/bolt/check.ts";
import { parseFreelist } from "../src/bolt/freelist.ts";
import { encodeMetaPage, type Meta, metaPagesFor, metaSlot, newestMeta } from "../src/bolt/meta.ts";
import { image, imageSource } from "./golden.ts";

/** The sample, and the ways to change it. */
export type Sample = ReturnType<typeof sample>;

/** What a check says of it. */
export function check(database: Sample, mode: "full" | "quick" = "full"): CheckResult {
  const source = imageSource(database.bytes, database.pageSize);
  // Some expectation, so that quick stays quick.
  return checkDatabase(source, mode === "quick" ? { mode, expectedStateHash: 0n } : { mode });
}

/**
 * A database with freelist, nested buckets, branches and large values. Page 71 is a branch of 32 leaves (2, 49, 8, 9, …), 79 a leaf
 * of 15 blocks, 34 a leaf with a bucket whose root is the branch 28 over the leaves 7 and 26; 73 is the freelist, 72 the root.
 */
export function sample() {
  const { bytes, pageSize } = image("replica");
  const view = new DataView(bytes.buffer);
  const meta = newestMeta(bytes, bytes.subarray(pageSize)) as Meta;
  const freelist = meta.freelist as number;
  const free = [...parseFreelist(bytes.subarray(freelist * pageSize, (freelist + 1) * pageSize))];
  const u8 = (id: number, at: number, value: number): void => view.setUint8(id * pageSize + at, value);
  const u32 = (id: number, at: number, value: number): void =>
    view.setUint32(id * pageSize + at, value, true);
  const element = (id: number, index: number): number => id * pageSize + 16 + 16 * index;
  /** Position (relative to the element), key size and the rest of an element, and where position is. */
  const isBranch = (id: number): boolean => bytes[id * pageSize + 8] === 1;
  const positionAt = (id: number, index: number): number => element(id, index) + (isBranch(id) ? 0 : 4);
  return {
    bytes,
    pageSize,
    meta,
    free,
    u8,
    u32,
    setMeta(change: Partial<Meta>) {
      const pages = metaPagesFor(encodeMetaPage({ ...meta, ...change }, metaSlot(meta.txId)));
      for (const [slot, page] of pages.entries()) bytes.set(page, slot * pageSize);
    },
    setFree(ids: readonly number[]) {
      view.setUint16(freelist * pageSize + 10, ids.length, true);
      for (const [index, id] of ids.entries())
        view.setBigUint64(freelist * pageSize + 16 + 8 * index, BigInt(id), true);
    },
    tearMetas() {
      for (const slot of [0, 1]) u8(slot, 40, 0xff);
    },
    /** Gives the freelist the block after it as well, which is a live or free page. */
    growFreelist: () => u32(freelist, 12, 1),
    swapElements(id: number, index: number) {
      const [first, second] = [
        bytes.slice(element(id, index), element(id, index + 1)),
        bytes.slice(element(id, index + 1), element(id, index + 2)),
      ];
      bytes.set(second, element(id, index));
      bytes.set(first, element(id, index + 1));
      view.setUint32(positionAt(id, index), view.getUint32(positionAt(id, index), true) + 16, true);
      view.setUint32(positionAt(id, index + 1), view.getUint32(positionAt(id, index + 1), true) - 16, true);
    },
    sameElement(id: number, index: number) {
      bytes.copyWithin(element(id, index + 1), element(id, index), element(id, index + 1));
      view.setUint32(positionAt(id, index + 1), view.getUint32(positionAt(id, index), true) - 16, true);
    },
    swapChildren(id: number, index: number) {
      const [first, second] = [element(id, index) + 8, element(id, index + 1) + 8];
      const child = view.getUint32(first, true);
      view.setUint32(first, view.getUint32(second, true), true);
      view.setUint32(second, child, true);
    },
    /** Overwrites the first byte of a key. */
    keyByte(id: number, index: number, value: number) {
      view.setUint8(element(id, index) + view.getUint32(positionAt(id, index), true), value);
    },
  };
}
