// Points as the command line prints them: one shape for `points --json` and for tables.

import { formatTxId, type Point } from "@pageferry/format";
import { formatTable, formatTime } from "./table.ts";

/** A point in JSON. */
export interface PointJson {
  readonly generation: string;
  readonly txid: string;
  /** RFC 3339 in UTC, milliseconds; null where no object tells it. */
  readonly time: string | null;
  readonly kind: Point["kind"];
  readonly object: string;
  readonly bytes: number;
}

/** A point as scripts get it. */
export function pointToJson(point: Point): PointJson {
  return {
    generation: point.generation,
    txid: formatTxId(point.txId),
    time: point.stampMs === null ? null : formatTime(point.stampMs),
    kind: point.kind,
    object: point.name,
    bytes: point.size,
  };
}

/** Points as people get them. */
export function formatPoints(points: readonly Point[]): string {
  const rows = points.map((point) => [
    formatTime(point.stampMs),
    formatTxId(point.txId),
    point.generation,
    point.kind,
  ]);
  return formatTable(["TIME", "TXID", "GENERATION", "KIND"], rows);
}
