// Page headers, branch children and bucket roots of a bolt file, read with every bound checked. docs/format.md#pages has the
// layout. A run is a page with its overflow blocks.
import { PageferryError } from "../errors.ts";
import { pageIdMax } from "../limits.ts";

/** Page header flags; exactly one is set. */
export const pageFlagBranch = 0x01;
export const pageFlagLeaf = 0x02;
export const pageFlagMeta = 0x04;
export const pageFlagFreelist = 0x10;

/** Bytes of a page header, and of an element of a branch or leaf. */
export const pageHeaderBytes = 16;
export const elementBytes = 16;

/** Element flag of a leaf: the value is a bucket. */
export const bucketFlag = 0x01;
/** A bucket's value begins with root and sequence; an inline bucket's page follows. */
export const bucketBytes = 16;
/** Shared, because most leaves hold no bucket and a walk asks every one of them. */
const noIds = new Uint32Array(0);

/** A page header. */
export interface PageHeader {
  readonly id: number;
  readonly flags: number;
  readonly count: number;
  /** How many blocks of the same run follow this one. */
  readonly overflow: number;
}

/** What a page may refer to. */
export interface PageLimits {
  readonly pageSize: number;
  /** The first page id that was never allocated. */
  readonly highWaterMark: number;
}

/** Reads a page header. Throws `corrupt` when there are fewer than 16 bytes. */
export function pageHeader(block: Uint8Array): PageHeader {
  if (block.length < pageHeaderBytes)
    throw new PageferryError("corrupt", `page header: only ${block.length} bytes`);
  return {
    id: u32(block, 0) + u32(block, 4) * 2 ** 32,
    flags: u16(block, 8),
    count: u16(block, 10),
    overflow: u32(block, 12),
  };
}

/** Tells whether a page of these flags is part of a tree: a branch or a leaf. */
export function isTreePage(flags: number): boolean {
  return flags === pageFlagBranch || flags === pageFlagLeaf;
}

/** The child page ids of a branch, in key order; none for another page. Throws `corrupt` when they are outside of the run. */
export function branchChildren(run: Uint8Array): Uint32Array {
  if (u16(run, 8) !== pageFlagBranch) return noIds;
  const count = elementCount(run);
  const children = new Uint32Array(count);
  for (let index = 0; index < count; index += 1) {
    const at = pageHeaderBytes + index * elementBytes;
    checkExtent(run, at, u32(run, at), u32(run, at + 4), 0, index);
    children[index] = pageIdAt(run, at + 8, run, index);
  }
  return children;
}

/**
 * The root page ids of the buckets in a leaf, in key order, without inline ones (whose page is inside the value and is checked
 * here); none for another page. Throws `corrupt` when an element is outside of the run, or an inline page is not a plain leaf.
 */
export function leafBuckets(run: Uint8Array): Uint32Array {
  if (u16(run, 8) !== pageFlagLeaf) return noIds;
  const count = elementCount(run);
  let roots: number[] | undefined;
  for (let index = 0; index < count; index += 1) {
    const at = pageHeaderBytes + index * elementBytes;
    const flags = u32(run, at);
    const position = u32(run, at + 4);
    const keyBytes = u32(run, at + 8);
    const valueBytes = u32(run, at + 12);
    checkExtent(run, at, position, keyBytes, valueBytes, index);
    if ((flags & bucketFlag) === 0) continue;
    const root = bucketRoot(run, at + position + keyBytes, valueBytes, index);
    if (root !== 0) {
      roots ??= [];
      roots.push(root);
    }
  }
  return roots === undefined ? noIds : Uint32Array.from(roots);
}

/**
 * The page ids that the tree page at `id` refers to, in key order: children of a branch, bucket roots of a leaf. Checks the header
 * (id, flags, overflow against the run's length) and that every id is in [2, high-water mark). Throws `corrupt`.
 */
export function referencedPages(run: Uint8Array, id: number, limits: PageLimits): Uint32Array {
  const header = pageHeader(run);
  checkHeader(header, id, limits);
  if (run.length !== (header.overflow + 1) * limits.pageSize) {
    throw new PageferryError(
      "corrupt",
      `page ${id}: ${run.length} bytes, its header says ${header.overflow} overflow blocks`,
    );
  }
  const isBranch = header.flags === pageFlagBranch;
  const ids = isBranch ? branchChildren(run) : leafBuckets(run);
  if (isBranch && ids.length === 0)
    throw new PageferryError("corrupt", `page ${id}: a branch without children`);
  for (const child of ids) {
    if (child < 2 || child >= limits.highWaterMark) {
      throw new PageferryError(
        "corrupt",
        `page ${id}: refers to page ${child}, outside of [2, ${limits.highWaterMark})`,
      );
    }
  }
  return ids;
}

/**
 * As {@link referencedPages}, for the run of `length` bytes at `at`, which may be torn or no tree page at all: what makes no sense is
 * passed over. Allocates nothing.
 */
