// What stays, and how time is cut: the part of the configuration that compaction, prune and repair share. See docs/operations.md#retention.

import type { z } from "zod";
import type { configSchema } from "./config-schema.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** Which points prune keeps. */
export interface RetentionConfig {
  /** The least distance of *kept* snapshots; 0 inherits `snapshotInterval`. */
  readonly snapshotIntervalMs: number;
  /** The Go implementation's word for `keepWithin`: the two are the same. */
  readonly snapshotRetentionMs: number;
  readonly checkIntervalMs: number;
  /** Every point that was received within this time stays. */
  readonly segmentRetentionMs: number;
  /** So long, the last point of each window of compaction's second level stays, and snapshots at their distance. */
  readonly keepWithinMs: number;
  /** Calendar hours, days, weeks and months that have points, of which one point each stays. */
  readonly keepHourly: number;
  readonly keepDaily: number;
  readonly keepWeekly: number;
  readonly keepMonthly: number;
  /** How long the last point of a generation stays after another one took its place. */
  readonly supersededRetentionMs: number;
}

/** How fine segments are merged as they age. */
export interface CompactionConfig {
  /** The windows that become one object each, finest first; none: nothing is merged. */
  readonly levelsMs: readonly number[];
}

type Written = z.output<typeof configSchema>;

/** Fine points stay for so long, unless told. */
const segmentRetentionMsDefault = hourMs;
const supersededRetentionMsDefault = 7 * dayMs;
const levelsMsDefault: readonly number[] = [30_000, 300_000, hourMs];

const goRetentionKeys: ReadonlySet<string> = new Set([
  "snapshotInterval",
  "snapshotRetention",
  "checkInterval",
]);

/**
 * Fills in what is absent. Where only the Go implementation's keys are used, retention means what it means there: every point younger than
 * `snapshotRetention` stays, and none beyond it.
 */
export function resolveRetention(
  written: Written["retention"],
  isGoForm: boolean,
  snapshotIntervalMs: number,
): RetentionConfig {
  const isGos = isGoForm && Object.keys(written).every((key) => goRetentionKeys.has(key));
  const keepWithinMs = written.keepWithin || written.snapshotRetention || Math.max(dayMs, snapshotIntervalMs);
  const fineMs = isGos ? keepWithinMs : Math.min(segmentRetentionMsDefault, keepWithinMs);
  return {
    snapshotIntervalMs: written.snapshotInterval ?? 0,
    snapshotRetentionMs: written.snapshotRetention || keepWithinMs,
    checkIntervalMs: written.checkInterval || hourMs,
    segmentRetentionMs: written.segmentRetention ?? fineMs,
    keepWithinMs,
    keepHourly: written.keepHourly ?? 0,
    keepDaily: written.keepDaily ?? (isGos ? 0 : 7),
    keepWeekly: written.keepWeekly ?? (isGos ? 0 : 4),
    keepMonthly: written.keepMonthly ?? 0,
    supersededRetentionMs: written.supersededRetention ?? supersededRetentionMsDefault,
  };
}

export function resolveCompaction(written: Written["compaction"]): CompactionConfig {
  return { levelsMs: written.levels ?? levelsMsDefault };
}
