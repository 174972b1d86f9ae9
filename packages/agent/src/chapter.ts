// One generation at work: its cursor, its shadow, and what of it is recent. Oldest chapters are sent first.
import { join } from "node:path";
import {
  type CompressionConfig,
  type ErrorCode,
  formatTxId,
  type Generation,
  type TxId,
} from "@pageferry/format";
import type { Alarms } from "./alarms.ts";
import type { CursorStore, GenerationCursor } from "./cursor.ts";
import type { RangePart } from "./range-merge.ts";
import type { SegmentSource } from "./range-segment.ts";
import { type Budget, createRecent, type Recent } from "./recent.ts";
import { type Granularity, openShadow, type Shadow } from "./shadow.ts";
import type { LogEntry } from "./shadow-file.ts";

/** A generation at work. */
export interface Chapter {
  readonly generation: Generation;
  /** What captures it, as its segments say. */
  readonly sourceKind: SegmentSource;
  cursor(): GenerationCursor;
  update(change: Partial<GenerationCursor>): void;
  readonly shadow: Shadow;
  readonly recent: Recent;
  /** What the host says is restorable; `null` as long as it has not said. */
  storedTxId: TxId | null;
  /** The end of what is being sent. */
  inFlightTxId: TxId | null;
}

/** What a chapter is opened with. */
export interface ChapterOptions {
  readonly generation: Generation;
  /** The database's directory; the chapter's own lies in it. */
  readonly directory: string;
  readonly cursor: CursorStore;
  readonly granularity: Granularity;
  readonly paceMs: number;
  /** How the shadow compresses. */
  readonly shadowCompression: CompressionConfig;
  readonly budget: Budget;
  readonly alarms: Alarms;
  /** Called when something became durable. */
  readonly onDurable: (txId: TxId, bytes: number) => void;
  /** Called when a captured range was given up; only a snapshot at or after `txId` helps. */
  readonly onLost: (txId: TxId) => void;
  /** Called when the shadow cannot be written, with each attempt. */
  readonly onTrouble: (error: unknown) => void;
  readonly fileBytesMax: number;
  /** What captures the database, as its segments say. */
  readonly sourceKind: SegmentSource;
}

/** Opens the chapter of a generation that the cursor holds. */
export async function openChapter(options: ChapterOptions): Promise<Chapter> {
  const { generation, cursor, alarms } = options;
  const held: { recent?: Recent } = {};
  const known: { last?: GenerationCursor } = {};
  const shadow = await openShadow({
    directory: join(options.directory, generation),
    granularity: options.granularity,
    source: options.sourceKind,
    compression: options.shadowCompression,
    paceMs: options.paceMs,
    fileBytesMax: options.fileBytesMax,
    onDurable(ranges) {
      for (const range of ranges) held.recent?.add(range);
      const last = ranges.at(-1);
      const bytes = ranges.reduce((sum, { segment }) => sum + segment.length, 0);
      if (last !== undefined) options.onDurable(last.part.txId, bytes);
    },
    onTrouble(error) {
      if (error === undefined) {
        alarms.clear("shadow");
        return;
      }
      alarms.raiseError("shadow", error);
      options.onTrouble(error);
    },
    onLost(part: RangePart, error: unknown) {
      alarms.raiseError("history", error);
      options.onLost(part.txId);
    },
  });
  const recent = createRecent(options.granularity, options.budget, shadow.entries().at(-1)?.txId ?? null);
  held.recent = recent;
  return {
    generation,
    sourceKind: options.sourceKind,
    cursor: () => cursorOf(cursor, generation, known),
    update: (change) => cursor.updateGeneration(generation, change),
    shadow,
    recent,
    storedTxId: null,
    inFlightTxId: null,
  };
}

/** A generation that has gone from the cursor meanwhile is still what it was. */
function cursorOf(
  cursor: CursorStore,
  generation: Generation,
  known: { last?: GenerationCursor },
): GenerationCursor {
  const found = cursor.value().generations.find((one) => one.generation === generation) ?? known.last;
  if (found === undefined) throw new RangeError(`generation ${generation} is not in the cursor`);
  known.last = found;
  return found;
}

/**
 * Looks whether the shadow is as it was written. Of what is lost, that which was not sent only a snapshot can stand for. Answers
 * whether something is lost, as the words for it.
 */
