// What an application tells after each commit, in the words of the Go implementation, and the copy that is kept of it: checked,
// in order of pages, and with what its meta page must have said.
import { deriveMeta, PageferryError, parseMeta, type TxId, txId } from "@pageferry/format";
import type { CapturedFrame } from "../sources/capture-event.ts";

/** A bolt run as a transaction wrote it. */
export interface PageFrame {
  readonly id: bigint | number;
  /** Pages after the first. */
  readonly overflow: number;
  /** Exactly (overflow + 1) × page size bytes. It is copied, and may be used again as soon as `onPageFlush` returns. */
  readonly data: Uint8Array;
}

/** One committed transaction: everything it wrote but its meta page. */
export interface PageFlushInfo {
  readonly txId: bigint | number;
  /** The transaction that this one was built on: `txId - 1` in bolt. */
  readonly parentTxId: bigint | number;
  readonly dbPath: string;
  readonly pageSize: number;
  /** How many frames there are. */
  readonly pageCount: number;
  /** The first page id that was never allocated. */
  readonly highWaterMark: bigint | number;
  /** When it was committed. Points carry the time at which it was told, which never goes back. */
  readonly timestamp: Date;
  /**
   * The pages it wrote. A store that has its meta page at hand may add it as the frame `txId % 2`; else it is derived: the
   * freelist is the one freelist page, the root the one tree page that no other page of the transaction refers to.
   */
  readonly frames: readonly PageFrame[];
}

/** Is told of each committed transaction. */
export interface PageFlushObserver {
  onPageFlush(info: PageFlushInfo): void;
}

/** What is known of the meta page at the end of what was told. Absent: it is the parent's. */
export interface FlushTip {
  readonly root: number | undefined;
  readonly sequence: bigint | undefined;
  readonly freelist: number | null;
  readonly highWaterMark: number;
}

/** The copy of a transaction that was told. */
export interface Flush {
  readonly parentTxId: TxId;
  readonly txId: TxId;
  readonly pageSize: number;
  readonly tip: FlushTip;
  /** Ascending, disjoint, without the meta page. */
  readonly frames: readonly CapturedFrame[];
  /** When it was told. */
  readonly stampMs: number;
  readonly bytes: number;
}

/** Bytes of the pages that would be copied, as far as `info` makes sense. */
export function flushBytes(info: PageFlushInfo): number {
  return info.frames.reduce((sum, frame) => sum + frame.data.length, 0);
}

/** The transaction that was told. Throws `bad-request` for what is no transaction's id. */
export function flushTxId(info: PageFlushInfo): TxId {
  return transactionId(info.txId, "txId");
}

/** Checks and copies what was told. Throws `bad-request` for what no transaction is, `corrupt` for pages that are none of bolt. */
export function copyFlush(info: PageFlushInfo, pageSize: number, stampMs: number): Flush {
  const id = flushTxId(info);
  const parentTxId = transactionId(info.parentTxId, "parentTxId");
  if (parentTxId >= id) throw refused(`transaction ${id}: its parent ${parentTxId} is not before it`);
  if (info.pageSize !== pageSize) {
    throw refused(`transaction ${id}: a page size of ${info.pageSize}, the database's is ${pageSize}`);
  }
  if (info.pageCount !== info.frames.length) {
    throw refused(`transaction ${id}: ${info.frames.length} frames, its pageCount says ${info.pageCount}`);
  }
  const highWaterMark = pageId(info.highWaterMark, id);
  const given = info.frames.map((frame) => ({ frame, id: pageId(frame.id, id) })).sort((a, b) => a.id - b.id);
  let end = 0;
  for (const { frame, id: first } of given) {
    const { overflow, data } = frame;
    const isSized =
      Number.isSafeInteger(overflow) && overflow >= 0 && data.length === (overflow + 1) * pageSize;
    if (!isSized)
      throw refused(`transaction ${id}: page ${first} has ${data.length} bytes and overflow ${overflow}`);
    if (first < end) throw refused(`transaction ${id}: page ${first} is in two frames`);
    end = first + overflow + 1;
  }
  if (end > highWaterMark)
    throw refused(`transaction ${id}: page ${end - 1} is not below ${highWaterMark}, its high-water mark`);
  const frames = copyFrames(given, pageSize);
  const isMeta = (frame: CapturedFrame): boolean => frame.id < 2;
  const evidence = { txId: id, pageSize, highWaterMark, frames: frames.filter((frame) => !isMeta(frame)) };
  const tip = tipOf(evidence, frames.filter(isMeta));
  const bytes = frames.reduce((sum, frame) => sum + frame.data.length, 0);
  return { parentTxId, txId: id, pageSize, tip, frames: evidence.frames, stampMs, bytes };
}

function refused(message: string): PageferryError {
  const hint = "Tell onPageFlush what was committed: see the README of @pageferry/agent.";
  return new PageferryError("bad-request", `onPageFlush: ${message}`, { hint });
}

function transactionId(value: bigint | number, name: string): TxId {
  const isWhole = typeof value === "bigint" ? value >= 0n : Number.isSafeInteger(value) && value >= 0;
  if (!isWhole || BigInt(value) >= 2n ** 64n) throw refused(`${name}: ${value} is no transaction id`);
  return txId(BigInt(value));
}

/** Page ids are u32 on our side. */
function pageId(value: bigint | number, transaction: TxId): number {
  const id = Number(value);
  if (!Number.isSafeInteger(id) || id < 0 || id >= 2 ** 32) {
    throw refused(`transaction ${transaction}: ${value} is no page id`);
  }
  return id;
}

/** One buffer for all pages: what was told may be overwritten as soon as the caller goes on. */
function copyFrames(
  given: readonly { readonly frame: PageFrame; readonly id: number }[],
  pageSize: number,
): CapturedFrame[] {
  const bytes = new Uint8Array(given.reduce((sum, { frame }) => sum + frame.data.length, 0));
  let at = 0;
  return given.map(({ frame: { overflow, data }, id }) => {
    bytes.set(data, at);
    const copy = bytes.subarray(at, at + (overflow + 1) * pageSize);
    at += copy.length;
    return { id, overflow, data: copy };
  });
}

interface Evidence {
  readonly txId: TxId;
  readonly pageSize: number;
  readonly highWaterMark: number;
  readonly frames: readonly CapturedFrame[];
}

function tipOf(evidence: Evidence, metas: readonly CapturedFrame[]): FlushTip {
  const [page, another] = metas;
  if (page === undefined) {
    const { root, freelist, highWaterMark } = deriveMeta(evidence);
    return { root, sequence: undefined, freelist, highWaterMark };
  }
  const meta = parseMeta(page.data);
  const isOwn =
    another === undefined &&
    page.overflow === 0 &&
    BigInt(page.id) === evidence.txId % 2n &&
    meta?.txId === evidence.txId &&
    meta.pageSize === evidence.pageSize &&
    meta.highWaterMark === evidence.highWaterMark;
  if (meta === undefined || !isOwn) {
    throw refused(`transaction ${evidence.txId}: page ${page.id} is not its meta page`);
  }
  const { root, sequence, freelist, highWaterMark } = meta;
  return { root, sequence, freelist, highWaterMark };
}
