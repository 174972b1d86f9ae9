// The pages of a plan's snapshot: one frame at a time where it is seekable, a stretch where it is not compressed; else it is decoded whole,
// within a bound.

import type { Meta } from "./bolt/meta.ts";
import type { Weighed } from "./byte-cache.ts";
import { PageferryError } from "./errors.ts";
import { pageIdMax, pageSizeMax, pageSizeMin, seekFrameBytes } from "./limits.ts";
import {
  fromObject,
  type ObjectSource,
  type PointSource,
  placeBytes,
  restoreInstead,
} from "./point-source.ts";
import { evenFrames, type RawFrame, readRawBytes, tableFrames } from "./raw-frames.ts";
import { checkSnapshot, metaOfHead } from "./restore-snapshot.ts";
import { readFrame } from "./seek-reader.ts";
import { decodeSnapshot } from "./snapshot-decode.ts";
import { type SnapshotHeader, snapshotWords } from "./snapshot-header.ts";
import { openSnapshot } from "./snapshot-range.ts";

/** What is read at a time of pages that are stored as they are: a page, and likely its neighbours. */
const stretchBytes = 128 * 1024;

/** The snapshot, opened. */
export interface SnapshotPages {
  readonly header: SnapshotHeader;
  readonly pages: number;
  /** The newest of its metas, held against the header and the name. */
  meta(signal: AbortSignal | undefined): Promise<Meta>;
  /** The block of a page below `pages`. Throws `corrupt` naming the object. */
  page(pageId: number, signal: AbortSignal | undefined): Promise<Uint8Array>;
}

/** The same in one reader. */
interface OpenedCopy {
  readonly header: SnapshotHeader;
  readonly rawBytes: number;
  read(offset: number, length: number, from: ObjectSource): Promise<Uint8Array>;
}

/** Opens the snapshot. Errors: `corrupt`, `too-large` for one that can only be read as a whole, `not-found`, what the readers throw. */
export async function openSnapshotPages(
  source: PointSource,
  signal: AbortSignal | undefined,
): Promise<SnapshotPages> {
  const { snapshot } = source.plan;
  const copies = new Map<string, OpenedCopy>();
  const copyIn = async (from: ObjectSource): Promise<OpenedCopy> => {
    const copy = copies.get(from.reader) ?? (await openCopy(source, from));
    copies.set(from.reader, copy);
    return copy;
  };
  const { header, rawBytes } = await fromObject(source, snapshot, signal, copyIn);
  const read = (offset: number, length: number, until: AbortSignal | undefined): Promise<Uint8Array> =>
    fromObject(source, snapshot, until, async (from) => (await copyIn(from)).read(offset, length, from));
  return {
    header,
    pages: rawBytes / header.pageSize,
    page: (pageId, until) => read(pageId * header.pageSize, header.pageSize, until),
    async meta(until) {
      const head = await read(0, Math.min(rawBytes, 2 * header.pageSize), until);
      const meta = metaOfHead(head, true);
      checkSnapshot(snapshot, header, meta, rawBytes);
      return meta;
    },
  };
}

async function openCopy(source: PointSource, first: ObjectSource): Promise<OpenedCopy> {
  const ranges = await openSnapshot(first.parts);
  const { header, rawBytes, data } = ranges;
  checkHeader(source, header, rawBytes);
  if (!ranges.isSeekable) return wholeCopy(source, header, rawBytes);
  const isPacked = ranges.frames.length > 0;
  source.onHold(ranges.frames.length * placeBytes);
  const frames = isPacked ? tableFrames(ranges.frames) : evenFrames(rawBytes, stretchBytes);
  const load = (frame: RawFrame, { parts }: ObjectSource): Promise<Uint8Array> => {
    const place = ranges.frames[frame.index];
    if (place !== undefined) return readFrame(parts, data, place, snapshotWords(header));
    return parts.read(data.offset + frame.rawStart, frame.rawEnd - frame.rawStart);
  };
  return {
    header,
    rawBytes,
    read: (offset, length, from) =>
      readRawBytes(frames, offset, length, (frame) =>
        source.cache.get(`${from.key}\n#${frame.index}`, async () => {
          const value = await load(frame, from);
          return { value, bytes: value.length };
        }),
      ),
  };
}

/** Before anything is read at a place that follows from these numbers. */
function checkHeader({ plan }: PointSource, header: SnapshotHeader, rawBytes: number): void {
  const { pageSize, pageCount, txId } = header;
  const isPageSize = pageSize >= pageSizeMin && pageSize <= pageSizeMax && (pageSize & (pageSize - 1)) === 0;
  if (!isPageSize || pageCount < 2n || pageCount > BigInt(pageIdMax))
    throw new PageferryError("corrupt", `${pageCount} pages of ${pageSize} bytes are no database`);
  if (rawBytes !== Number(pageCount) * pageSize) {
    throw new PageferryError(
      "corrupt",
      `${rawBytes} bytes, its header says ${pageCount} pages of ${pageSize}`,
    );
  }
  if (txId !== plan.snapshot.txId)
    throw new PageferryError("corrupt", `is of transaction ${txId}, its name says ${plan.snapshot.txId}`);
}

/** One long frame, as the Go implementation writes it: decoded from its beginning to its end, and verified as in a restore. */
function wholeCopy(
  { cache, wholeBytesMax }: PointSource,
  header: SnapshotHeader,
  rawBytes: number,
): OpenedCopy {
  if (rawBytes > wholeBytesMax) {
    throw new PageferryError(
      "too-large",
      `a database of ${rawBytes} bytes in one piece, at most ${wholeBytesMax} are decoded to look inside`,
      restoreInstead,
    );
  }
  const frames = evenFrames(rawBytes, seekFrameBytes);
  return {
    header,
    rawBytes,
    async read(offset, length, from) {
      const pieces = await cache.get(`${from.key}\n*`, () => decodeWhole(from, rawBytes));
      return readRawBytes(frames, offset, length, async ({ index }) => pieces[index] ?? new Uint8Array(0));
    },
  };
}

/** In pieces of one size; memory is taken as bytes come. */
async function decodeWhole(from: ObjectSource, rawBytesMax: number): Promise<Weighed<readonly Uint8Array[]>> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  const { raw, header } = decodeSnapshot(await from.stream(), { rawBytesMax });
  for await (const part of raw) {
    for (let at = 0; at < part.length; ) {
      const inside = bytes % seekFrameBytes;
      if (inside === 0) pieces.push(new Uint8Array(seekFrameBytes));
      const taken = part.subarray(at, at + seekFrameBytes - inside);
      (pieces.at(-1) as Uint8Array).set(taken, inside);
      at += taken.length;
      bytes += taken.length;
    }
  }
  await header;
  return { value: pieces, bytes: pieces.length * seekFrameBytes };
}
