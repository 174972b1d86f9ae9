// Points and timelines as people read them. Scripts use --json.

import { counted, type PointJson, type TimelineJson } from "@pageferry/format";
import { formatBytes, formatTable } from "./table.ts";

/** Stretches of one generation that are printed: the older ones are counted. */
const stretchesMax = 30;

/** Points, newest first; nothing where there is none. */
export function formatPoints(points: readonly PointJson[]): string {
  if (points.length === 0) return "";
  const rows = points.map(({ time, received, txid, generation, kind }) => [
    time ?? "-",
    received ?? "-",
    txid,
    generation,
    kind,
  ]);
  return formatTable(["TIME", "RECEIVED", "TXID", "GENERATION", "KIND"], rows);
}

/** From when to when, how finely, what is missing, which replica lacks what, and then the newest points; nothing where nothing is. */
export function formatTimeline(timeline: TimelineJson): string {
  const { points, newest } = timeline;
  if (points === 0) return formatMissing(timeline);
  const shown = newest.length < points ? `the newest ${newest.length} of ${points} points:\n` : "";
  return [formatStretches(timeline), formatMissing(timeline), "\n", shown, formatPoints(newest)].join("");
}

function formatStretches({ generations }: TimelineJson): string {
  const rows = generations.flatMap(({ generation, stretches }) => {
    const [shown, older] = [stretches.slice(0, stretchesMax), stretches.slice(stretchesMax)];
    const lines = shown.map(({ from, to, granularity, points, snapshots, bytes }) => [
      generation,
      from.time ?? from.txid,
      to.time ?? to.txid,
      granularity.word,
      String(points),
      String(snapshots),
      formatBytes(bytes),
    ]);
    const rest = older.reduce((sum, stretch) => sum + stretch.points, 0);
    return rest === 0 ? lines : [...lines, [generation, `and ${older.length} older`, "", "", String(rest)]];
  });
  return formatTable(["GENERATION", "FROM", "TO", "GRANULARITY", "POINTS", "SNAPSHOTS", "BYTES"], rows);
}

function formatMissing({ generations, replicas }: TimelineJson): string {
  const holes = generations.flatMap(({ generation, holes: all }) =>
    all
      .filter(({ unreachable }) => unreachable > 0)
      .map(({ after, missing, unreachable }) => {
        const last =
          after === null ? "nothing below it can be restored" : `${after} is the last point before it`;
        const lost = `${counted(unreachable, "that is", "that are")} there cannot be reached`;
        return `missing in ${generation}: (${missing.from}, ${missing.to}]; ${last}; beyond it ${lost}\n`;
      }),
  );
  const lacking = replicas.flatMap(({ name, points, lacking: count, ranges }) => {
    if (count === 0) return [];
    const named = ranges.map(({ from, to }) => (from === to ? from : `${from} to ${to}`)).join(", ");
    return [
      `${name} lacks ${count} of ${counted(points + count, "point")}: ${named}${isAll(ranges, count) ? "" : ", …"}\n`,
    ];
  });
  return [...holes, ...lacking].join("");
}

function isAll(ranges: readonly { readonly points: number }[], count: number): boolean {
  return ranges.reduce((sum, { points }) => sum + points, 0) === count;
}
