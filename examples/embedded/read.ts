// Reads what a store left in its file: everything that its newest transaction reaches. What is not reached is free.

import type { FileHandle } from "node:fs/promises";
import { freelistRun, type MetaFields, newestMeta, treePages } from "@pageferry/format";
import { decodeLeaf, type Entry } from "./pages.ts";

/** A page of keys in order, and where it lies in the file; 0: nowhere yet. */
export interface Leaf {
  readonly id: number;
  readonly entries: readonly Entry[];
}

/** What is in the file. */
export interface Contents {
  readonly meta: MetaFields;
  readonly leaves: readonly Leaf[];
  /** The pages of the branch over the leaves, and of the freelist. */
  readonly branch: readonly number[];
  readonly freelist: readonly number[];
  readonly free: readonly number[];
}

/** The contents of the file; `undefined` while it is empty. Throws for what such a store does not write. */
export async function readStore(file: FileHandle, pageSize: number): Promise<Contents | undefined> {
  const bytes = await file.readFile();
  if (bytes.length === 0) return undefined;
  const read = (id: number, count: number): Buffer => bytes.subarray(id * pageSize, (id + count) * pageSize);
  const meta = newestMeta(read(0, 1), read(1, 1));
  if (meta === undefined || meta.pageSize !== pageSize) throw new TypeError("this is no store of ours");
  const source = { pageSize, read };
  const leaves: Leaf[] = [];
  const branch: number[] = [];
  const reached = new Set([meta.root]);
  for (const { id, run, header } of treePages(source, meta)) {
    const ids = Array.from({ length: header.overflow + 1 }, (_, index) => id + index);
    for (const one of ids) reached.add(one);
    if (header.flags === 0x01) branch.push(...ids);
    else if (id !== meta.root) leaves.push({ id, entries: decodeLeaf(Buffer.from(run)) });
  }
  const blocks = (freelistRun(source, meta)?.length ?? 0) / pageSize;
  const freelist = Array.from({ length: blocks }, (_, index) => (meta.freelist ?? 0) + index);
  const used = new Set([...reached, ...freelist]);
  const pages = Array.from({ length: meta.highWaterMark - 2 }, (_, index) => index + 2);
  return { meta, leaves, branch, freelist, free: pages.filter((id) => !used.has(id)) };
}
