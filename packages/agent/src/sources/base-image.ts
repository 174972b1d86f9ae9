// The image of a whole database that is put together beside a live file: copied block by block against the page table, and
// overlaid with every delta, so that neither a commit nor a break starts it again. docs/capture.md#base.
import {
  createXxh3,
  encodeMetaPage,
  type Meta,
  metaPagesFor,
  metaSlot,
  pageDigestBytes,
} from "@pageferry/format";
import { createPageBits, type PageBits } from "../page-bits.ts";
import type { PageTable } from "../page-table.ts";
import type { ReadAt } from "./bolt-io.ts";
import type { CapturedFrame } from "./capture-event.ts";

/** A file in the scratch directory. Its errors (a full disk) pass through as they are. */
export interface ImageFile {
  readonly path: string;
  writeAt(position: number, bytes: Uint8Array): void;
  /** Cuts or extends to `length` and closes; the file stays. */
  finish(length: number): void;
  /** Closes and removes; calling it again, or after finish, is nothing. */
  discard(): void;
}

/** An image on its way. A block is in `copied` when the image holds what the newest table says. */
export interface BaseImage {
  readonly file: ImageFile;
  readonly copied: PageBits;
  /** Where the copier goes on, and how many blocks it had to leave behind in this round. */
  cursor: number;
  missed: number;
  readonly startedAtMs: number;
}

/** Begins an empty image; the time is of the clock that deadlines use. */
export function createBaseImage(file: ImageFile, startedAtMs: number): BaseImage {
  return { file, copied: createPageBits(), cursor: 2, missed: 0, startedAtMs };
}

/** Writes a proved run. */
export function writeRun(image: BaseImage, pageSize: number, id: number, run: Uint8Array): void {
  image.file.writeAt(id * pageSize, run);
  for (let block = 0; block < run.length / pageSize; block += 1) image.copied.add(id + block);
}

/** Brings the image to the state of a delta. The meta frame is left out: metas come last. */
export function overlayFrames(image: BaseImage, pageSize: number, frames: readonly CapturedFrame[]): void {
  for (const frame of frames) if (frame.id > 1) writeRun(image, pageSize, frame.id, frame.data);
}

/** Forgets what an outcome without frames changed: those blocks are copied again. */
export function forgetChanged(image: BaseImage, before: PageTable, after: PageTable): void {
  const digest = new Uint8Array(pageDigestBytes);
  for (let id = after.next(0); id >= 0; id = after.next(id + 1)) {
    after.copyDigest(id, digest, 0);
    if (!before.isSame(id, digest, 0)) image.copied.remove(id);
  }
}

const xxh3 = createXxh3();
const digest = new Uint8Array(pageDigestBytes);
let scratch = new Uint8Array(256 * 1024);

/**
 * Copies up to `pages` more blocks, neighbours in one read. A block is taken if its digest is the table's, which needs no look
 * at the metas; others are left for the next round. Answers how many bytes were read; 0: the round is over.
 */
export function copySome(image: BaseImage, table: PageTable, readAt: ReadAt, pages: number): number {
  const { pageSize } = table;
  const wanted = wantedBlocks(image, table, pages);
  if (wanted === undefined) return 0;
  const { first, count } = wanted;
  if (scratch.length < count * pageSize) scratch = new Uint8Array(count * pageSize);
  const got = readAt(first * pageSize, scratch.subarray(0, count * pageSize));
  let from = 0;
  for (let index = 0; index <= count; index += 1) {
    const end = (index + 1) * pageSize;
    const isTaken =
      index < count && end <= got && isInTable(table, first + index, scratch.subarray(end - pageSize, end));
    if (isTaken) continue;
    if (index > from)
      writeRun(image, pageSize, first + from, scratch.subarray(from * pageSize, index * pageSize));
    if (index < count) image.missed += 1;
    from = index + 1;
  }
  image.cursor = first + count;
  return count * pageSize;
}

/** The neighbours that `copySome` takes next; undefined: the round is over. */
export function wantedBlocks(
  image: BaseImage,
  table: PageTable,
  pages: number,
): { readonly first: number; readonly count: number } | undefined {
  const first = nextWanted(image, table, image.cursor);
  if (first < 0) return undefined;
  let count = 1;
  while (count < pages && table.has(first + count) && !image.copied.has(first + count)) count += 1;
  return { first, count };
}

function nextWanted(image: BaseImage, table: PageTable, from: number): number {
  return table.live.nextNotIn(image.copied, from);
}

function isInTable(table: PageTable, id: number, block: Uint8Array): boolean {
  xxh3.pageDigest(id, block, digest, 0);
  return table.isSame(id, digest, 0);
}

/** Whether every live block of the table is in the image. */
export function isWhole(image: BaseImage, table: PageTable): boolean {
  return nextWanted(image, table, 2) < 0;
}

/** Writes both metas and gives the file its exact length. */
export function finishImage(image: BaseImage, meta: Meta): void {
  const [page0, page1] = metaPagesFor(encodeMetaPage(meta, metaSlot(meta.txId)));
  image.file.writeAt(0, page0);
  image.file.writeAt(meta.pageSize, page1);
  image.file.finish(meta.highWaterMark * meta.pageSize);
}
