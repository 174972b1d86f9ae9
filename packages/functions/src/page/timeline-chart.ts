// The timeline as a drawing: one row for each generation, its stretches, snapshots, holes, pins and verified points over time. Positions are
// shares of the width, so that it fits a phone; each slice is a link that zooms. The table beside it says the same in words.

import type { GenerationTimeline, Point } from "@pageferry/format";
import { type Html, html, none } from "./html.ts";
import { pathOf } from "./layout.ts";
import { type Slice, slicesOf, type Window } from "./window.ts";
import { count, exactTime } from "./words.ts";

/** Generations that get a row; older ones are in the table. */
const rowsMax = 6;

/** Marks of one kind in one row: those that would lie on top of another are left out. */
const marksPerRow = 160;

/** Below this many points in the window each one is drawn. */
const ticksMax = 250;

const rowHeight = 30;
const topHeight = 22;

/** A point that somebody marked: pinned, or restored and checked. */
export interface Marked {
  readonly generation: string;
  readonly txid: string;
  readonly isSound?: boolean;
}

export interface Chart {
  readonly database: string;
  readonly window: Window;
  /** Newest first. */
  readonly generations: readonly GenerationTimeline[];
  /** Of all generations, newest first. */
  readonly points: readonly Point[];
  readonly pins: readonly Marked[];
  readonly verified: readonly Marked[];
  /** The time of a transaction of a generation, where it is known. */
  readonly stampOf: (generation: string, txid: string) => number | undefined;
}

export function timelineChart(chart: Chart): Html {
  const { window } = chart;
  const inside = chart.points.filter(({ stampMs }) => stampMs !== null && isIn(window, stampMs));
  const slices = slicesOf(window, inside);
  const rows = chart.generations.filter((generation) => touches(generation, window)).slice(0, rowsMax);
  const height = topHeight + Math.max(1, rows.length) * rowHeight + 4;
  return html`<svg class="chart" width="100%" height="${height}" role="group" aria-label="Timeline of restorable points, ${count(inside.length, "point")} from ${exactTime(window.fromMs)} to ${exactTime(window.toMs)}">${axis(slices, window, height)}${rows.map((generation, at) => row(generation, topHeight + at * rowHeight, chart, inside))}${slices.map((slice) => sliceLink(slice, chart, height))}</svg>`;
}

function touches({ stretches }: GenerationTimeline, window: Window): boolean {
  return stretches.some(({ from, to }) => {
    const [begin, end] = [from.stampMs, to.stampMs ?? from.stampMs];
    return begin !== null && end !== null && begin <= window.toMs && end >= window.fromMs;
  });
}

const isIn = ({ fromMs, toMs }: Window, ms: number): boolean => ms >= fromMs && ms <= toMs;

/** Where a time lies, in percent of the width, cut at its ends. */
function share(ms: number, { fromMs, toMs }: Window): number {
  return Math.round(Math.min(1, Math.max(0, (ms - fromMs) / (toMs - fromMs))) * 10_000) / 100;
}

const minuteMs = 60_000;
const dayMs = 86_400_000;

/** As much of a time as tells one slice from the next. */
export function sliceWord(ms: number, stepMs: number): string {
  const iso = new Date(ms).toISOString();
  if (stepMs >= dayMs) return iso.slice(0, 10);
  return stepMs >= minuteMs ? `${iso.slice(5, 10)} ${iso.slice(11, 16)}` : iso.slice(11, 19);
}

function axis(slices: readonly Slice[], window: Window, height: number): Html {
  return html`<g aria-hidden="true">${slices.map(({ fromMs, toMs }, at) => {
    const x = share(fromMs, window);
    if (fromMs <= window.fromMs || x > 96) return none;
    const label =
      at % 2 === 1 && x < 90
        ? html`<text x="${x}%" dx="3" y="14" class="${at % 4 === 1 ? "" : "sometimes"}">${sliceWord(fromMs, toMs - fromMs)}</text>`
        : none;
    return html`<line class="grid" x1="${x}%" x2="${x}%" y1="4" y2="${height}"/>${label}`;
  })}</g>`;
}

