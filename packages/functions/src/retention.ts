// Which points of an archive stay, and why: a pure decision by the time of receipt. What must stay so that they can be restored is
// prune-plan.ts. See docs/operations.md#retention.

import {
  type ArchiveListing,
  type Config,
  type Generation,
  type GenerationIndex,
  type Point,
  pointsOf,
  type RetentionConfig,
  type TxId,
} from "@pageferry/format";
import { type CalendarUnit, calendarNumber } from "./calendar.ts";
import { type ReceiptTrack, receiptTrack } from "./receipts.ts";
import { endsWindow } from "./windows.ts";

/** What a configuration says of what stays. */
export interface RetentionPolicy
  extends Omit<RetentionConfig, "snapshotRetentionMs" | "checkIntervalMs" | "snapshotIntervalMs"> {
  /** The least distance of kept snapshots; 0 keeps all. */
  readonly snapshotSpacingMs: number;
  /** How compaction cuts time, finest first. */
  readonly levelsMs: readonly number[];
}

/** Snapshots come a little early or late: only clearly closer ones are thinned. */
const spacingShare = 0.9;

/** What stays by a configuration; `undefined` where it says nothing of it: then nothing may go. */
export function retentionPolicy(
  config: Partial<Pick<Config, "retention" | "snapshotIntervalMs" | "compaction">>,
): RetentionPolicy | undefined {
  const { retention, snapshotIntervalMs = 0, compaction } = config;
  if (retention === undefined) return undefined;
  const {
    snapshotIntervalMs: keptIntervalMs,
    snapshotRetentionMs: _same,
    checkIntervalMs: _often,
    ...kept
  } = retention;
  return {
    ...kept,
    snapshotSpacingMs: (keptIntervalMs || snapshotIntervalMs) * spacingShare,
    levelsMs: compaction?.levelsMs ?? [],
  };
}

/** Why a point stays. */
export const keepReasons = [
  "newest",
  "superseded",
  "fine",
  "within",
  "snapshot",
  "hourly",
  "daily",
  "weekly",
  "monthly",
  "parent",
  "pinned",
  "leased",
] as const;
export type KeepReason = (typeof keepReasons)[number];

/** Reasons for which a snapshot itself stays, and not only its point: it is what made this point the one to keep. */
const snapshotReasons: readonly KeepReason[] = ["snapshot", "hourly", "daily", "weekly", "monthly"];
const snapshotBits = bitsOf(snapshotReasons);

/** A point that somebody wants kept, whatever its age. */
export interface WantedPoint {
  readonly generation: Generation;
  readonly txId: TxId;
}

/** A generation as retention sees it. */
export interface Line {
  readonly index: GenerationIndex;
  readonly track: ReceiptTrack;
  /** Ascending. */
  readonly points: readonly Point[];
  /** When each point was received. */
  readonly receivedMs: readonly number[];
  /** Per point the reasons for which it stays, as bits; 0: it need not. */
  readonly reasons: Uint16Array;
  /** Why nothing of it may be judged; null: it may. */
  readonly leftAlone: string | null;
  /** Whether no other generation has a higher epoch. */
  readonly isTop: boolean;
  /** When another one took its place; null: none has, or nobody knows when. */
  readonly supersededMs: number | null;
}

/** What is decided, besides the policy. */
export interface KeepOptions {
  readonly pinned: readonly WantedPoint[];
  readonly leased: readonly WantedPoint[];
  readonly nowMs: number;
}

/** Judges every point of an archive. What a kept generation needs of others, and its newest point, are added by `keepNewest` and `keepPoint`. */
export function keepPoints(
  listing: ArchiveListing,
  policy: RetentionPolicy,
  options: KeepOptions,
): Map<Generation, Line> {
  const lines = linesOf(listing, options.nowMs);
  for (const line of lines.values()) {
    if (line.leftAlone === null) keepYoung(line, policy, options.nowMs);
  }
  keepCalendar([...lines.values()], policy);
  for (const { generation, txId } of options.pinned) keepPoint(lines.get(generation), txId, "pinned");
  for (const { generation, txId } of options.leased) keepPoint(lines.get(generation), txId, "leased");
  for (const line of lines.values()) {
    const { supersededMs } = line;
    const isNewest = line.isTop || supersededMs === null;
    const isWanted = isNewest || options.nowMs - supersededMs < policy.supersededRetentionMs;
    if (isWanted) keepLast(line, isNewest ? "newest" : "superseded");
    if (isWanted) keepBeginning(line, lines);
    keepNewest(line);
  }
  return lines;
}

