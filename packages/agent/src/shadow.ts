// The shadow of one generation: what was captured becomes durable here before it is sent. An append is fsynced at once when
// no fsync is running; what arrives meanwhile shares the next, merged into one record with granularity `interval`.
import type { CompressionConfig, TxId } from "@pageferry/format";
import { createRangeMerge, type RangeMerge, type RangePart } from "./range-merge.ts";
import { encodeRange, type SegmentSource } from "./range-segment.ts";
import type { LogEntry } from "./shadow-file.ts";
import { type NewRecord, openShadowLog, type ShadowLogOptions } from "./shadow-log.ts";
import { encodeRecord } from "./shadow-record.ts";
import { createWake } from "./wake.ts";

/** `interval`: one point per batch that is sent. `transaction`: every captured commit is a point. */
export type Granularity = "interval" | "transaction";

/** What became durable: the range, and the segment it is kept as. */
export interface DurableRange {
  readonly part: RangePart;
  readonly segment: Uint8Array;
}

/** How a shadow is kept. */
export interface ShadowOptions extends ShadowLogOptions {
  readonly directory: string;
  readonly granularity: Granularity;
  readonly source: SegmentSource;
  /** How segments are compressed here; with `transaction` they are sent like this. */
  readonly compression: CompressionConfig;
  /** Called after each fsync, in order. */
  readonly onDurable: (ranges: readonly DurableRange[]) => void;
  /** A range that cannot be encoded, such as one over the bounds of a segment: only a snapshot can stand for it. */
  readonly onLost: (part: RangePart, error: unknown) => void;
  /** Told when writing fails, again with each attempt, and `undefined` when it goes on. */
  readonly onTrouble: (error: unknown) => void;
}

/** One generation's shadow. */
export interface Shadow {
  readonly directory: string;
  /** What is durable, ascending. */
  entries(): readonly LogEntry[];
  bytes(): number;
  /** Takes a captured delta; its memory may be used again when this returns. Waits while too much is in memory. */
  append(part: RangePart): Promise<void>;
  /** Returns when everything appended so far is durable, or the signal aborts. */
  flush(signal?: AbortSignal): Promise<void>;
  trim(upTo: TxId): Promise<void>;
  /** Puts what `squashed` makes of all its records in their place. Appends wait meanwhile. */
  squash(squashed: (entries: readonly LogEntry[]) => AsyncIterable<NewRecord>): Promise<void>;
  /** Gives up what is not durable and closes the files; call `flush` first. */
  close(): Promise<void>;
}

/** Pages that wait for the disk. Above it the source is not asked for more, and merges by itself. */
const pendingBytesMax = 32 * 1024 * 1024;

/** Between attempts to write to a full disk. */
const retryMs = 1000;

/** Segments encoded at a time; each has its pages in memory twice meanwhile. */
const encodedAtATime = 8;

interface ShadowState {
  readonly options: ShadowOptions;
  readonly merge: RangeMerge;
  readonly closed: AbortController;
  /** With `transaction`: deltas in memory of their own. */
  queue: RangePart[];
  queueBytes: number;
  /** The writing that goes on; there is one at a time. */
  writing: Promise<void> | undefined;
  /** Appends, trims and squashes of the log, one after the other. */
  turn: Promise<unknown>;
}

/** Opens the shadow in its directory; a torn tail is cut off. */
export async function openShadow(options: ShadowOptions): Promise<Shadow> {
  const log = await openShadowLog(options.directory, options);
  const state: ShadowState = {
    options,
    merge: createRangeMerge(),
    closed: new AbortController(),
    queue: [],
    queueBytes: 0,
    writing: undefined,
    turn: Promise.resolve(),
  };
  const write = (records: readonly NewRecord[]) => inTurn(state, () => log.append(records));
  return {
    directory: options.directory,
    entries: log.entries,
    bytes: log.bytes,
    async append(part) {
      take(state, part);
      state.writing ??= writeAll(state, write);
      while (pendingBytes(state) > pendingBytesMax && !state.closed.signal.aborted) {
        await state.writing;
      }
    },
    async flush(signal) {
      const aborted = abortOf(signal);
      while (state.writing !== undefined && signal?.aborted !== true) {
        await Promise.race([state.writing, aborted]);
      }
    },
    trim: (upTo) => inTurn(state, () => log.trim(upTo)),
    squash: (squashed) =>
      inTurn(state, async () => {
        const entries = log.entries();
        const [first] = entries;
        if (first !== undefined && entries.length > 1) await log.squash(first, squashed(entries));
      }),
    async close() {
      state.closed.abort();
      await state.writing;
      await inTurn(state, log.close);
    },
  };
}

