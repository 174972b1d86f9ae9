// For tests: a policy as the Go implementation means it: every point younger than `retentionMs` stays, and the newest.

import type { RetentionPolicy } from "../src/retention.ts";

export function goPolicy(retentionMs: number, snapshotSpacingMs = 0): RetentionPolicy {
  return {
    ...{ segmentRetentionMs: retentionMs, keepWithinMs: retentionMs, snapshotSpacingMs, levelsMs: [] },
    ...{
      keepHourly: 0,
      keepDaily: 0,
      keepWeekly: 0,
      keepMonthly: 0,
      supersededRetentionMs: Number.MAX_SAFE_INTEGER,
    },
  };
}