/** Keeps the newest point of a generation of which anything is kept. Returns whether there is any. */
export function keepNewest(line: Line): boolean {
  if (!line.reasons.some((bits) => bits !== 0)) return false;
  keepLast(line, "newest");
  return true;
}

/** Keeps a point for a reason. Returns whether it was not kept before; `undefined`: it is no point that can be restored. */
export function keepPoint(line: Line | undefined, txId: TxId, reason: KeepReason): boolean | undefined {
  const at = line === undefined ? -1 : positionOf(line.points, txId);
  if (line === undefined || at === -1) return undefined;
  const isNew = line.reasons[at] === 0;
  mark(line, at, reason);
  return isNew;
}

/** The words for a point's reasons. */
export function reasonsOf(line: Line, at: number): KeepReason[] {
  const bits = line.reasons[at] ?? 0;
  return keepReasons.filter((_, bit) => (bits & (1 << bit)) !== 0);
}

/** Whether a kept point's snapshot stays as well, where it has one. */
export function keepsSnapshot(line: Line, at: number): boolean {
  return ((line.reasons[at] ?? 0) & snapshotBits) !== 0;
}

function bitsOf(reasons: readonly KeepReason[]): number {
  return reasons.reduce((bits, reason) => bits | (1 << keepReasons.indexOf(reason)), 0);
}

function mark(line: Line, at: number, reason: KeepReason): void {
  line.reasons[at] = (line.reasons[at] ?? 0) | (1 << keepReasons.indexOf(reason));
}

function keepLast(line: Line, reason: KeepReason): void {
  if (line.points.length > 0) mark(line, line.points.length - 1, reason);
}

/** What a restored file is until somebody writes it is a point of the parent: it stays as a point of the generation's own would. */
function keepBeginning({ index: { link }, points }: Line, lines: ReadonlyMap<Generation, Line>): void {
  const { parent = null, parentStateHash } = link ?? {};
  if (points.length > 0 || parent === null || parentStateHash === undefined) return;
  keepPoint(lines.get(parent.generation), parent.txId, "parent");
}

function positionOf(points: readonly Point[], txId: TxId): number {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((points[middle] as Point).txId < txId) low = middle + 1;
    else high = middle;
  }
  return points[low]?.txId === txId ? low : -1;
}

/** Fine points, window ends and spaced snapshots, as long as they are young enough for it. */
function keepYoung(line: Line, policy: RetentionPolicy, nowMs: number): void {
  const { levelsMs, snapshotSpacingMs } = policy;
  const level = Math.min(1, levelsMs.length - 1);
  const fineFromMs = nowMs - policy.segmentRetentionMs;
  const fromMs = nowMs - policy.keepWithinMs;
  let lastSnapshotMs = Number.NEGATIVE_INFINITY;
  for (const [at, point] of line.points.entries()) {
    const receivedMs = line.receivedMs[at] as number;
    if (receivedMs >= fineFromMs) mark(line, at, "fine");
    if (receivedMs < fromMs) continue;
    const next = line.points[at + 1];
    if (next === undefined || level < 0 || endsWindow(point, next, level, levelsMs)) mark(line, at, "within");
    if (point.kind === "snapshot" && receivedMs - lastSnapshotMs >= snapshotSpacingMs) {
      mark(line, at, "snapshot");
      lastSnapshotMs = receivedMs;
    }
  }
}

interface Best {
  readonly line: Line;
  readonly at: number;
  readonly isSnapshot: boolean;
}

/** Of the last calendar hours, days … that have points, over all generations, the best point of each. */
function keepCalendar(lines: readonly Line[], policy: RetentionPolicy): void {
  const rules: readonly (readonly [CalendarUnit, number])[] = [
    ["hourly", policy.keepHourly],
    ["daily", policy.keepDaily],
    ["weekly", policy.keepWeekly],
    ["monthly", policy.keepMonthly],
  ];
  for (const [unit, count] of rules) {
    if (count === 0) continue;
    const best = new Map<number, Best>();
    for (const line of lines) {
      if (line.leftAlone === null) collectBest(line, unit, best);
    }
    const newest = [...best].sort(([a], [b]) => b - a).slice(0, count);
    for (const [, { line, at }] of newest) mark(line, at, unit);
  }
}

