// The lag of a replica over the last while, as a line as high as a word. It is drawn here, so that it needs no script.

import type { LagHistory } from "../lag-history.ts";
import { type Html, html } from "./html.ts";
import { spanWord } from "./words.ts";

/** Points of a line: more would not be seen, and a page has many lines. */
const pointsMax = 32;

const width = 96;
const height = 20;

/** The line; `nothing` for less than two points. `fullMs` is as high as it goes, unless more was there. */
export function sparkline(history: LagHistory | undefined, fullMs: number): Html | undefined {
  if (history === undefined || history.lagMs.length < 2) return undefined;
  const { lagMs, everyMs } = thinned(history);
  const known = lagMs.filter((lag) => lag !== null);
  if (known.length === 0) return undefined;
  const most = Math.max(...known);
  const top = Math.max(most, fullMs);
  const xOf = (at: number): number => Math.round((at / (lagMs.length - 1)) * (width - 2)) + 1;
  const yOf = (lag: number): number => Math.round((height - 2 - Math.sqrt(lag / top) * (height - 4)) * 2) / 2;
  const told = `lag over the last ${spanWord(everyMs * (lagMs.length - 1))}: at most ${spanWord(most)}`;
  return html`<svg class="spark${most > fullMs ? " high" : ""}" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img"><title>${told}</title><path d="${pathOf(lagMs, xOf, yOf)}"/></svg>`;
}

/** A line that is broken where nothing was known. */
function pathOf(
  lagMs: readonly (number | null)[],
  xOf: (at: number) => number,
  yOf: (lag: number) => number,
): string {
  let path = "";
  let isDown = false;
  for (const [at, lag] of lagMs.entries()) {
    if (lag !== null) path += `${isDown ? "L" : "M"}${xOf(at)} ${yOf(lag)}${isDown ? "" : "h.1"}`;
    isDown = lag !== null;
  }
  return path;
}

/** Fewer points, each the worst of those that it stands for. */
function thinned({ everyMs, lagMs }: LagHistory): LagHistory {
  const of = Math.ceil(lagMs.length / pointsMax);
  if (of === 1) return { everyMs, lagMs };
  const worst: (number | null)[] = [];
  for (let at = 0; at < lagMs.length; at += of) {
    const known = lagMs.slice(at, at + of).filter((lag) => lag !== null);
    worst.push(known.length === 0 ? null : Math.max(...known));
  }
  return { everyMs: everyMs * of, lagMs: worst };
}
