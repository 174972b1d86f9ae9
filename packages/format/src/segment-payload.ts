// The payload of a segment, before compression: a map of page frames and the inner header. Both directions.
// Page bytes are copied once when encoding and never when decoding. See docs/format.md#payload.
import { strict as assert } from "node:assert";
import { cborHeadLength, cborMajor, decodeCbor, writeCborHead } from "./cbor.ts";
import { cborFields } from "./cbor-fields.ts";
import { PageferryError } from "./errors.ts";
import { pageSizeMax, pageSizeMin, segmentFramesMax, segmentRawBytesMax } from "./limits.ts";
import type { PageIndexEntry } from "./seekable.ts";
import { headerKey } from "./segment-file.ts";
import { encodeSegmentHeader, type SegmentHeader, segmentHeaderOf, segmentWords } from "./segment-header.ts";

/** A run of consecutive pages. A captured frame is one bolt run; a merged one need not begin with a page header. */
export interface PageFrame {
  readonly id: bigint;
  /** Pages after the first. */
  readonly overflow: number;
  /** (overflow + 1) × page size bytes. After decoding it is a view, not a copy. */
  readonly data: Uint8Array;
}

/** `a2 65 "pages"`: how every payload begins. */
const pagesKey = Buffer.from("\xa2\x65pages", "latin1");
/** `a3 62 "ID"`, `64 "Data"`, `68 "Overflow"`: Go's field names, in canonical order. */
const idKey = Buffer.from("\xa3\x62ID", "latin1");
const dataKey = Buffer.from("\x64Data", "latin1");
const overflowKey = Buffer.from("\x68Overflow", "latin1");
const frameKeyBytes = idKey.length + dataKey.length + overflowKey.length;

const idMax = 0xffff_ffff_ffff_ffffn;
const overflowMax = 0xffff_ffff;

/** An encoded payload, and where its runs lie in it. */
export interface EncodedPayload {
  readonly bytes: Uint8Array;
  readonly index: readonly PageIndexEntry[];
}

/** Asserts what a caller must get right, and throws `too-large` for what no reader would take. */
function checkInput(header: SegmentHeader, pages: readonly PageFrame[]): void {
  if (pages.length > segmentFramesMax) {
    throw new PageferryError(
      "too-large",
      `${segmentWords(header)}: ${pages.length} runs, at most ${segmentFramesMax} can be read`,
    );
  }
  let free = 0n;
  for (const page of pages) {
    assert.equal(
      page.data.length,
      (page.overflow + 1) * header.pageSize,
      `page ${page.id}: bytes of its run`,
    );
    assert.ok(page.id >= free, `page ${page.id}: frames ascend and do not overlap`);
    free = page.id + BigInt(page.overflow) + 1n;
  }
}

/** Lays out a payload in one buffer of exactly its size. `header` is written with checksum 0. */
export function encodeSegmentPayload(header: SegmentHeader, pages: readonly PageFrame[]): EncodedPayload {
  checkInput(header, pages);
  const headerBytes = encodeSegmentHeader({ ...header, checksum: 0n });
  let size = pagesKey.length + cborHeadLength(pages.length) + headerKey.length + headerBytes.length;
  for (const page of pages) {
    size += frameKeyBytes + cborHeadLength(page.id) + cborHeadLength(page.data.length) + page.data.length;
    size += cborHeadLength(page.overflow);
  }
  if (size > segmentRawBytesMax) {
    throw new PageferryError(
      "too-large",
      `${segmentWords(header)}: ${size} bytes, at most ${segmentRawBytesMax} go into one`,
    );
  }
  const bytes = Buffer.allocUnsafe(size);
  const index: PageIndexEntry[] = [];
  bytes.set(pagesKey, 0);
  let at = writeCborHead(bytes, pagesKey.length, cborMajor.array, pages.length);
  for (const page of pages) {
    bytes.set(idKey, at);
    at = writeCborHead(bytes, at + idKey.length, cborMajor.uint, page.id);
    bytes.set(dataKey, at);
    at = writeCborHead(bytes, at + dataKey.length, cborMajor.bytes, page.data.length);
    index.push({ pageId: page.id, count: BigInt(page.overflow) + 1n, offset: BigInt(at) });
    bytes.set(page.data, at);
    at += page.data.length;
    bytes.set(overflowKey, at);
    at = writeCborHead(bytes, at + overflowKey.length, cborMajor.uint, page.overflow);
  }
  bytes.set(headerKey, at);
  bytes.set(headerBytes, at + headerKey.length);
  return { bytes, index };
}

