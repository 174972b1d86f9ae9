// Points and timelines as JSON: one shape for the host's API and for the command line.

import type { ArchiveTimeline } from "./archive-points.ts";
import type { Point } from "./points.ts";
import type { Granularity } from "./timeline.ts";
import { formatTxId, type TxId } from "./txid.ts";

/** A point. */
export interface PointJson {
  readonly generation: string;
  readonly txid: string;
  /** Of the commit, by the agent's clock: RFC 3339 in UTC, milliseconds; null where no object tells it. */
  readonly time: string | null;
  /** When the host took it; null where nothing read tells it. */
  readonly received: string | null;
  readonly kind: Point["kind"];
  readonly object: string;
  readonly bytes: number;
}

/** One end of a stretch. */
export interface EndJson {
  readonly txid: string;
  readonly time: string | null;
  readonly received: string | null;
}

/** A timeline. Generations, stretches, holes and points are newest first. */
export interface TimelineJson {
  readonly points: number;
  readonly generations: readonly {
    readonly generation: string;
    readonly parent: { readonly generation: string; readonly txid: string } | null;
    readonly epoch: number | null;
    readonly points: number;
    readonly bytes: number;
    readonly stretches: readonly {
      readonly from: EndJson;
      readonly to: EndJson;
      readonly points: number;
      readonly snapshots: number;
      readonly bytes: number;
      readonly granularity: Granularity;
      readonly follows: boolean;
    }[];
    readonly holes: readonly {
      readonly after: string | null;
      readonly before: string | null;
      readonly missing: { readonly from: string; readonly to: string };
      readonly unreachable: number;
    }[];
  }[];
  readonly newest: readonly PointJson[];
  readonly replicas: readonly {
    readonly name: string;
    readonly points: number;
    readonly lacking: number;
    readonly ranges: readonly {
      readonly generation: string;
      readonly from: string;
      readonly to: string;
      readonly points: number;
    }[];
  }[];
  readonly warnings: readonly string[];
}

/** A point as scripts get it. */
export function pointJson({ generation, txId, stampMs, receivedMs, kind, name, size }: Point): PointJson {
  const ends = { txid: formatTxId(txId), time: timeJson(stampMs), received: timeJson(receivedMs) };
  return { generation, ...ends, kind, object: name, bytes: size };
}

/** A timeline as scripts get it. */
export function timelineJson(timeline: ArchiveTimeline): TimelineJson {
  return {
    points: timeline.points,
    generations: timeline.generations.map(
      ({ generation, parent, epoch, points, bytes, stretches, holes }) => ({
        generation,
        parent: parent === null ? null : { generation: parent.generation, txid: formatTxId(parent.txId) },
        ...{ epoch, points, bytes },
        stretches: stretches.map((stretch) => ({
          ...stretch,
          from: endJson(stretch.from),
          to: endJson(stretch.to),
        })),
        holes: holes.map(({ after, before, missing, unreachable }) => ({
          after: hex(after),
          before: hex(before),
          missing: { from: formatTxId(missing.from), to: formatTxId(missing.to) },
          unreachable,
        })),
      }),
    ),
    newest: timeline.newest.map(pointJson),
    replicas: timeline.readers.map(({ name, points, lacking, ranges }) => ({
      ...{ name, points, lacking },
      ranges: ranges.map((range) => ({
        ...range,
        from: formatTxId(range.from),
        to: formatTxId(range.to),
      })),
    })),
    warnings: timeline.warnings,
  };
}

function endJson({ txId, stampMs, receivedMs }: Point): EndJson {
  return { txid: formatTxId(txId), time: timeJson(stampMs), received: timeJson(receivedMs) };
}

function timeJson(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

function hex(id: TxId | null): string | null {
  return id === null ? null : formatTxId(id);
}
