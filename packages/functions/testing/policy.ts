// For tests: what stays, said in a word.

import type { RetentionPolicy } from "../src/retention.ts";

/** A policy as the Go implementation means it: every point younger than `retentionMs` stays, and the newest. */
export function goPolicy(retentionMs: number, snapshotSpacingMs = 0): RetentionPolicy {
  return policyOf({
    ...{ segmentRetentionMs: retentionMs, keepWithinMs: retentionMs, snapshotSpacingMs },
    supersededRetentionMs: Number.MAX_SAFE_INTEGER,
  });
}

/** Nothing stays but what is said, and the newest point. */
export function policyOf(more: Partial<RetentionPolicy> = {}): RetentionPolicy {
  return {
    segmentRetentionMs: 0,
    keepWithinMs: 0,
    snapshotSpacingMs: 0,
    keepHourly: 0,
    keepDaily: 0,
    keepWeekly: 0,
    keepMonthly: 0,
    supersededRetentionMs: 0,
    levelsMs: [],
    ...more,
  };
}
