// Bolt databases of any content, laid out as bolt would at once: leaves as full as they get, inline buckets, overflow runs, branches above.

import { encodeMetaPage, type MetaFields, metaPagesFor, metaSlot } from "../src/bolt/meta.ts";
import { txId } from "../src/txid.ts";

/** A bucket: values and buckets by name, each name a string of bytes (latin1). */
export interface BucketTree extends ReadonlyMap<string, Uint8Array | BucketTree> {}

/** A database file. */
export interface BoltImage {
  readonly bytes: Uint8Array;
  readonly pageSize: number;
  readonly meta: MetaFields;
}

interface Element {
  readonly flags: number;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly child: number;
}

/** Writes a database at a transaction. No freelist: what is not live is free. */
export function boltImage(
  tree: BucketTree,
  { pageSize = 4096, id = 7 }: { readonly pageSize?: number; readonly id?: number } = {},
): BoltImage {
  const pages: Uint8Array[] = [];
  let next = 2;

  const place = (flags: number, elements: readonly Element[]): number => {
    const size = pageBytes(elements);
    const blocks = Math.max(1, Math.ceil(size / pageSize));
    const page = Buffer.alloc(blocks * pageSize);
    page.writeUInt32LE(next, 0);
    writePage(page, flags, elements);
    page.writeUInt32LE(blocks - 1, 12);
    pages.push(page);
    next += blocks;
    return next - blocks;
  };

  /** Pages of one level, and an element for each in the level above. */
  const level = (flags: number, elements: readonly Element[]): Element[] => {
    const above: Element[] = [];
    for (let from = 0; from < elements.length; ) {
      let to = from + 1;
      let size = pageBytes(elements.slice(from, to));
      for (; to < elements.length; to += 1) {
        size += elementSize(elements[to] as Element);
        // A branch has two children at least, however long their keys are: each level is shorter than the one below.
        if (size > pageSize && (flags === 2 || to - from >= 2)) break;
      }
      const child = place(flags, elements.slice(from, to));
      above.push({ flags: 0, key: (elements[from] as Element).key, value: new Uint8Array(0), child });
      from = to;
    }
    return above;
  };

  const rootOf = (elements: readonly Element[]): number => {
    if (elements.length === 0) return place(2, []);
    let above = level(2, elements);
    while (above.length > 1) above = level(1, above);
    return (above[0] as Element).child;
  };

  const elementsOf = (bucket: BucketTree): Element[] =>
    [...bucket]
      .map(([name, value]) => ({ name, key: Buffer.from(name, "latin1"), value }))
      .sort((a, b) => Buffer.compare(a.key, b.key))
      .map(({ key, value }) =>
        value instanceof Uint8Array
          ? { flags: 0, key, value, child: 0 }
          : { flags: 1, key, value: bucketValue(value), child: 0 },
      );

  const bucketValue = (bucket: BucketTree): Uint8Array => {
    const elements = elementsOf(bucket);
    const bytes = pageBytes(elements);
    const isInline = elements.every(({ flags }) => flags === 0) && bytes <= pageSize / 4;
    const value = Buffer.alloc(16 + (isInline ? bytes : 0));
    value.writeUInt32LE(bucket.size + 1, 8);
    if (isInline) writePage(value.subarray(16), 2, elements);
    else value.writeUInt32LE(rootOf(elements), 0);
    return value;
  };

  const root = rootOf(elementsOf(tree));
  const meta: MetaFields = {
    ...{ pageSize, flags: 0, root, sequence: 0n, freelist: null },
    ...{ highWaterMark: next, txId: txId(id) },
  };
  const metas = metaPagesFor(encodeMetaPage(meta, metaSlot(meta.txId)));
  // Not a Buffer, whose `slice` is a view.
  return { bytes: new Uint8Array(Buffer.concat([...metas, ...pages])), pageSize, meta };
}

const elementSize = ({ key, value }: Element): number => 16 + key.length + value.length;

function pageBytes(elements: readonly Element[]): number {
  return elements.reduce((sum, element) => sum + elementSize(element), 16);
}

function writePage(page: Buffer, flags: number, elements: readonly Element[]): void {
  page.writeUInt16LE(flags, 8);
  page.writeUInt16LE(elements.length, 10);
  let at = 16 + elements.length * 16;
  for (const [index, { flags: mark, key, value, child }] of elements.entries()) {
    const element = 16 + index * 16;
    if (flags === 1) {
      page.writeUInt32LE(at - element, element);
      page.writeUInt32LE(key.length, element + 4);
      page.writeUInt32LE(child, element + 8);
    } else {
      page.writeUInt32LE(mark, element);
      page.writeUInt32LE(at - element, element + 4);
      page.writeUInt32LE(key.length, element + 8);
      page.writeUInt32LE(value.length, element + 12);
    }
    page.set(key, at);
    page.set(value, at + key.length);
    at += key.length + value.length;
  }
}