/**
 * Decodes a payload and holds it against the outer header, which may differ from the inner one only in `checksum` and
 * the attribute `received`. Frames are views. Throws `corrupt`.
 */
export function decodeSegmentPayload(bytes: Uint8Array, outer: SegmentHeader): PageFrame[] {
  const what = segmentWords(outer);
  const fields = cborFields(decodeCbor(bytes, what), what);
  checkInnerHeader(segmentHeaderOf(fields.map("header"), `${what}: inner header`), outer);
  return framesOf(fields.array("pages"), outer);
}

/** Throws `corrupt` where the inner header, which the checksum covers, and the outer one disagree. */
function checkInnerHeader(inner: SegmentHeader, outer: SegmentHeader): void {
  const different = differentField(inner, outer);
  if (different !== undefined) {
    throw new PageferryError(
      "corrupt",
      `${segmentWords(outer)}: the outer header's ${different} is not that of the inner one`,
    );
  }
}

/** `received` is set on the way. `time` is `stamp` in the oldest archives, which wrote it twice; nothing is read from it. */
const outerAttrs: ReadonlySet<string> = new Set(["received", "time"]);

function differentField(inner: SegmentHeader, outer: SegmentHeader): string | undefined {
  for (const key of Object.keys(outer) as (keyof SegmentHeader)[]) {
    if (key !== "checksum" && key !== "attrs" && inner[key] !== outer[key]) {
      return key;
    }
  }
  for (const key of new Set([...Object.keys(inner.attrs), ...Object.keys(outer.attrs)])) {
    if (!outerAttrs.has(key) && inner.attrs[key] !== outer.attrs[key]) {
      return `attribute ${JSON.stringify(key.slice(0, 40))}`;
    }
  }
  return undefined;
}

function framesOf(items: readonly unknown[], header: SegmentHeader): PageFrame[] {
  const what = segmentWords(header);
  checkPageSize(header);
  let free = 0n;
  return items.map((item) => {
    const page = frameOf(item, what);
    checkFrame(page, free, header);
    free = page.id + BigInt(page.overflow) + 1n;
    return page;
  });
}

/** Throws `corrupt` unless the page size is one that a bolt file may have. */
export function checkPageSize(header: Pick<SegmentHeader, "pageSize" | "txId" | "parentTxId">): void {
  const { pageSize } = header;
  if (pageSize < pageSizeMin || pageSize > pageSizeMax || (pageSize & (pageSize - 1)) !== 0) {
    throw new PageferryError(
      "corrupt",
      `${segmentWords(header)}: page size ${pageSize} is no power of two from ${pageSizeMin} to ${pageSizeMax}`,
    );
  }
}

/** Throws `corrupt` unless the frame holds whole pages and begins at or above `free`, where the one before it ended. */
function checkFrame(
  page: { readonly id: bigint; readonly overflow: number; readonly data: { readonly length: number } },
  free: bigint,
  header: SegmentHeader,
): void {
  if (page.data.length !== (page.overflow + 1) * header.pageSize) {
    throw new PageferryError(
      "corrupt",
      `${segmentWords(header)}: page ${page.id} has ${page.data.length} bytes for ${page.overflow + 1} pages of ${header.pageSize}`,
    );
  }
  if (page.id < free) {
    throw new PageferryError(
      "corrupt",
      `${segmentWords(header)}: page ${page.id} overlaps or precedes the run before it`,
    );
  }
  if (page.id + BigInt(page.overflow) > idMax) {
    throw new PageferryError(
      "corrupt",
      `${segmentWords(header)}: a run from page ${page.id} ends beyond all page ids`,
    );
  }
}

function frameOf(item: unknown, what: string): PageFrame {
  if (!(item instanceof Map)) {
    throw new PageferryError("corrupt", `${what}: a page frame is not a map`);
  }
  const id = frameInteger(item.get("ID"));
  const overflow = frameInteger(item.get("Overflow"));
  const data: unknown = item.get("Data");
  if (id === undefined || overflow === undefined || overflow > overflowMax || !(data instanceof Uint8Array)) {
    throw new PageferryError("corrupt", `${what}: a page frame without a proper ID, Overflow or Data`);
  }
  return { id: BigInt(id), overflow: Number(overflow), data };
}

function frameInteger(value: unknown): bigint | number | undefined {
  if (typeof value === "bigint" && value >= 0n && value <= idMax) {
    return value;
  }
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