function collectBest(line: Line, unit: CalendarUnit, best: Map<number, Best>): void {
  let current: number | undefined;
  let mine: Best | undefined;
  for (const [at, point] of line.points.entries()) {
    const number = calendarNumber(unit, line.receivedMs[at] as number);
    if (number !== current) {
      current = number;
      mine = best.get(number);
    }
    const isSnapshot = point.kind === "snapshot";
    // Of one generation the later one is the better one, unless it is no snapshot and the earlier one is.
    if (mine?.line === line && mine.isSnapshot && !isSnapshot) continue;
    const one = { line, at, isSnapshot };
    if (mine !== undefined && !isBetter(one, mine)) continue;
    mine = one;
    best.set(number, one);
  }
}

/** A snapshot is restored fastest. Else the newest: the end of a day ends a window of compaction as well, unless a clock is wrong. */
function isBetter(one: Best, than: Best): boolean {
  if (one.isSnapshot !== than.isSnapshot) return one.isSnapshot;
  const [mineMs, otherMs] = [one.line.receivedMs[one.at] as number, than.line.receivedMs[than.at] as number];
  if (mineMs !== otherMs) return mineMs > otherMs;
  const [mine, other] = [one.line.index, than.line.index];
  if (mine === other) return one.at > than.at;
  const [epoch, otherEpoch] = [mine.link?.epoch ?? 0, other.link?.epoch ?? 0];
  return epoch === otherEpoch ? mine.generation > other.generation : epoch > otherEpoch;
}

function linesOf(listing: ArchiveListing, nowMs: number): Map<Generation, Line> {
  const indexes = [...listing.generations.values()];
  let topEpoch = 0;
  for (const { link } of indexes) topEpoch = Math.max(topEpoch, link?.epoch ?? 0);
  const superseded = supersessions(indexes, nowMs);
  const lines = new Map<Generation, Line>();
  // Parents before children: a long line of bridges is then walked one step at a time.
  for (const index of indexes.toSorted((a, b) => (a.link?.epoch ?? 0) - (b.link?.epoch ?? 0))) {
    const track = receiptTrack(index, nowMs);
    const points = pointsOf(listing, index);
    const isTop = (index.link?.epoch ?? 0) === topEpoch;
    lines.set(index.generation, {
      ...{ index, track, points, isTop },
      receivedMs: points.map(({ txId, stampMs }) => track.at(txId, stampMs)),
      reasons: new Uint16Array(points.length),
      leftAlone: whyLeftAlone(index, isTop, points.length),
      supersededMs: superseded(index),
    });
  }
  return lines;
}

function whyLeftAlone(index: GenerationIndex, isTop: boolean, points: number): string | null {
  if (index.linkProblem !== null) return index.linkProblem;
  if (index.link === null && index.snapshots.length === 0)
    return "it has neither a generation.json nor a snapshot";
  if (isTop && points === 0 && index.ranges.length > 0)
    return "it is the newest, and its first snapshot has not come yet";
  return null;
}

/** When a generation's place was taken: by its child, else by the next higher epoch. */
function supersessions(
  indexes: readonly GenerationIndex[],
  nowMs: number,
): (index: GenerationIndex) => number | null {
  const byParent = new Map<Generation, number>();
  const byEpoch = new Map<number, number>();
  const note = <Key>(times: Map<Key, number>, key: Key, ms: number): void => {
    // The latest: whoever looks at the last point before one of them has as long as after the others.
    times.set(key, Math.max(times.get(key) ?? Number.NEGATIVE_INFINITY, ms));
  };
  const epochs = new Map(indexes.map(({ generation, link }) => [generation, link?.epoch ?? 0]));
  for (const { link } of indexes) {
    if (link === null) continue;
    const receivedAtMs = Math.min(link.receivedAtMs ?? Number.POSITIVE_INFINITY, nowMs);
    const ms = link.receivedAtMs === undefined ? Number.POSITIVE_INFINITY : receivedAtMs;
    note(byEpoch, link.epoch, ms);
    const parent = link.parent?.generation;
    if (parent !== undefined && link.epoch > (epochs.get(parent) ?? 0)) note(byParent, parent, ms);
  }
  const ascending = [...byEpoch.keys()].sort((a, b) => a - b);
  const next = new Map<number, number>();
  for (const [at, epoch] of ascending.entries()) {
    const above = ascending[at + 1];
    if (above !== undefined) next.set(epoch, byEpoch.get(above) ?? Number.POSITIVE_INFINITY);
  }
  return ({ generation, link }) => {
    const epoch = link?.epoch ?? 0;
    const above =
      next.get(epoch) ??
      (link === null ? byEpoch.get(ascending.find((one) => one > epoch) ?? -1) : undefined);
    const ms = byParent.get(generation) ?? above;
    return ms === undefined || ms === Number.POSITIVE_INFINITY ? null : ms;
  };
}
