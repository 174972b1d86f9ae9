// The look at a whole observed database: every live page of one of its states, compared with what is known. At the start, and
// where what was told does not lead on.
import {
  type Meta,
  PageferryError,
  pageDigestBytes,
  pageFlagFreelist,
  pageHeader,
  parseFreelist,
  referencedPages,
} from "@pageferry/format";
import { createPageBits } from "../page-bits.ts";
import { createPageTable, freedBlocks, type PageTable } from "../page-table.ts";
import type { Outcome } from "../sources/outcome.ts";
import { metaOf, type ObservedDatabase, type ObservedTransaction, readPages } from "./observed-database.ts";
import { addRun, deltaFrames, leakedPages, type ObservedState } from "./observed-state.ts";

/** How to look. */
export interface ScanOptions {
  readonly database: ObservedDatabase;
  /** What is known; pages that differ from it are collected. */
  readonly reference: PageTable | null;
  /** Called after so many bytes were read; waits as long as the reader should. */
  readonly pause: (bytes: number) => Promise<void>;
  /** Called with each run. */
  readonly onRun?: (id: number, run: Uint8Array) => void;
}

/** What was found. */
export interface ScanResult {
  readonly state: ObservedState;
  /** The difference from the reference; null without one. Its frames are null where they are too much for a delta. */
  readonly outcome: Outcome | null;
}

/** Pages that are asked for between two pauses: 256 KiB of 4 KiB pages. */
const batchPages = 64;

/** As much as a delta of a scan of a file may hold, for the same reasons: above it a base costs about the same. */
const collectedBytesMax = 64 * 1024 * 1024;

interface Scan {
  readonly options: ScanOptions;
  readonly transaction: ObservedTransaction;
  readonly meta: Meta;
  readonly table: PageTable;
  /** Undefined: too much. */
  collected: { readonly id: number; readonly run: Uint8Array }[] | undefined;
  collectedBytes: number;
}

/** Looks at the newest state. Throws `corrupt` for what is no bolt database, and whatever the database throws. */
export function scanDatabase(options: ScanOptions): Promise<ScanResult> {
  return options.database.view(async (transaction) => {
    const meta = metaOf(options.database, transaction);
    const table = createPageTable(meta.pageSize);
    const scan: Scan = { options, transaction, meta, table, collected: [], collectedBytes: 0 };
    const freeCount = await scanFreelist(scan);
    await scanTree(scan);
    const leaked = leakedPages(meta, table.count(), freeCount);
    return { state: { table, meta, leaked }, outcome: outcomeOf(scan) };
  });
}

function outcomeOf({ options: { reference }, meta, table, collected }: Scan): Outcome | null {
  if (reference === null) return null;
  return {
    frames: collected === undefined ? null : deltaFrames(meta, collected),
    freed: freedBlocks(reference, table),
    pre: reference.stateHash(),
    post: table.stateHash(),
  };
}

async function scanFreelist(scan: Scan): Promise<number | undefined> {
  const { freelist } = scan.meta;
  if (freelist === null) return undefined;
  const block = await read(scan, freelist, 1);
  const { flags } = pageHeader(block);
  if (flags !== pageFlagFreelist) {
    throw new PageferryError(
      "corrupt",
      `page ${freelist}: flags 0x${flags.toString(16)}, expected a freelist`,
    );
  }
  const run = await readRun(scan, freelist, block);
  accept(scan, freelist, run, undefined);
  return parseFreelist(run).length;
}

async function scanTree(scan: Scan): Promise<void> {
  const { meta, table } = scan;
  const wanted = createPageBits();
  wanted.add(meta.root);
  for (let first = wanted.next(0); first >= 0; first = wanted.next(0)) {
    let count = 1;
    while (count < batchPages && wanted.has(first + count)) count += 1;
    // What is read stays as it is only until the next call.
    const blocks = (await read(scan, first, count)).slice();
    for (let index = 0; index < count; index += 1) {
      const id = first + index;
      wanted.remove(id);
      const run = await readRun(
        scan,
        id,
        blocks.subarray(index * meta.pageSize, (index + 1) * meta.pageSize),
      );
      const children = referencedPages(run, id, meta);
      accept(scan, id, run, children);
      for (const child of children) {
        if (table.has(child) || !wanted.add(child)) {
          throw new PageferryError("corrupt", `page ${child}: referred to twice, now by page ${id}`);
        }
      }
    }
  }
}

async function read({ options, transaction }: Scan, id: number, count: number): Promise<Uint8Array> {
  const pages = await readPages(options.database, transaction, id, count);
  await options.pause(pages.length);
  return pages;
}

async function readRun(scan: Scan, id: number, block: Uint8Array): Promise<Uint8Array> {
  const { overflow } = pageHeader(block);
  if (overflow === 0) return block;
  if (id + overflow >= scan.meta.highWaterMark) {
    const message = `page ${id}: ${overflow} overflow blocks end beyond the high-water mark`;
    throw new PageferryError("corrupt", message);
  }
  return (await read(scan, id, overflow + 1)).slice();
}

function accept(scan: Scan, id: number, run: Uint8Array, children: Uint32Array | undefined): void {
  const { table, options } = scan;
  for (let block = id; block < id + run.length / table.pageSize; block += 1) {
    if (table.has(block)) throw new PageferryError("corrupt", `page ${block}: referred to twice`);
  }
  const digests = addRun(table, id, run, children);
  options.onRun?.(id, run);
  const { reference } = options;
  if (reference !== null && isChanged(reference, id, digests)) collect(scan, id, run);
}

function isChanged(reference: PageTable, id: number, digests: Uint8Array): boolean {
  for (let at = 0; at < digests.length; at += pageDigestBytes) {
    if (!reference.isSame(id + at / pageDigestBytes, digests, at)) return true;
  }
  return false;
}

function collect(scan: Scan, id: number, run: Uint8Array): void {
  scan.collectedBytes += run.length;
  if (scan.collectedBytes > collectedBytesMax) scan.collected = undefined;
  scan.collected?.push({ id, run: run.slice() });
}
