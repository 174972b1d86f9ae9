// Whether a database can be followed from outside at its pace, and what to do if not. Pure; the figures are those of docs/capture.md and bench/.

import { formatDuration } from "@pageferry/format";
import { formatBytes } from "../table.ts";
import type { Finding } from "./finding.ts";

/** What was seen of a database for some seconds. */
export interface Pace {
  readonly database: string;
  /** A freelist is in the file, so that the pages of each commit can be told from it. */
  readonly hasFreelist: boolean;
  readonly commitsPerSecond: number;
  /** Of the database, high-water mark times page size. */
  readonly bytes: number;
  /** Whether a clone of the file costs nothing, so that any state of it can be read at leisure. */
  readonly hasReflinks: boolean;
  /** Bytes a second that capture may read; 0: no limit. */
  readonly maxReadRate: number;
  readonly baseDeadlineMs: number;
}

/** Flat out, fsynced, 97 % of so many were still caught one by one; beyond, ranges are given. */
const followedPerSecondMax = 3000;

/** Without a freelist a first base of 2 GB was done in seconds at up to so many, on cores that had time for it. */
const carriedPerSecondMax = 100;

/** A smaller file is read between two commits, or nearly so. */
const smallBytes = 256 * 2 ** 20;

const wayOut =
  "Begin in a quieter moment, move the database to a file system with reflinks (btrfs, XFS), leave NoFreelistSync off, or use the in-process observer (docs/capture.md).";

/** What the pace means; at least one finding. */
export function judgePace(pace: Pace): Finding[] {
  const { database: subject, hasFreelist, commitsPerSecond, bytes, hasReflinks } = pace;
  const area = "source";
  const rate = `${commitsPerSecond < 10 ? commitsPerSecond.toFixed(1) : Math.round(commitsPerSecond)} commits a second`;
  const found: Finding[] = [];
  const readMs = pace.maxReadRate === 0 ? 0 : (bytes / pace.maxReadRate) * 1000;
  if (readMs > pace.baseDeadlineMs && !hasReflinks) {
    found.push({
      ...{ level: "warn", area, subject },
      says: `to read it once takes ${formatDuration(Math.round(readMs))} at maxReadRate, longer than baseDeadline`,
      todo: "Raise maxReadRate or baseDeadline.",
    });
  }
  if (commitsPerSecond > followedPerSecondMax) {
    found.push({
      ...{ level: "warn", area, subject },
      says: `${rate}: more than can be followed one by one; they are given as ranges of some hundred milliseconds`,
      todo: "Nothing, unless every commit must be a point: then use the in-process observer.",
    });
  } else if (!hasFreelist && commitsPerSecond > carriedPerSecondMax && bytes > smallBytes && !hasReflinks) {
    found.push({
      ...{ level: "warn", area, subject },
      says: `${rate} on ${formatBytes(bytes)} without a freelist: a first base may not come to an end beside them (source-too-busy)`,
      todo: wayOut,
    });
  }
  if (found.length === 0) {
    const seen = commitsPerSecond === 0 ? "no commit while it was watched" : rate;
    found.push({ level: "ok", area, subject, says: `${seen}: every commit can be followed from outside` });
  }
  return found;
}