function inTurn<Result>(state: ShadowState, act: () => Promise<Result>): Promise<Result> {
  const mine = state.turn.catch(() => {}).then(act);
  state.turn = mine;
  return mine;
}

function abortOf(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((settle) => signal?.addEventListener("abort", () => settle(), { once: true }));
}

function pendingBytes(state: ShadowState): number {
  return state.merge.rawBytes() + state.queueBytes;
}

function take(state: ShadowState, part: RangePart): void {
  if (state.options.granularity === "interval") {
    state.merge.add(part);
    return;
  }
  const own = copyOf(part);
  state.queue.push(own);
  state.queueBytes += rawBytesOf(own);
}

function copyOf(part: RangePart): RangePart {
  const bytes = new Uint8Array(rawBytesOf(part));
  let at = 0;
  const frames = part.frames.map((frame) => {
    bytes.set(frame.data, at);
    const data = bytes.subarray(at, at + frame.data.length);
    at += data.length;
    return { ...frame, data };
  });
  return { ...part, frames, freed: part.freed.slice() };
}

function rawBytesOf(part: RangePart): number {
  return part.frames.reduce((sum, frame) => sum + frame.data.length, 0);
}

type Write = (records: readonly NewRecord[]) => Promise<void>;

/** Writes until nothing waits. It never throws: a disk that refuses is asked again until the shadow is closed. */
async function writeAll(state: ShadowState, write: Write): Promise<void> {
  try {
    // Whoever appended is not made to wait for the encoding of what it appended.
    await Promise.resolve();
    while (!state.closed.signal.aborted) {
      const parts = nextParts(state);
      if (parts.length === 0) return;
      await writeUntilDone(state, parts, write);
    }
  } finally {
    state.writing = undefined;
  }
}

function nextParts(state: ShadowState): RangePart[] {
  if (!state.merge.isEmpty()) {
    const range = state.merge.range();
    state.merge.clear();
    return [range];
  }
  const parts = state.queue.splice(0, encodedAtATime);
  state.queueBytes -= parts.reduce((sum, part) => sum + rawBytesOf(part), 0);
  return parts;
}

async function writeUntilDone(state: ShadowState, parts: readonly RangePart[], write: Write): Promise<void> {
  const ranges = (await Promise.all(parts.map((part) => encodedRange(state.options, part)))).flat();
  if (ranges.length === 0) return;
  const records = ranges.map(recordOf);
  const pause = createWake();
  let isInTrouble = false;
  while (!state.closed.signal.aborted) {
    try {
      await write(records);
      if (isInTrouble) state.options.onTrouble(undefined);
      state.options.onDurable(ranges);
      return;
    } catch (error) {
      isInTrouble = true;
      state.options.onTrouble(error);
      await pause.wait(retryMs, state.closed.signal);
    }
  }
}

/** The encoded range, or none where it cannot be one segment and was given up. */
async function encodedRange(options: ShadowOptions, part: RangePart): Promise<DurableRange[]> {
  try {
    return [{ part, segment: await encodeRange(part, options.source, options.compression) }];
  } catch (error) {
    options.onLost(part, error);
    return [];
  }
}

/** The shadow's record of a range. */
export function recordOf({ part, segment }: DurableRange): NewRecord {
  const { parentTxId, txId, stampMs, pre, post, freed } = part;
  const facts = { parentTxId, txId, stampMs, pre, post, rawBytes: rawBytesOf(part) };
  return { facts, framed: encodeRecord({ ...facts, freed, segment }) };
}