export function visitReferences(
  bytes: DataView,
  at: number,
  length: number,
  limits: PageLimits,
  visit: (id: number) => void,
): void {
  const flags = bytes.getUint16(at + 8, true);
  if (!isTreePage(flags)) return;
  const end = at + length;
  const fitting = Math.floor((length - pageHeaderBytes) / elementBytes);
  const count = Math.min(bytes.getUint16(at + 10, true), fitting);
  for (let index = 0; index < count; index += 1) {
    const element = at + pageHeaderBytes + index * elementBytes;
    let reference = element + 8;
    if (flags === pageFlagLeaf) {
      if ((bytes.getUint32(element, true) & bucketFlag) === 0) continue;
      reference = element + bytes.getUint32(element + 4, true) + bytes.getUint32(element + 8, true);
      if (reference + bucketBytes > end) continue;
    }
    const id = bytes.getUint32(reference, true);
    const isPage = bytes.getUint32(reference + 4, true) === 0 && id >= 2 && id < limits.highWaterMark;
    if (isPage) visit(id);
  }
}

/** Checks that a tree page names itself `id`, is a branch or leaf, and ends below the high-water mark. Throws `corrupt`. */
export function checkHeader(header: PageHeader, id: number, limits: PageLimits): void {
  if (header.id !== id) throw new PageferryError("corrupt", `page ${id}: its header says page ${header.id}`);
  if (!isTreePage(header.flags)) {
    throw new PageferryError(
      "corrupt",
      `page ${id}: flags 0x${header.flags.toString(16)}, expected a branch or a leaf`,
    );
  }
  if (id + header.overflow >= limits.highWaterMark) {
    throw new PageferryError(
      "corrupt",
      `page ${id}: ${header.overflow} overflow blocks end beyond the high-water mark ${limits.highWaterMark}`,
    );
  }
}

/** Reads a little-endian u32. The caller knows that it is inside. */
export function u32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

/** Reads a little-endian u16. The caller knows that it is inside. */
export function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

function elementCount(run: Uint8Array): number {
  const count = u16(run, 10);
  if (pageHeaderBytes + count * elementBytes > run.length) {
    throw new PageferryError(
      "corrupt",
      `page ${u32(run, 0)}: ${count} elements do not fit into ${run.length} bytes`,
    );
  }
  return count;
}

function checkExtent(
  run: Uint8Array,
  at: number,
  position: number,
  keyBytes: number,
  valueBytes: number,
  index: number,
): void {
  if (at + position + keyBytes + valueBytes > run.length) {
    throw new PageferryError(
      "corrupt",
      `page ${u32(run, 0)}: element ${index} ends beyond its ${run.length} bytes`,
    );
  }
}

function pageIdAt(bytes: Uint8Array, at: number, run: Uint8Array, index: number): number {
  const id = u32(bytes, at);
  const high = u32(bytes, at + 4);
  if (high !== 0 || id > pageIdMax) {
    throw new PageferryError(
      "corrupt",
      `page ${u32(run, 0)}: element ${index} refers to page ${high * 2 ** 32 + id}, above ${pageIdMax}`,
    );
  }
  return id;
}

/** The root of the bucket whose value begins at `start`; 0 for an inline one, after a look at its page. */
function bucketRoot(run: Uint8Array, start: number, valueBytes: number, index: number): number {
  if (valueBytes < bucketBytes) {
    throw new PageferryError(
      "corrupt",
      `page ${u32(run, 0)}: element ${index} is a bucket of ${valueBytes} bytes`,
    );
  }
  const root = pageIdAt(run, start, run, index);
  if (root === 0) checkInlinePage(run, start + bucketBytes, start + valueBytes, index);
  return root;
}

/** An inline page is a leaf of plain keys: bolt gives a bucket its own pages before it gets a bucket inside. */
function checkInlinePage(run: Uint8Array, start: number, end: number, bucket: number): void {
  const fail = (what: string): PageferryError =>
    new PageferryError("corrupt", `page ${u32(run, 0)}: inline bucket at element ${bucket} ${what}`);
  if (start + pageHeaderBytes > end) throw fail("has no room for its page");
  const flags = u16(run, start + 8);
  if (flags !== pageFlagLeaf) throw fail(`has flags 0x${flags.toString(16)}, expected a leaf`);
  const count = u16(run, start + 10);
  if (start + pageHeaderBytes + count * elementBytes > end)
    throw fail(`says ${count} elements, more than fit`);
  for (let index = 0; index < count; index += 1) {
    const at = start + pageHeaderBytes + index * elementBytes;
    if ((u32(run, at) & bucketFlag) !== 0) throw fail(`holds another bucket at element ${index}`);
    if (at + u32(run, at + 4) + u32(run, at + 8) + u32(run, at + 12) > end)
      throw fail(`ends inside element ${index}`);
  }
}
