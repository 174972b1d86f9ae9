// Merges segments that follow one another into one range: per page, with the newest transaction's meta page alone.
// A Go-made segment without a meta page gets one derived first, from its own frames. See docs/format.md#merge.
import { type DerivedMeta, deriveMeta, encodeMetaPage, type Meta, metaSlot, parseMeta } from "./bolt/meta.ts";
import { checkChain, checkSegment } from "./chain.ts";
import { PageferryError } from "./errors.ts";
import { pageIdMax } from "./limits.ts";
import { mergePages, type PageRun } from "./merge-pages.ts";
import type { Segment, SegmentInput } from "./segment.ts";
import { optional, segmentAttrs, segmentState, segmentWords } from "./segment-header.ts";
import type { PageFrame } from "./segment-payload.ts";
import { formatTxId } from "./txid.ts";

/** What is known before the first segment. */
export interface MergeOptions {
  /** The meta of the first segment's parent: needed only where Go-made segments begin with one that wrote no tree page. */
  readonly parentMeta?: Pick<Meta, "root" | "sequence">;
}

/**
 * Merges segments, oldest first, to what `encodeSegment` takes: the newest block of every page below the last high-water
 * mark in maximal runs, and before them the last transaction's meta page. `pre` comes from the first, everything else
 * from the last. Errors: `gap`, `fork` (a `post` that is not the next `pre`), `corrupt`.
 */
export function mergeSegments(segments: readonly Segment[], options: MergeOptions = {}): SegmentInput {
  const [first, last] = [segments[0], segments.at(-1)];
  if (first === undefined || last === undefined) {
    throw new PageferryError("bad-request", "a merge needs a segment");
  }
  for (const segment of segments) {
    checkSegment(segment);
  }
  checkSeams(segments);
  const { pageSize, highWaterMark, txId, createdAt } = last.header;
  if (highWaterMark > BigInt(pageIdMax) + 1n) {
    throw new PageferryError(
      "too-large",
      `${segmentWords(last.header)}: a high-water mark of ${highWaterMark}`,
    );
  }
  const metaPage = newestMetaPage(segments, options);
  const runs = mergePages(
    segments.map(({ pages }) => pages.map(runOf)),
    { pageSize, highWaterMark: Number(highWaterMark) },
  );
  const { pre } = segmentState(first.header);
  const { pre: _, ...state } = segmentState(last.header);
  return {
    txId,
    parentTxId: first.header.parentTxId,
    pageSize,
    highWaterMark,
    createdAt,
    attrs: segmentAttrs({ ...state, ...optional("pre", pre) }),
    pages: [{ id: BigInt(metaSlot(txId)), overflow: 0, data: metaPage }, ...runs.map(frameOf)],
  };
}

function runOf(page: PageFrame): PageRun {
  return { id: Number(page.id), overflow: page.overflow, data: page.data };
}

function frameOf(run: PageRun): PageFrame {
  return { id: BigInt(run.id), overflow: run.overflow, data: run.data };
}

/** Throws where one segment does not lead on from the one before it. */
function checkSeams(segments: readonly Segment[]): void {
  const headers = segments.map(({ header }) => header);
  const chain = checkChain((headers[0] as Segment["header"]).parentTxId, headers);
  if (!chain.ok) {
    throw new PageferryError(
      "gap",
      `merge: nothing leads from transaction ${formatTxId(chain.gap.parentTxId)} to ${formatTxId(chain.gap.txId)}`,
    );
  }
  for (const [index, header] of headers.entries()) {
    const before = headers[index - 1];
    if (before === undefined) {
      continue;
    }
    if (header.pageSize !== before.pageSize) {
      throw new PageferryError(
        "corrupt",
        `${segmentWords(header)}: pages of ${header.pageSize} bytes after ${before.pageSize}`,
      );
    }
    const { post } = segmentState(before);
    const { pre } = segmentState(header);
    if (post !== undefined && pre !== undefined && post !== pre) {
      throw new PageferryError(
        "fork",
        `${segmentWords(header)}: begins at another state of ${formatTxId(header.parentTxId)} than the one before it ends at`,
      );
    }
  }
}

/** The last transaction's meta page: the one its segment holds, or one derived along all of them. */
function newestMetaPage(segments: readonly Segment[], options: MergeOptions): Uint8Array {
  const last = segments.at(-1) as Segment;
  const own = metaPageOf(last);
  if (own !== undefined) {
    return own;
  }
  let known: Pick<DerivedMeta, "root" | "sequence"> | undefined = options.parentMeta;
  let derived: DerivedMeta | undefined;
  for (const segment of segments) {
    const page = metaPageOf(segment);
    derived = page === undefined ? derive(segment, known) : undefined;
    known = derived ?? parseMeta(page as Uint8Array);
  }
  const root = derived?.root;
  if (derived === undefined || root === undefined) {
    throw new PageferryError(
      "corrupt",
      `${segmentWords(last.header)}: holds neither a meta page nor a tree page, so its root is not known`,
    );
  }
  return encodeMetaPage({ ...derived, root }, metaSlot(last.header.txId));
}

function derive(segment: Segment, parent: Pick<DerivedMeta, "root" | "sequence"> | undefined): DerivedMeta {
  const { txId, pageSize, highWaterMark } = segment.header;
  const { root } = parent ?? {};
  return deriveMeta(
    { txId, pageSize, highWaterMark, frames: segment.pages },
    root === undefined || parent === undefined ? undefined : { root, sequence: parent.sequence },
  );
}

/**
 * The meta page that a segment carries, a view; `undefined` where it carries none, as Go-made ones. `corrupt` where the
 * page is there and is not the meta of the segment's transaction.
 */
export function metaPageOf(segment: Segment): Uint8Array | undefined {
  const { header, pages } = segment;
  const slot = BigInt(metaSlot(header.txId));
  const frame = pages.find(({ id, overflow }) => id <= slot && slot <= id + BigInt(overflow));
  if (frame === undefined) {
    return undefined;
  }
  const start = Number(slot - frame.id) * header.pageSize;
  const page = frame.data.subarray(start, start + header.pageSize);
  const meta = parseMeta(page);
  if (meta === undefined || meta.txId !== header.txId || meta.pageSize !== header.pageSize) {
    throw new PageferryError(
      "corrupt",
      `${segmentWords(header)}: page ${slot} is not the meta page of its transaction`,
    );
  }
  return page;
}
