// Consumes a capture source as the agent would, rebuilds the database from base and deltas alone, and keeps images of
// points chosen by chance, for the checker to judge.
import { closeSync, copyFileSync, ftruncateSync, openSync, rmSync, truncateSync, writeSync } from "node:fs";
import { metaPagesFor, type StateHash } from "@pageferry/format";
import type { CaptureEvent, CaptureSource, DeltaEvent } from "../packages/agent/src/sources/capture-event.ts";

/** A database as it was captured at one txid, written to a file. */
export interface RecordedImage {
  readonly path: string;
  readonly txId: number;
  readonly stateHash: StateHash;
  readonly from: "base" | "deltas";
}

/** What a capture did. */
export interface CaptureFigures {
  firstTxId: number;
  lastTxId: number;
  /** Transactions that have a delta of their own. */
  singles: number;
  /** Deltas over several transactions, and how many transactions they cover. */
  ranges: number;
  inRanges: number;
  widestRange: number;
  bases: number;
  begins: string[];
  alarms: string[];
  /** Breaks of the parent chain, which must not happen inside a generation. */
  gaps: string[];
  deltaBytes: number;
}

export interface CaptureRecorder {
  readonly figures: CaptureFigures;
  readonly images: RecordedImage[];
  /** The newest captured txid. */
  txId(): number;
  /** Ends when the source has stopped. */
  readonly done: Promise<void>;
  /** Takes an image of what is captured now, unless there is one of it. */
  keepNow(): void;
}

export interface RecorderOptions {
  /** Where images lie; a memory file system costs the writer least. */
  readonly directory: string;
  /** Asked after each delta: keep an image of it? */
  readonly keep: () => boolean;
  readonly onEvent?: (event: CaptureEvent) => void;
}

interface Working {
  readonly fd: number;
  readonly path: string;
  size: number;
  txId: number;
  stateHash: StateHash;
}

/** Applies a delta to a file: the frames, and both metas as a restore writes them. */
function applyDelta(working: Working, delta: DeltaEvent): void {
  for (const frame of delta.frames) {
    writeSync(working.fd, frame.data, 0, frame.data.length, frame.id * delta.pageSize);
  }
  const meta = delta.frames[0];
  if (meta === undefined || meta.id !== Number(delta.txId % 2n)) {
    throw new Error(`the first frame of ${delta.txId} is not its meta page`);
  }
  for (const [slot, page] of metaPagesFor(meta.data).entries()) {
    writeSync(working.fd, page, 0, page.length, slot * delta.pageSize);
  }
  working.size = delta.highWaterMark * delta.pageSize;
  working.txId = Number(delta.txId);
  working.stateHash = delta.post;
}

function copyDelta(delta: DeltaEvent): DeltaEvent {
  return { ...delta, frames: delta.frames.map((frame) => ({ ...frame, data: Uint8Array.from(frame.data) })) };
}

function createFigures(): CaptureFigures {
  return {
    firstTxId: 0,
    lastTxId: 0,
    singles: 0,
    ranges: 0,
    inRanges: 0,
    widestRange: 0,
    bases: 0,
    begins: [],
    alarms: [],
    gaps: [],
    deltaBytes: 0,
  };
}

function countDelta(figures: CaptureFigures, delta: DeltaEvent): void {
  const width = Number(delta.txId - delta.parentTxId);
  if (figures.firstTxId === 0) {
    figures.firstTxId = Number(delta.parentTxId);
  } else if (figures.lastTxId !== Number(delta.parentTxId)) {
    figures.gaps.push(`${figures.lastTxId} then ${delta.parentTxId}..${delta.txId}`);
  }
  figures.lastTxId = Number(delta.txId);
  if (width === 1) {
    figures.singles += 1;
  } else {
    figures.ranges += 1;
    figures.inRanges += width;
    figures.widestRange = Math.max(figures.widestRange, width);
  }
  for (const frame of delta.frames) {
    figures.deltaBytes += frame.data.length;
  }
}

/** Consumes the source until it has stopped. */
export function recordCapture(source: CaptureSource, options: RecorderOptions): CaptureRecorder {
  const figures = createFigures();
  const images: RecordedImage[] = [];
  const early: DeltaEvent[] = [];
  let working: Working | undefined;

  const keepImage = (
    path: string,
    txId: number,
    size: number,
    from: RecordedImage["from"],
    post: StateHash,
  ) => {
    const kept = `${options.directory}/${from}-${images.length}-${txId}.db`;
    copyFileSync(path, kept);
    truncateSync(kept, size);
    images.push({ path: kept, txId, stateHash: post, from });
  };
  const keepNow = () => {
    if (working !== undefined && images.at(-1)?.txId !== working.txId) {
      keepImage(working.path, working.txId, working.size, "deltas", working.stateHash);
    }
  };
  const closeWorking = () => {
    if (working !== undefined) closeSync(working.fd);
    working = undefined;
  };
  const takeBase = (event: CaptureEvent & { readonly type: "base" }) => {
    figures.bases += 1;
    const size = event.highWaterMark * event.pageSize;
    keepImage(event.imagePath, Number(event.txId), size, "base", event.stateHash);
    // Where too much changed for a delta the history goes on with a base above it: the transactions between are no points.
    const isUnbridged = working !== undefined && Number(event.txId) > working.txId;
    if (isUnbridged) {
      closeWorking();
      figures.lastTxId = Number(event.txId);
    }
    if (working === undefined) {
      const path = `${options.directory}/working.db`;
      copyFileSync(event.imagePath, path);
      const fd = openSync(path, "r+");
      ftruncateSync(fd, size);
      working = { fd, path, size, txId: Number(event.txId), stateHash: event.stateHash };
      for (const delta of early.splice(0)) {
        if (delta.txId > event.txId) {
          applyDelta(working, delta);
        }
      }
    }
    rmSync(event.imagePath);
  };
  const take = (event: CaptureEvent) => {
    options.onEvent?.(event);
    if (event.type === "begin") {
      figures.begins.push(`${event.reason}/${event.via}`);
      if (event.via === "snapshot" && working !== undefined) {
        closeWorking();
        figures.lastTxId = 0;
        figures.firstTxId = 0;
      }
    } else if (event.type === "base") {
      takeBase(event);
    } else if (event.type === "alarm") {
      figures.alarms.push(`${event.code}: ${event.message}`);
    } else if (event.type === "delta") {
      countDelta(figures, event);
      if (working === undefined) {
        early.push(copyDelta(event));
      } else {
        applyDelta(working, event);
        if (options.keep()) {
          keepNow();
        }
      }
    }
  };
  const done = (async () => {
    try {
      for await (const event of source.events) {
        take(event);
      }
    } finally {
      closeWorking();
    }
  })();
  return { figures, images, txId: () => figures.lastTxId, done, keepNow };
}
