// A range as a restore applies it: one segment, decoded, verified, and told in terms of pages. Packs give several.
// See docs/format.md#restore.

import { type DerivedMeta, deriveMeta, type MetaFields, metaSlot, parseMeta } from "./bolt/meta.ts";
import { checkSegment } from "./chain.ts";
import { PageferryError } from "./errors.ts";
import { pageIdMax } from "./limits.ts";
import { decodePack } from "./pack.ts";
import type { PlanStep } from "./restore-plan.ts";
import { decodeSegment, decodeSegmentAsync, type PageFrame, type Segment } from "./segment.ts";
import { type SegmentHeader, segmentState, segmentWords } from "./segment-header.ts";
import type { StateHash } from "./state-hash.ts";
import type { TxId } from "./txid.ts";

/** What the restore has to know of a segment; its pages stay where they were decoded. Plain data, fit for another thread. */
export interface PartFacts {
  readonly txId: TxId;
  readonly parentTxId: TxId;
  readonly pageSize: number;
  readonly highWaterMark: number;
  /** Absent is unknown, never equal. */
  readonly pre: StateHash | undefined;
  readonly post: StateHash | undefined;
  /** Pairs, ascending: first page, count. */
  readonly runs: Uint32Array;
  /** Absent in what the Go implementation wrote. */
  readonly meta: MetaFields | undefined;
}

/** A decoded segment with what is known of it. Run n of the facts is frame n of `frames`. */
export interface Part {
  readonly facts: PartFacts;
  readonly frames: readonly Uint8Array[];
  /** The meta of this transaction from its pages alone; throws `corrupt`. */
  deriveMeta(): DerivedMeta;
}

/** The same part with its pages in memory of their own. */
export function detached(part: Part): Part {
  // Not `slice`, which for a Buffer is a view.
  const frames = part.frames.map((frame) => new Uint8Array(frame));
  const { txId, pageSize, highWaterMark, runs } = part.facts;
  const pages = frames.map((data, at) => ({ id: runs[at * 2] as number, data }));
  return {
    facts: part.facts,
    frames,
    deriveMeta: () => deriveMeta({ txId, pageSize, highWaterMark, frames: pages }),
  };
}

/** Which object to decode, and what of it. */
export type PartOrder = Pick<PlanStep, "kind" | "name" | "parentTxId" | "lastTxId" | "from" | "to">;

/**
 * Decodes and verifies an object and returns the segments of it that lead from `from` to `to`, oldest first. Errors: `corrupt` (also
 * when it is not what its name says), `too-large`, `unsupported-version`.
 */
export function decodeParts(order: PartOrder, bytes: Uint8Array): Part[] {
  const files = filesOf(order, bytes);
  return checkedEnd(
    order,
    files.map((file) => namedPart(file.order, decodeSegment(file.bytes))),
  );
}

/** As `decodeParts`, decompressing on libuv threads; more than `rawBytesMax` bytes of pages are `too-large`. */
export async function decodePartsAsync(
  order: PartOrder,
  bytes: Uint8Array,
  rawBytesMax: number,
): Promise<Part[]> {
  const parts: Part[] = [];
  let left = rawBytesMax;
  for (const file of filesOf(order, bytes)) {
    const part = namedPart(file.order, await decodeSegmentAsync(file.bytes, { rawBytesMax: left }));
    left -= part.frames.reduce((sum, frame) => sum + frame.length, 0);
    if (left < 0)
      throw new PageferryError("too-large", `${order.name}: holds more than ${rawBytesMax} bytes of pages`);
    parts.push(part);
  }
  return checkedEnd(order, parts);
}

/** The segment files in an object that lead from `from` to `to`, with what each must be. */
function filesOf(
  order: PartOrder,
  bytes: Uint8Array,
): { readonly order: PartOrder; readonly bytes: Uint8Array }[] {
  if (order.kind === "segment") return [{ order, bytes }];
  const items = decodePack(bytes);
  checkName(order, items[0]?.entry.parentTxId, items.at(-1)?.entry.txId);
  return items
    .filter(({ entry }) => entry.txId > order.from && entry.txId <= order.to)
    .map(({ entry, bytes: file }) => ({
      order: { ...order, parentTxId: entry.parentTxId, lastTxId: entry.txId },
      bytes: file,
    }));
}

function namedPart(order: PartOrder, segment: Segment): Part {
  const part = partOf(segment);
  checkName(order, part.facts.parentTxId, part.facts.txId);
  return part;
}

function checkedEnd(order: PartOrder, parts: Part[]): Part[] {
  if (order.kind === "segment" || parts.at(-1)?.facts.txId === order.to) return parts;
  throw new PageferryError("corrupt", `${order.name}: holds no transaction ${order.to}`);
}

/** Throws `corrupt` unless an object holds the range that its name tells. */
export function checkName(order: PartOrder, parentTxId: TxId | undefined, txId: TxId | undefined): void {
  if (order.parentTxId === parentTxId && order.lastTxId === txId) return;
  throw new PageferryError(
    "corrupt",
    `${order.name}: holds (${parentTxId}, ${txId}], expected (${order.parentTxId}, ${order.lastTxId}]`,
  );
}

function partOf(segment: Segment): Part {
  checkSegment(segment);
  const { header, pages } = segment;
  let meta: MetaFields | undefined;
  for (const page of pages) if (page.id < 2n) meta = metaOf(header, page);
  const runs = pages.map((page) => ({ pageId: page.id, count: BigInt(page.overflow) + 1n }));
  return {
    facts: partFacts(header, runs, meta),
    frames: pages.map((page) => page.data),
    deriveMeta: () => deriveMeta({ ...header, frames: pages }),
  };
}

/** The facts of a segment whose runs lie below its high-water mark. Throws `too-large` for a mark that no page id reaches. */
export function partFacts(
  header: SegmentHeader,
  pages: readonly { readonly pageId: bigint; readonly count: bigint }[],
  meta: MetaFields | undefined,
): PartFacts {
  const { pre, post } = segmentState(header);
  if (header.highWaterMark > BigInt(pageIdMax)) {
    throw new PageferryError(
      "too-large",
      `${segmentWords(header)}: a high-water mark of ${header.highWaterMark}`,
    );
  }
  const runs = new Uint32Array(pages.length * 2);
  for (const [at, { pageId, count }] of pages.entries()) {
    runs[at * 2] = Number(pageId);
    runs[at * 2 + 1] = Number(count);
  }
  return {
    txId: header.txId,
    parentTxId: header.parentTxId,
    pageSize: header.pageSize,
    highWaterMark: Number(header.highWaterMark),
    pre,
    post,
    runs,
    meta,
  };
}

/**
 * The meta page of the segment's own transaction, out of the frame that holds it: alone as we write it, joined with what follows as others
 * may. Its pages 0 and 1 are never applied as they are. A frame there without that meta breaks the segment.
 */
export function metaOf(header: SegmentHeader, frame: Pick<PageFrame, "id" | "data">): MetaFields {
  const { pageSize } = header;
  const place = metaSlot(header.txId) - Number(frame.id);
  const page = place < 0 ? new Uint8Array(0) : frame.data.subarray(place * pageSize, (place + 1) * pageSize);
  const meta = parseMeta(page);
  const isOwn =
    meta !== undefined &&
    meta.txId === header.txId &&
    meta.pageSize === pageSize &&
    BigInt(meta.highWaterMark) === header.highWaterMark;
  if (!isOwn) {
    throw new PageferryError(
      "corrupt",
      `${segmentWords(header)}: page ${frame.id} is not the meta page of its transaction`,
    );
  }
  return meta;
}
