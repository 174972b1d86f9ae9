// What goes into the next envelope of a generation: its unsent segments, merged into one with granularity `interval`.
import {
  type CompressionConfig,
  type Generation,
  inlineBytesMax,
  isPageferryError,
  PageferryError,
  segmentName,
  type TxId,
} from "@pageferry/format";
import { type Chapter, historyAlarm, inspectShadow, lostHint, unsentOf } from "./chapter.ts";
import type { Range } from "./healing.ts";
import { createRangeMerge, giveBackPages, type RangePart } from "./range-merge.ts";
import { decodeRange, encodeRange } from "./range-segment.ts";
import type { Granularity } from "./shadow.ts";
import { type LogEntry, readLogEntry } from "./shadow-file.ts";

/** Segments for one envelope. */
export interface Batch {
  readonly items: readonly BatchItem[];
  /** The end of the last segment. */
  readonly txId: TxId;
}

/** A segment by its name. One over the inline bound is the only item of its batch, and is staged. */
export interface BatchItem {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** How batches are made. */
export interface BatchOptions {
  readonly granularity: Granularity;
  readonly compression: CompressionConfig;
  /** Whether the shadow's segments are compressed as they are to be sent. */
  readonly isSentAsKept: boolean;
}

/** Merged pages of one envelope, when they have to be read back: about what a quarter of a second reads and decodes. */
const mergedBytesMax = 16 * 1024 * 1024;

/** Segments of one envelope; well below what an envelope may hold. */
const itemsMax = 1000;

/** The next unsent segments, or `undefined`: there are none. */
export async function nextBatch(chapter: Chapter, options: BatchOptions): Promise<Batch | undefined> {
  const unsent = unsentOf(chapter);
  const [first] = unsent;
  if (first === undefined) return;
  if (options.granularity === "interval") {
    const kept = options.isSentAsKept && unsent.length === 1 ? chapter.recent.segment(first) : undefined;
    const range = chapter.recent.takeRange(first.parentTxId);
    if (kept !== undefined)
      return { items: [{ name: nameOf(chapter.generation, first), bytes: kept }], txId: first.txId };
    if (range !== undefined) return mergedBatch(chapter, range, options);
  }
  return batchOf(chapter, beforeRecent(chapter, unsent), options);
}

/** The segments that hold a range, made again from the shadow, one batch after the other. */
export async function* batchesAgain(
  chapter: Chapter,
  range: Range,
  options: BatchOptions,
): AsyncGenerator<Batch> {
  let reached = range.parentTxId;
  while (reached < range.txId) {
    const left = chapter.shadow
      .entries()
      .filter((entry) => entry.txId > reached && entry.parentTxId < range.txId);
    const batch = left.length === 0 ? undefined : await batchOf(chapter, left, options);
    if (batch === undefined) return;
    yield batch;
    reached = batch.txId;
  }
}

/** What of `unsent` must be read back; the rest is in memory, and comes with the next batch. */
function beforeRecent(chapter: Chapter, unsent: readonly LogEntry[]): readonly LogEntry[] {
  const startsAfter = chapter.recent.startsAfter();
  if (startsAfter === undefined) return unsent;
  const older = unsent.filter((entry) => entry.txId <= startsAfter);
  return older.length === 0 ? unsent : older;
}

async function batchOf(
  chapter: Chapter,
  entries: readonly LogEntry[],
  options: BatchOptions,
): Promise<Batch | undefined> {
  try {
    const isAsKept = options.granularity === "transaction" || (options.isSentAsKept && entries.length === 1);
    return isAsKept ? await batchAsKept(chapter, entries) : await batchMerged(chapter, entries, options);
  } catch (error) {
    if (!isPageferryError(error, "not-found") && !isPageferryError(error, "corrupt")) throw error;
    const lost = await inspectShadow(chapter);
    if (lost !== undefined) throw new PageferryError(historyAlarm, lost, { cause: error, hint: lostHint });
    // The shadow was squashed or trimmed meanwhile; what stands there now is looked at anew.
    if (error.code === "not-found") return;
    throw error;
  }
}

async function batchAsKept(chapter: Chapter, entries: readonly LogEntry[]): Promise<Batch | undefined> {
  const items: BatchItem[] = [];
  let bytes = 0;
  let last: LogEntry | undefined;
  for (const entry of entries.slice(0, itemsMax)) {
    // The record is a little longer than its segment, which is on the safe side.
    if (last !== undefined && (bytes + entry.length > inlineBytesMax || entry.parentTxId > last.txId)) break;
    const segment = chapter.recent.segment(entry) ?? (await readLogEntry(entry)).segment;
    items.push({ name: nameOf(chapter.generation, entry), bytes: segment });
    bytes += entry.length;
    last = entry;
  }
  return last && { items, txId: last.txId };
}

async function batchMerged(
  chapter: Chapter,
  entries: readonly LogEntry[],
  options: BatchOptions,
): Promise<Batch | undefined> {
  const merge = createRangeMerge({ isShortLived: true });
  for (const entry of entries) {
    const last = merge.txId();
    const isFull = merge.rawBytes() + entry.rawBytes > mergedBytesMax;
    if (last !== undefined && (isFull || entry.parentTxId > last)) break;
    merge.add(await decodeRange(await readLogEntry(entry)));
  }
  if (merge.isEmpty()) return;
  const range = merge.range();
  merge.clear();
  return mergedBatch(chapter, range, options);
}

async function mergedBatch(chapter: Chapter, range: RangePart, options: BatchOptions): Promise<Batch> {
  const bytes = await encodeRange(range, chapter.sourceKind, options.compression);
  giveBackPages(range);
  return { items: [{ name: nameOf(chapter.generation, range), bytes }], txId: range.txId };
}

function nameOf(generation: Generation, range: Pick<RangePart, "parentTxId" | "txId" | "stampMs">): string {
  const { parentTxId, txId, stampMs } = range;
  return segmentName({ generation, parentTxId, txId, stampMs });
}
