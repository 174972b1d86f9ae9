// Objects that follow one another, folded into one range while they are fetched: newest first, as a restore takes them, so that memory holds
// the result, what is being fetched, and nothing else. What leads nowhere, or contradicts its neighbour, is an error. See docs/format.md#merge.

import { type ArchiveReader, type ReadOptions, readObject } from "./archive-reader.ts";
import { encodeMetaPage, type MetaFields, metaSlot } from "./bolt/meta.ts";
import { PageferryError } from "./errors.ts";
import { createPageFold, type PageFold } from "./fold-pages.ts";
import { giveBack } from "./give-back.ts";
import { inOrder } from "./in-order.ts";
import { packBytesMax, segmentBytesMax, segmentFramesMax } from "./limits.ts";
import { decodePack } from "./pack.ts";
import { createChainWalk } from "./restore-chain.ts";
import { decodeParts, type Part, type PartOrder } from "./restore-part.ts";
import type { PageFrame, SegmentInput } from "./segment.ts";
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
  /** The state that the range begins at, if all steps go into it; else it begins where the oldest that does begins. */
  readonly parentTxId: TxId;
  /** Its hash, where it is known; else that of the oldest object counts, if it begins exactly there. */
  readonly pre?: StateHash | undefined;
  /** Bytes of pages at most: the fold ends before the step that would bring more. */
  readonly rawBytesMax: number;
}

export interface FoldedRange {
  /** What `encodeSegment` takes. Its pages are lost with `release`. */
  readonly segment: SegmentInput;
  /** How many steps are in it, from the newest on: all, or as many as the bound allows. */
  readonly steps: number;
  /** The latest receipt of what was folded; null where nothing tells it. */
  readonly receivedMs: number | null;
  /** Gives the memory of the pages back at once. */
  release(): void;
}

/** Ends the fold without being a failure. */
const full = Symbol("full");

/** Objects that are fetched at a time, and their bytes. */
const objectsAtOnce = 8;
const bytesAtOnce = 8 * 1024 * 1024;

/**
 * Folds steps into the range (parentTxId, end], as many from the newest on as `rawBytesMax` allows. Errors: `corrupt`, `too-large` where
 * the newest step alone is, what reading throws; the message names the object.
 */
export async function foldRange(options: FoldOptions): Promise<FoldedRange> {
  const { steps, signal, reader, rawBytesMax } = options;
  const last = steps.at(-1);
  if (last === undefined) throw new PageferryError("bad-request", "a range is folded of something");
  const folding = createFolding(last, rawBytesMax);
  await inOrder(
    steps.toReversed(),
    { countMax: objectsAtOnce, weightMax: bytesAtOnce, weight: ({ size }) => size },
    (step, stepSignal) => fetchStep(reader, step, stepSignal),
    async (fetched, step) => {
      const isIn = await folding.take(step, fetched);
      // The fold has copies of what it needs.
      for (const { frames } of fetched.parts) for (const frame of frames) giveBack(frame);
      giveBack(fetched.stored);
      if (!isIn) throw full;
      return { done: Promise.resolve() };
    },
    signal,
  ).catch((error: unknown) => {
    if (error !== full) throw error;
  });
  return folding.end(options);
}

/** A fold under way, newest step first. */
interface Folding {
  /** False: it would become too large with this step, and is as it was. */
  take(step: FoldStep, fetched: Fetched): Promise<boolean>;
  end(options: Pick<FoldOptions, "steps" | "parentTxId" | "pre">): FoldedRange;
}

function createFolding(last: FoldStep, rawBytesMax: number): Folding {
  const chain = createChainWalk(last.to);
  let fold: PageFold | undefined;
  let meta: MetaFields | undefined;
  let newest: SegmentState | undefined;
  let oldest: Part["facts"] | undefined;
  let receivedMs: number | null = null;
  let taken = 0;
  return {
    async take(step, { parts, states }) {
      const [first] = parts.toReversed();
      fold ??= first && createPageFold(first.facts.pageSize, first.facts.highWaterMark);
      if (fold !== undefined && fold.bytesWith(parts.map(({ facts }) => facts.runs)) > rawBytesMax) {
        if (taken > 0) return false;
        throw new PageferryError("too-large", `${step.name}: more than ${rawBytesMax} bytes of pages`);
      }
      for (const part of parts.toReversed()) {
        await chain.part(step.name, part.facts, async () => part.deriveMeta());
        fold?.add(part.facts.runs, part.frames);
        if (part === first && taken === 0) {
          meta = part.facts.meta;
          fold?.dropFree(meta?.freelist ?? null);
        }
        oldest = part.facts;
      }
      newest ??= states.at(-1);
      receivedMs = laterOf(receivedMs, states);
      taken += 1;
      return true;
    },
    end({ steps, parentTxId: whole, pre: told }) {
      const end = chain.end();
      if (fold === undefined || end === undefined || meta === undefined)
        throw new PageferryError(
          "corrupt",
          `${last.name}: holds no meta page, as the Go implementation writes it`,
        );
      const { frames, release } = framesOf(fold);
      const parentTxId = taken === steps.length ? whole : (steps.at(-taken)?.from ?? whole);
      const isFromStart = oldest?.parentTxId === parentTxId;
      const pre = (taken === steps.length ? told : undefined) ?? (isFromStart ? oldest?.pre : undefined);
      const { pre: _, receivedMs: __, ...state } = newest ?? {};
      const slot = metaSlot(last.to);
      const segment = {
        ...{ txId: last.to, parentTxId, pageSize: end.pageSize, highWaterMark: BigInt(end.highWaterMark) },
        createdAt: newest?.stampMs === undefined ? null : Math.floor(newest.stampMs / 1000),
        attrs: segmentAttrs({ ...state, ...optional("pre", pre) }),
        pages: [{ id: BigInt(slot), overflow: 0, data: encodeMetaPage(meta, slot) }, ...frames],
      };
      return { segment, steps: taken, receivedMs, release };
    },
  };
}

function framesOf(fold: PageFold): { readonly frames: PageFrame[]; readonly release: () => void } {
  const frames = fold.frames();
  if (frames.length < segmentFramesMax) return { frames, release: fold.release };
  throw new PageferryError(
    "too-large",
    `a range of ${frames.length} runs, at most ${segmentFramesMax} are read`,
  );
}

interface Fetched {
  readonly parts: readonly Part[];
  /** The object. Frames that are not compressed lie in it. */
  readonly stored: Uint8Array;
  /** What the headers of these parts say. */
  readonly states: readonly SegmentState[];
}

async function fetchStep(reader: ArchiveReader, step: FoldStep, signal: AbortSignal): Promise<Fetched> {
  const bytesMax = step.kind === "pack" ? packBytesMax + packBytesMax / 8 : segmentBytesMax;
  const bytes = await readObject(reader, step.name, { bytesMax, signal });
  const parts = decodeParts(step, bytes);
  if (step.kind === "segment")
    return { parts, stored: bytes, states: [segmentState(decodeSegmentFile(bytes).header)] };
  const inside = decodePack(bytes).filter(({ entry }) => entry.txId > step.from && entry.txId <= step.to);
  return {
    ...{ parts, stored: bytes },
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
