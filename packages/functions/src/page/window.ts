// The part of a timeline that is looked at: its slices, and the windows that lead on from it. Pure.

import type { Point } from "@pageferry/format";

/** From when to when, ms since the epoch. */
export interface Window {
  readonly fromMs: number;
  readonly toMs: number;
}

/** A slice of a window with its points. */
export interface Slice extends Window {
  readonly points: number;
  readonly snapshots: number;
  /** The newest point in it. */
  readonly last: Point | undefined;
}

/** As many as are read at a glance, and fit on a phone. */
const slicesMax = 12;

/** Below this nobody can tell points apart; a point each commit is no finer. */
const windowMsMin = 1000;

/** What slices may be long, so that they begin at times that people say. */
const stepsMs = [
  ...[1000, 2000, 5000, 10_000, 15_000, 30_000],
  ...[60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000],
  ...[3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000],
  ...[2 * 86_400_000, 7 * 86_400_000, 14 * 86_400_000, 30 * 86_400_000, 91 * 86_400_000, 365 * 86_400_000],
] as const;

/** All that there is: from the oldest time to the newest, a little wider, so that the ends are seen. */
export function wholeWindow(points: readonly Point[], nowMs: number): Window {
  const stamps = points.flatMap(({ stampMs }) => stampMs ?? []);
  if (stamps.length === 0) return { fromMs: nowMs - 3_600_000, toMs: nowMs };
  const [fromMs, toMs] = [stamps.reduce((a, b) => Math.min(a, b)), stamps.reduce((a, b) => Math.max(a, b))];
  const edgeMs = Math.max(windowMsMin, (toMs - fromMs) * 0.02);
  // Nothing is restored from the future, so it is not shown.
  const lastMs = Math.max(toMs + windowMsMin, Math.min(toMs + edgeMs, nowMs));
  return { fromMs: Math.floor(fromMs - edgeMs), toMs: Math.ceil(lastMs) };
}

/** Brings what was asked for into what can be shown. */
export function windowOf(asked: Partial<Window>, whole: Window): Window {
  const fromMs = asked.fromMs ?? whole.fromMs;
  const toMs = asked.toMs ?? Math.max(whole.toMs, fromMs + windowMsMin);
  return toMs - fromMs >= windowMsMin ? { fromMs, toMs } : { fromMs, toMs: fromMs + windowMsMin };
}

/** Cuts a window at round times. `points` are newest first. */
export function slicesOf({ fromMs, toMs }: Window, points: readonly Point[]): readonly Slice[] {
  const stepMs =
    stepsMs.find((step) => (toMs - fromMs) / step <= slicesMax) ?? Math.ceil((toMs - fromMs) / slicesMax);
  const slices: {
    fromMs: number;
    toMs: number;
    points: number;
    snapshots: number;
    last: Point | undefined;
  }[] = [];
  for (let at = Math.floor(fromMs / stepMs) * stepMs; at < toMs; at += stepMs) {
    slices.push({ fromMs: at, toMs: at + stepMs, points: 0, snapshots: 0, last: undefined });
  }
  const beginMs = slices[0]?.fromMs ?? fromMs;
  for (const point of points) {
    const slice = point.stampMs === null ? undefined : slices[Math.floor((point.stampMs - beginMs) / stepMs)];
    if (slice === undefined) continue;
    slice.points += 1;
    if (point.kind === "snapshot") slice.snapshots += 1;
    slice.last ??= point;
  }
  return slices;
}

/** Where to go from a window. */
export interface Ways {
  readonly earlier: Window;
  readonly later: Window;
  readonly wider: Window | undefined;
}

/** Half a window to each side, and twice as wide unless that is more than there is. */
export function waysFrom({ fromMs, toMs }: Window, whole: Window): Ways {
  const halfMs = Math.round((toMs - fromMs) / 2);
  const isWhole = fromMs <= whole.fromMs && toMs >= whole.toMs;
  return {
    earlier: { fromMs: fromMs - halfMs, toMs: toMs - halfMs },
    later: { fromMs: fromMs + halfMs, toMs: toMs + halfMs },
    wider: isWhole ? undefined : { fromMs: fromMs - halfMs, toMs: toMs + halfMs },
  };
}