export async function inspectShadow(chapter: Chapter): Promise<string | undefined> {
  const lost = await chapter.shadow.inspect();
  const [first, last] = [lost[0], lost.at(-1)];
  if (first === undefined || last === undefined) return;
  chapter.recent.clear();
  const isUnsent = last.txId > (reachOf(chapter) ?? -1n);
  if (isUnsent) chapter.update({ baseNeededFrom: newest(chapter.cursor().baseNeededFrom, last.txId) });
  const what = `${formatTxId(first.parentTxId)} to ${formatTxId(last.txId)}`;
  const fate = isUnsent ? "not all of it was sent, a new snapshot follows" : "it was sent before";
  return `${chapter.shadow.directory}: files are gone or cut short that held ${what}; ${fate}`;
}

/** The newest transaction of a chapter, wherever it is; `null`: it has come to nothing yet. */
export function lastTxIdOf(chapter: Chapter): TxId | null {
  const { acknowledgedTxId, baseTxId } = chapter.cursor();
  return newest(newest(acknowledgedTxId, baseTxId), chapter.shadow.entries().at(-1)?.txId ?? null);
}

/** The larger of two, where `null` is smaller than all. */
export function newest(a: TxId | null, b: TxId | null): TxId | null {
  if (a === null || b === null) return a ?? b;
  return a > b ? a : b;
}

/** Up to where the archive has it: what was acknowledged, be it segment or snapshot. */
export function reachOf(chapter: Chapter): TxId | null {
  const { acknowledgedTxId, baseTxId, via, parent } = chapter.cursor();
  const sent = newest(acknowledgedTxId, baseTxId);
  return sent ?? (via === "bridge" ? (parent?.txId ?? null) : null);
}

/**
 * The newest transaction that the host has taken. Of a file that was restored, and that nobody has written since, it is the point that
 * the host said it holds. `null`: it has nothing.
 */
export function acknowledgedOf(cursor: GenerationCursor): TxId | null {
  const { acknowledgedTxId, baseTxId, parent } = cursor;
  return newest(acknowledgedTxId, baseTxId) ?? (standsOnHeld(cursor) ? (parent?.txId ?? null) : null);
}

/** Whether a generation begins at a point that the file was restored to, and that the host said it holds. */
export function standsOnHeld({ via, parentStateHash, epoch }: GenerationCursor): boolean {
  return via === "bridge" && parentStateHash !== null && epoch !== null;
}

/** Nothing of a generation is sent before a snapshot: what its bridge would stand on is not there. */
export function waitForBase(chapter: Chapter): void {
  const baseNeededFrom = newest(chapter.cursor().baseNeededFrom, 0n as TxId);
  chapter.update({ via: "snapshot", baseNeededFrom, parentStateHash: null });
}

/** What is durable here and was not acknowledged, ascending. */
export function unsentOf(chapter: Chapter): readonly LogEntry[] {
  const entries = chapter.shadow.entries();
  const reach = reachOf(chapter);
  if (reach === null) return entries;
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((entries[middle]?.txId ?? 0n) > reach) high = middle;
    else low = middle + 1;
  }
  return low === 0 ? entries : entries.slice(low);
}

/** Whether nothing can be sent before a new snapshot is: none was ever, or something between was lost. */
export function needsBase(chapter: Chapter): boolean {
  if (chapter.cursor().baseNeededFrom !== null) return true;
  const [first] = unsentOf(chapter);
  return first !== undefined && first.parentTxId > (reachOf(chapter) ?? -1n);
}

/** Nothing more of a chapter is sent; a successor whose bridge would stand on it waits for a snapshot instead. */
export function abandon(chapter: Chapter, successor: Chapter | undefined): void {
  chapter.update({ isAbandoned: true });
  const next = successor?.cursor();
  // Of one that stands on a restored point the host says whether that is there.
  const standsOnIt =
    next?.via === "bridge" &&
    next.parentStateHash === null &&
    next.acknowledgedTxId === null &&
    next.baseTxId === null;
  if (standsOnIt && successor !== undefined) waitForBase(successor);
}

/** The code under which a hole in the history is told until a snapshot closes it. */
export const historyAlarm: ErrorCode = "gap";

/** What to do about files that went away. */
export const lostHint = "See what removes files from the shadow directory.";
