// The logical hash: SHA-256 over a canonical listing of buckets, keys and values. It is the same for every file with the same
// content, whatever its pages. docs/format.md#logical-hash has the listing.
import { createHash } from "node:crypto";
import { PageferryError } from "../errors.ts";
import type { MetaFields } from "./meta.ts";
import {
  bucketBytes,
  bucketFlag,
  checkHeader,
  elementBytes,
  pageFlagBranch,
  pageHeader,
  pageHeaderBytes,
  referencedPages,
  u16,
  u32,
} from "./page.ts";
import { createPageSet, type PageSet } from "./page-set.ts";
import { type PageSource, treeDepthMax } from "./tree.ts";

interface Listing {
  /** Adds ASCII text. */
  text(text: string): void;
  /** Adds bytes [start, end) as lower-case hex. */
  hex(bytes: Uint8Array, start: number, end: number): void;
  digest(): string;
}

interface Walk {
  readonly source: PageSource;
  readonly limits: { readonly pageSize: number; readonly highWaterMark: number };
  readonly reached: PageSet;
  readonly listing: Listing;
}

/**
 * The logical hash of a database, as 64 hex digits: depth first in key order, a line `B <path> seq=<n>` for each bucket and a line
 * `K <path>/<key> <value>` for each key, names and bytes as lower-case hex. Throws `corrupt`; says nothing about free pages or key
 * order, see `checkDatabase`.
 */
export function logicalHash(source: PageSource, meta: MetaFields): string {
  const listing = createListing();
  const limits = { pageSize: source.pageSize, highWaterMark: meta.highWaterMark };
  listPage({ source, limits, reached: createPageSet(meta.highWaterMark), listing }, meta.root, "", 0);
  return listing.digest();
}

function listPage(walk: Walk, id: number, path: string, depth: number): void {
  const { source, limits, reached } = walk;
  if (depth > treeDepthMax)
    throw new PageferryError("corrupt", `page ${id}: more than ${treeDepthMax} levels deep`);
  if (id < 2 || id >= limits.highWaterMark) {
    throw new PageferryError("corrupt", `page ${id}: the root is outside of [2, ${limits.highWaterMark})`);
  }
  const block = source.read(id, 1);
  const header = pageHeader(block);
  checkHeader(header, id, limits);
  if (!reached.add(id)) throw new PageferryError("corrupt", `page ${id}: referred to twice`);
  const run = header.overflow === 0 ? block : source.read(id, header.overflow + 1);
  const children = referencedPages(run, id, limits);
  if (header.flags === pageFlagBranch) {
    for (const child of children) listPage(walk, child, path, depth + 1);
  } else {
    listLeaf(walk, run, 0, path, depth);
  }
}

/** Lists the leaf whose header is at `start` of a run: 0, or inside of a value for an inline bucket. Its bounds are checked already. */
function listLeaf(walk: Walk, run: Uint8Array, start: number, path: string, depth: number): void {
  const { listing } = walk;
  const count = u16(run, start + 10);
  const keyLine = `K ${path}/`;
  for (let index = 0; index < count; index += 1) {
    const at = start + pageHeaderBytes + index * elementBytes;
    const keyStart = at + u32(run, at + 4);
    const valueStart = keyStart + u32(run, at + 8);
    const valueEnd = valueStart + u32(run, at + 12);
    if ((u32(run, at) & bucketFlag) === 0) {
      listing.text(keyLine);
      listing.hex(run, keyStart, valueStart);
      listing.text(" ");
      listing.hex(run, valueStart, valueEnd);
      listing.text("\n");
      continue;
    }
    const name = Buffer.from(run.buffer, run.byteOffset + keyStart, valueStart - keyStart).toString("hex");
    const bucket = path === "" ? name : `${path}/${name}`;
    const root = u32(run, valueStart);
    const sequence = (BigInt(u32(run, valueStart + 12)) << 32n) | BigInt(u32(run, valueStart + 8));
    listing.text(`B ${bucket} seq=${sequence}\n`);
    if (root === 0) listLeaf(walk, run, valueStart + bucketBytes, bucket, depth + 1);
    else listPage(walk, root, bucket, depth + 1);
  }
}

function createListing(): Listing {
  const hash = createHash("sha256");
  const buffer = Buffer.alloc(128 * 1024);
  let length = 0;
  const flush = (): void => {
    hash.update(buffer.subarray(0, length));
    length = 0;
  };
  return {
    text(text) {
      if (text.length > buffer.length) {
        flush();
        hash.update(text, "latin1");
        return;
      }
      if (length + text.length > buffer.length) flush();
      length += buffer.write(text, length, "latin1");
    },
    hex(bytes, start, end) {
      const from = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
      for (let at = start; at < end; ) {
        if (length + 2 > buffer.length) flush();
        const next = Math.min(end, at + Math.floor((buffer.length - length) / 2));
        length += buffer.write(from.toString("hex", at, next), length, "latin1");
        at = next;
      }
    },
    digest() {
      flush();
      return hash.digest("hex");
    },
  };
}