function row(generation: GenerationTimeline, y: number, chart: Chart, inside: readonly Point[]): Html {
  const { window } = chart;
  const own = inside.filter((point) => point.generation === generation.generation);
  const snapshots = marks(
    own.flatMap(({ kind, stampMs }) => (kind === "snapshot" && stampMs !== null ? [stampMs] : [])),
    window,
  );
  const ticks =
    own.length > ticksMax
      ? []
      : marks(
          own.flatMap(({ stampMs }) => stampMs ?? []),
          window,
        );
  const stamps = (all: readonly Marked[]) =>
    all.flatMap((one) => {
      const ms =
        one.generation === generation.generation ? chart.stampOf(one.generation, one.txid) : undefined;
      return ms === undefined || !isIn(window, ms) ? [] : [{ ...one, x: share(ms, window) }];
    });
  return html`<g aria-hidden="true">${generation.stretches.map((stretch) => bar(stretch, y, window))}${holes(generation, y, chart)}${ticks.map((x) => html`<rect class="tick" x="${x}%" y="${y + 18}" width="1" height="5"/>`)}${snapshots.map((x) => html`<rect class="snapshot" x="${x}%" y="${y + 6}" width="3" height="16"/>`)}${stamps(chart.pins).map(({ x }) => html`<svg x="${x}%" y="${y - 2}" overflow="visible"><path class="pin" d="M-5 0h10l-5 8z"/></svg>`)}${stamps(chart.verified).map(({ x, isSound }) => html`<svg x="${x}%" y="${y + 22}" overflow="visible"><circle class="${isSound ? "sound" : "unsound"}" r="3.5" cy="3"/></svg>`)}</g>`;
}

function bar(
  { from, to, granularity }: GenerationTimeline["stretches"][number],
  y: number,
  window: Window,
): Html {
  const [begin, end] = [from.stampMs, to.stampMs ?? from.stampMs];
  if (begin === null || end === null || begin > window.toMs || end < window.fromMs) return none;
  const [x, right] = [share(begin, window), share(end, window)];
  return html`<rect class="${finenessOf(granularity)}" x="${x}%" y="${y + 9}" width="${Math.max(0.3, right - x).toFixed(2)}%" height="10" rx="2"/>`;
}

/** How finely points lie, as the drawing tells it. */
function finenessOf({
  word,
  ms,
}: {
  readonly word: string;
  readonly ms: number | null;
}): "every" | "fine" | "coarse" {
  if (word === "every commit") return "every";
  return ms !== null && ms <= 2 * minuteMs ? "fine" : "coarse";
}

function holes(
  { generation, holes: all }: GenerationTimeline,
  y: number,
  { window, stampOf }: Chart,
): readonly Html[] {
  return all.flatMap(({ after, before, unreachable }) => {
    if (unreachable === 0) return [];
    const begin = after === null ? window.fromMs : stampOf(generation, hex(after));
    const end = before === null ? window.toMs : stampOf(generation, hex(before));
    if (begin === undefined || end === undefined || begin > window.toMs || end < window.fromMs) return [];
    const [x, right] = [share(begin, window), share(end, window)];
    return [
      html`<rect class="hole" x="${x}%" y="${y + 7}" width="${Math.max(0.4, right - x).toFixed(2)}%" height="14"/>`,
    ];
  });
}

function hex(id: bigint): string {
  return id.toString(16).padStart(16, "0");
}

/** Places of marks, those left out that lie where another is. */
function marks(stamps: readonly number[], window: Window): readonly number[] {
  const places = new Set(stamps.map((ms) => Math.round((share(ms, window) / 100) * marksPerRow)));
  return places.size === stamps.length
    ? stamps.map((ms) => share(ms, window))
    : [...places].map((at) => Math.round((at / marksPerRow) * 10_000) / 100);
}

function sliceLink({ fromMs, toMs, points }: Slice, { database, window }: Chart, height: number): Html {
  const [x, right] = [share(fromMs, window), share(toMs, window)];
  if (points === 0 || right <= x) return none;
  const href = pathOf(database, "", {
    from: new Date(fromMs).toISOString(),
    to: new Date(toMs).toISOString(),
  });
  const told = `${sliceWord(fromMs, toMs - fromMs)}: ${count(points, "point")}; look closer`;
  return html`<a href="${href}#timeline" aria-label="${told}"><title>${told}</title><rect class="slice" x="${x}%" y="2" width="${(right - x).toFixed(2)}%" height="${height - 4}"/></a>`;
}

/** What the marks of the drawing mean. */
export const chartKey: Html = html`<ul class="key"><li>${sample(html`<rect class="every" y="2" width="14" height="8" rx="2"/>`)}every commit</li><li>${sample(html`<rect class="fine" y="2" width="14" height="8" rx="2"/>`)}within minutes</li><li>${sample(html`<rect class="coarse" y="2" width="14" height="8" rx="2"/>`)}hours or days apart</li><li>${sample(html`<rect class="snapshot" x="5" width="3" height="12"/>`)}snapshot</li><li>${sample(html`<rect class="hole" x="1" y="1" width="12" height="10"/>`)}cannot be restored</li><li>${sample(html`<path class="pin" d="M2 2h10l-5 8z"/>`)}pinned</li><li>${sample(html`<circle class="sound" cx="7" cy="6" r="4"/>`)}restored and checked</li></ul>`;

function sample(shape: Html): Html {
  return html`<svg class="chart" width="14" height="12" aria-hidden="true">${shape}</svg>`;
}
