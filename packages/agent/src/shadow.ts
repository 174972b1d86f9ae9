// The shadow of one generation: what was captured becomes durable here before it is sent. An append is written and fsynced at once after a pause
// without one; what arrives meanwhile shares the next, merged into one record with granularity `interval`.
import type { CompressionConfig, TxId } from "@pageferry/format";
import { createRangeMerge, giveBackPages, type RangeMerge, type RangePart } from "./range-merge.ts";
import { encodeRange, type SegmentSource } from "./range-segment.ts";
import type { LogEntry } from "./shadow-file.ts";
import { type NewRecord, openShadowLog, type ShadowLogOptions } from "./shadow-log.ts";
import { createPace, type Pace } from "./shadow-pace.ts";
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
  /** From the end of a write to the next, ms; whoever flushes does not wait for it. */
  readonly paceMs: number;
  /** Called after each fsync, in order. The pages are gone when it has returned. */
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
  /** Bytes of pages that are not durable yet. */
  pendingBytes(): number;
  /** Takes a captured delta; its memory may be used again when this returns. Waits while too much is in memory. */
  append(part: RangePart): Promise<void>;
  /** Waits until everything appended so far is durable (or was given up as lost); false: the signal aborted first. */
  flush(signal?: AbortSignal): Promise<boolean>;
  /** Removes what is not above `upTo`; `before` is run first if there is such. */
  trim(upTo: TxId, before?: () => Promise<void>): Promise<void>;
  /** Puts what `squashed` makes of all its records in their place. Appends wait meanwhile. */
  squash(squashed: (entries: readonly LogEntry[]) => AsyncIterable<NewRecord>): Promise<void>;
  /** Looks whether the files are there as they were written. Records of one that is not are forgotten, and returned. */
  inspect(): Promise<readonly LogEntry[]>;
  /** Gives up what is not durable and closes the files; call `flush` first. */
  close(): Promise<void>;
}

/** Pages that wait for the disk. Above it the source is not asked for more, and merges by itself. */
const pendingBytesMax = 32 * 1024 * 1024;

/** Between attempts to write to a full disk. */
const retryMs = 1000;

/** With so much waiting the next write is not put off. */
const hurriedBytes = pendingBytesMax / 4;

/** Segments encoded at a time; each has its pages in memory twice meanwhile. */
const encodedAtATime = 8;

/** A range that waits for the disk, and how many deltas it is made of. */
interface Waiting {
  readonly part: RangePart;
  readonly deltas: number;
}

interface ShadowState {
  readonly options: ShadowOptions;
  readonly merge: RangeMerge;
  readonly closed: AbortController;
  readonly pace: Pace;
  /** Deltas taken, and how many of them are done with. */
  taken: number;
  done: number;
  /** Deltas in the merge. */
  merged: number;
  /** Called when some are done with. */
  readonly progress: Set<() => void>;
  /** With `transaction`: deltas in memory of their own. With `interval`: what the merge does not go on from. */
  queue: Waiting[];
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
    merge: createRangeMerge({ isShortLived: true }),
    closed: new AbortController(),
    pace: createPace(options.paceMs),
    taken: 0,
    done: 0,
    merged: 0,
    progress: new Set(),
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
    pendingBytes: () => pendingBytes(state),
    async append(part) {
      take(state, part);
      state.writing ??= writeAll(state, write);
      if (state.queue.length >= encodedAtATime || pendingBytes(state) >= hurriedBytes) state.pace.hurry();
      while (pendingBytes(state) > pendingBytesMax && !state.closed.signal.aborted) {
        await state.writing;
      }
    },
    flush: (signal) => flush(state, signal),
    trim: (upTo, before) => inTurn(state, () => log.trim(upTo, before)),
    squash: (squashed) =>
      inTurn(state, async () => {
        const entries = log.entries();
        const [first] = entries;
        if (first !== undefined && entries.length > 1) await log.squash(first, squashed(entries));
      }),
    inspect: () => inTurn(state, log.inspect),
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

/** Waits for what was taken until now, and not for what comes meanwhile: a busy writer never pauses. */
async function flush(state: ShadowState, signal?: AbortSignal): Promise<boolean> {
  const target = state.taken;
  const ends = AbortSignal.any([state.closed.signal, ...(signal === undefined ? [] : [signal])]);
  while (state.done < target && !ends.aborted) {
    state.pace.hurry();
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    state.progress.add(wake);
    ends.addEventListener("abort", wake, { once: true });
    await promise;
    state.progress.delete(wake);
    ends.removeEventListener("abort", wake);
  }
  return state.done >= target;
}

function pendingBytes(state: ShadowState): number {
  return state.merge.rawBytes() + state.queueBytes;
}

function take(state: ShadowState, part: RangePart): void {
  state.taken += 1;
  if (state.options.granularity === "transaction") {
    enqueue(state, { part: copyOf(part), deltas: 1 });
    return;
  }
  const last = state.merge.txId();
  if (last !== undefined && part.parentTxId > last) {
    // A base lies between: one range over both would claim what it does not hold.
    enqueue(state, takeMerged(state));
  }
  state.merge.add(part);
  state.merged += 1;
}

function enqueue(state: ShadowState, waiting: Waiting): void {
  state.queue.push(waiting);
  state.queueBytes += rawBytesOf(waiting.part);
}

function takeMerged(state: ShadowState): Waiting {
  const waiting = { part: state.merge.range(), deltas: state.merged };
  state.merge.clear();
  state.merged = 0;
  return waiting;
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
      if (state.queue.length < encodedAtATime) await state.pace.wait(state.closed.signal);
      const next = nextWaiting(state);
      if (next.length === 0) return;
      const isDone = await writeUntilDone(
        state,
        next.map(({ part }) => part),
        write,
      );
      state.pace.wrote();
      if (isDone) state.done += next.reduce((sum, { deltas }) => sum + deltas, 0);
      for (const wake of state.progress) wake();
    }
  } finally {
    state.writing = undefined;
  }
}

function nextWaiting(state: ShadowState): Waiting[] {
  const next = state.queue.splice(0, encodedAtATime);
  state.queueBytes -= next.reduce((sum, { part }) => sum + rawBytesOf(part), 0);
  if (next.length > 0 || state.merge.isEmpty()) return next;
  return [takeMerged(state)];
}

/** Whether it was done; false when the shadow was closed meanwhile. */
async function writeUntilDone(
  state: ShadowState,
  parts: readonly RangePart[],
  write: Write,
): Promise<boolean> {
  const ranges = (await Promise.all(parts.map((part) => encodedRange(state.options, part)))).flat();
  if (ranges.length === 0) return true;
  const records = ranges.map(recordOf);
  const pause = createWake();
  let isInTrouble = false;
  while (!state.closed.signal.aborted) {
    try {
      await write(records);
      if (isInTrouble) state.options.onTrouble(undefined);
      state.options.onDurable(ranges);
      for (const part of parts) giveBackPages(part);
      return true;
    } catch (error) {
      isInTrouble = true;
      state.options.onTrouble(error);
      await pause.wait(retryMs, state.closed.signal);
    }
  }
  return false;
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
