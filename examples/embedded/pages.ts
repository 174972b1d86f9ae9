// The pages of a bolt file as bytes: a header of 16 bytes, an element of 16 bytes for each key, and the keys and values behind them.

/** A key and its value. */
export type Entry = readonly [key: string, value: string];

const headerBytes = 16;
const elementBytes = 16;
const flags = { branch: 0x01, leaf: 0x02, freelist: 0x10 };

/** The name of the one bucket. */
export const bucket = "data";

/** How long a leaf with these entries is. */
export function leafBytes(entries: readonly Entry[]): number {
  return entries.reduce(
    (sum, [key, value]) => sum + elementBytes + Buffer.byteLength(key) + Buffer.byteLength(value),
    headerBytes,
  );
}

/** A leaf of plain keys. */
export function encodeLeaf(pageSize: number, id: number, entries: readonly Entry[]): Buffer {
  const elements = entries.map(([key, value]) => ({ key: Buffer.from(key), value: Buffer.from(value) }));
  return encodeLeafElements(pageSize, id, elements);
}

/** The leaf at the root: it holds the bucket, whose value begins with the page that its keys are below. */
export function encodeRoot(pageSize: number, id: number, branch: number): Buffer {
  const value = Buffer.alloc(16);
  value.writeBigUInt64LE(BigInt(branch));
  return encodeLeafElements(pageSize, id, [{ key: Buffer.from(bucket), value, isBucket: true }]);
}

interface LeafElement {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly isBucket?: boolean;
}

function encodeLeafElements(pageSize: number, id: number, elements: readonly LeafElement[]): Buffer {
  const bytes = elements.reduce((sum, { key, value }) => sum + elementBytes + key.length + value.length, 0);
  const page = emptyPage(pageSize, bytes, { id, flags: flags.leaf, count: elements.length });
  let at = headerBytes + elements.length * elementBytes;
  for (const [index, { key, value, isBucket = false }] of elements.entries()) {
    const element = headerBytes + index * elementBytes;
    page.writeUInt32LE(isBucket ? 1 : 0, element);
    page.writeUInt32LE(at - element, element + 4);
    page.writeUInt32LE(key.length, element + 8);
    page.writeUInt32LE(value.length, element + 12);
    page.set(key, at);
    page.set(value, at + key.length);
    at += key.length + value.length;
  }
  return page;
}

/** The branch over all leaves; it may be several pages long. */
export function encodeBranch(
  pageSize: number,
  id: number,
  leaves: readonly { readonly id: number; readonly entries: readonly Entry[] }[],
): Buffer {
  const keys = leaves.map(({ entries }) => Buffer.from(entries[0]?.[0] ?? ""));
  const bytes = keys.reduce((sum, key) => sum + elementBytes + key.length, 0);
  const page = emptyPage(pageSize, bytes, { id, flags: flags.branch, count: leaves.length });
  let at = headerBytes + keys.length * elementBytes;
  for (const [index, key] of keys.entries()) {
    const element = headerBytes + index * elementBytes;
    page.writeUInt32LE(at - element, element);
    page.writeUInt32LE(key.length, element + 4);
    page.writeBigUInt64LE(BigInt(leaves[index]?.id ?? 0), element + 8);
    page.set(key, at);
    at += key.length;
  }
  return page;
}

/** The list of free pages. Above 65,534 the first place holds how many there are. */
export function encodeFreelist(pageSize: number, id: number, free: readonly number[], blocks = 1): Buffer {
  const places = free.length < 0xffff ? free : [free.length, ...free];
  const count = Math.min(free.length, 0xffff);
  const bytes = Math.max(places.length * 8, blocks * pageSize - headerBytes);
  const page = emptyPage(pageSize, bytes, { id, flags: flags.freelist, count });
  for (const [index, place] of places.entries())
    page.writeBigUInt64LE(BigInt(place), headerBytes + index * 8);
  return page;
}

interface Header {
  readonly id: number;
  readonly flags: number;
  readonly count: number;
}

/** A page with its header, and as many more as its content needs. */
function emptyPage(pageSize: number, contentBytes: number, header: Header): Buffer {
  const blocks = Math.ceil((headerBytes + contentBytes) / pageSize);
  const page = Buffer.alloc(blocks * pageSize);
  page.writeBigUInt64LE(BigInt(header.id));
  page.writeUInt16LE(header.flags, 8);
  page.writeUInt16LE(header.count, 10);
  page.writeUInt32LE(blocks - 1, 12);
  return page;
}

/** The entries of a leaf of plain keys. */
export function decodeLeaf(page: Buffer): Entry[] {
  return Array.from({ length: page.readUInt16LE(10) }, (_, index) => {
    const element = headerBytes + index * elementBytes;
    const key = element + page.readUInt32LE(element + 4);
    const value = key + page.readUInt32LE(element + 8);
    return [
      page.toString("utf8", key, value),
      page.toString("utf8", value, value + page.readUInt32LE(element + 12)),
    ];
  });
}
