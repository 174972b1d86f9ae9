// Objects that follow one another, folded into one range while they are fetched: newest first, as a restore takes them, so that memory holds
// the result, what is being fetched, and nothing else. What leads nowhere, or contradicts its neighbour, is an error. See docs/format.md#merge.

import { type ArchiveReader, type ReadOptions, readObject } from "./archive-reader.ts";
import { encodeMetaPage, type MetaFields, metaSlot } from "./bolt/meta.ts";
import { PageferryError } from "./errors.ts";
import { createPageFold, type PageFold } from "./fold-pages.ts";
import { inOrder } from "./in-order.ts";
import { packBytesMax, segmentBytesMax, segmentFramesMax } from "./limits.ts";
import { decodePack } from "./pack.ts";
import { createChainWalk } from "./restore-chain.ts";
import { decodeParts, type Part, type PartOrder } from "./restore-part.ts";
import { free } from "./restore-unpack.ts";
import type { SegmentInput } from "./segment.ts";
import { decodeSegmentFile } from "./segment-file.ts";
import { optional, type SegmentState, segmentAttrs, segmentState } from "./segment-header.ts";
import type { StateHash } from "./state-hash.ts";
import type { TxId } from "./txid.ts";

/** An object to fold, and what of it: a step of a restore plan. */
export interface FoldStep extends PartOrder {
  readonly size: number;
}

export interface FoldOptions extends ReadOptions {
  /** Oldest first; each leads on from where the one before it ends. */
  readonly steps: readonly FoldStep[];
  readonly reader: ArchiveReader;
  /** The state that the range begins at. */
  readonly parentTxId: TxId;
  /** Its hash, where it is known; else that of the oldest object counts, if it begins exactly there. */
  readonly pre?: StateHash | undefined;
  /** More bytes of pages are `too-large`: nothing is folded on. */
  readonly rawBytesMax: number;
}

export interface FoldedRange {
  /** What `encodeSegment` takes. */
  readonly segment: SegmentInput;
  /** The latest receipt of what was folded; null where nothing tells it. */
  readonly receivedMs: number | null;
}

/** Objects that are fetched at a time, and their bytes. */
const objectsAtOnce = 8;
const bytesAtOnce = 8 * 1024 * 1024;

/** Folds steps into the range (parentTxId, end]. Errors: `corrupt`, `too-large`, what reading throws; the message names the object. */
export async function foldRange(options: FoldOptions): Promise<FoldedRange> {
  const { steps, parentTxId, rawBytesMax, signal } = options;
  const last = steps.at(-1);
  if (last === undefined) throw new PageferryError("bad-request", "a range is folded of something");
  const chain = createChainWalk(last.to);
  let fold: PageFold | undefined;
  let newest: SegmentState | undefined;
  let oldest: Part["facts"] | undefined;
  let receivedMs: number | null = null;
  let meta: MetaFields | undefined;
  await inOrder(
    steps.toReversed(),
    { countMax: objectsAtOnce, weightMax: bytesAtOnce, weight: ({ size }) => size },
    (step, stepSignal) => fetchStep(options.reader, step, stepSignal),
    async (fetched, step) => {
      for (const part of fetched.parts.toReversed()) {
        await chain.part(step.name, part.facts, async () => part.deriveMeta());
        const { pageSize, highWaterMark, runs } = part.facts;
        const isNewest = fold === undefined;
        fold ??= createPageFold(pageSize, highWaterMark);
        fold.add(runs, part.frames);
        if (isNewest) {
          meta = part.facts.meta;
          fold.dropFree(meta?.freelist ?? null);
        }
        oldest = part.facts;
      }
      // The fold has copies of what it needs: the rest is given back at once, and not when the collector comes.
      for (const { frames } of fetched.parts) {
        for (const frame of frames) if (frame.buffer !== fetched.stored) free(frame);
      }
      newest ??= fetched.states.at(-1);
      receivedMs = laterOf(receivedMs, fetched.states);
      if ((fold?.bytes() ?? 0) > rawBytesMax)
        throw new PageferryError("too-large", `a range of more than ${rawBytesMax} bytes of pages`);
      return { done: Promise.resolve() };
    },
    signal,
  );
  const end = chain.end();
  if (fold === undefined || end === undefined || meta === undefined)
    throw new PageferryError(
      "corrupt",
      `${last.name}: holds no meta page, as the Go implementation writes it`,
    );
  const frames = fold.frames();
  if (frames.length >= segmentFramesMax)
    throw new PageferryError(
      "too-large",
      `a range of ${frames.length} runs, at most ${segmentFramesMax} are read`,
    );
  const pre = options.pre ?? (oldest?.parentTxId === parentTxId ? oldest.pre : undefined);
  const { pre: _, receivedMs: __, ...state } = newest ?? {};
  return {
    segment: {
      txId: last.to,
      parentTxId,
      pageSize: end.pageSize,
      highWaterMark: BigInt(end.highWaterMark),
      createdAt: newest?.stampMs === undefined ? null : Math.floor(newest.stampMs / 1000),
      attrs: segmentAttrs({ ...state, ...optional("pre", pre) }),
      pages: [
        { id: BigInt(metaSlot(last.to)), overflow: 0, data: encodeMetaPage(meta, metaSlot(last.to)) },
        ...frames,
      ],
    },
    receivedMs,
  };
}

interface Fetched {
  readonly parts: readonly Part[];
  /** What the object was read into, which may be the reader's own: frames that are not compressed lie in it. */
  readonly stored: ArrayBufferLike;
  /** What the headers of these parts say. */
  readonly states: readonly SegmentState[];
}

async function fetchStep(reader: ArchiveReader, step: FoldStep, signal: AbortSignal): Promise<Fetched> {
  const bytesMax = step.kind === "pack" ? packBytesMax + packBytesMax / 8 : segmentBytesMax;
  const bytes = await readObject(reader, step.name, { bytesMax, signal });
  const parts = decodeParts(step, bytes);
  const stored = bytes.buffer;
  if (step.kind === "segment")
    return { parts, stored, states: [segmentState(decodeSegmentFile(bytes).header)] };
  const inside = decodePack(bytes).filter(({ entry }) => entry.txId > step.from && entry.txId <= step.to);
  return {
    ...{ parts, stored },
    states: inside.map(({ bytes: file, entry }) => ({
      ...segmentState(decodeSegmentFile(file).header),
      ...optional("receivedMs", entry.receivedMs),
    })),
  };
}

function laterOf(receivedMs: number | null, states: readonly SegmentState[]): number | null {
  let latest = receivedMs;
  for (const state of states) {
    if (state.receivedMs !== undefined && (latest === null || state.receivedMs > latest))
      latest = state.receivedMs;
  }
  return latest;
}
