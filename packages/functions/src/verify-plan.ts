// What a verification restores, and what it says of what it sees without restoring: pure decisions over points and listings.

import type { ArchiveFacts, Generation, ListedObject, Point, TxId } from "@pageferry/format";
import { stampOf } from "./object-stamp.ts";
import type { PrunePolicy } from "./prune-plan.ts";
import { planRepair } from "./repair-plan.ts";
import type { Verdict } from "./verdicts.ts";

/** A point of one replica. */
export interface PointChoice {
  /** Index of the replica. */
  readonly side: number;
  readonly generation: Generation;
  readonly txId: TxId;
}

/** What a replica can restore, alone. */
export interface SidePoints {
  /** Newest first. */
  readonly points: readonly Point[];
  /** What a restore takes by itself; undefined: nothing. */
  readonly newest: { readonly generation: Generation; readonly txId: TxId } | undefined;
}

/** How often a point is drawn until all replicas have it: what was merged on one only is no point there. */
const drawsMax = 32;

/**
 * For each replica an older point, and then the newest: the last word on a replica is about that. The older one is drawn from all, the same
 * for as many replicas as can be; a replica without it has one of its own. `random` gives [0, 1).
 */
export function choosePoints(sides: readonly SidePoints[], random: () => number): PointChoice[] {
  const older = sides.map(({ points, newest }) => points.filter((point) => !isSame(point, newest)));
  const common = drawCommon(older, random);
  return sides.flatMap(({ newest }, side) => {
    const own = older[side] ?? [];
    const drawn =
      common !== undefined && own.some((point) => isSame(point, common)) ? common : draw(own, random);
    return [drawn, newest].flatMap((point) =>
      point === undefined ? [] : [{ side, generation: point.generation, txId: point.txId }],
    );
  });
}

function drawCommon(older: readonly (readonly Point[])[], random: () => number): Point | undefined {
  const filled = older.filter((points) => points.length > 0);
  let best: { readonly point: Point; readonly holders: number } | undefined;
  for (let draws = 0; draws < drawsMax && best?.holders !== filled.length; draws += 1) {
    const point = draw(draw(filled, random) ?? [], random);
    if (point === undefined) return undefined;
    const holders = filled.filter((points) => points.some((other) => isSame(other, point))).length;
    if (best === undefined || holders > best.holders) best = { point, holders };
  }
  return best?.point;
}

function draw<Item>(items: readonly Item[], random: () => number): Item | undefined {
  return items[Math.min(items.length - 1, Math.floor(random() * items.length))];
}

function isSame(
  a: { readonly generation: Generation; readonly txId: TxId },
  b: { readonly generation: Generation; readonly txId: TxId } | undefined,
): boolean {
  return a.txId === b?.txId && a.generation === b.generation;
}

/** What a replica lacks of what the others have. */
export interface Lacking {
  readonly side: number;
  readonly verdict: Extract<Verdict, "LATE" | "LOST">;
  readonly object: string;
  /** Indexes of the replicas that have it. */
  readonly from: readonly number[];
}

/**
 * Objects that a repair would bring, but for those that are so young that they may be on their way. What lies beyond all that a replica has is
 * late, everything else is lost.
 */
export function lackingOf(
  holdings: readonly (readonly ListedObject[])[],
  options: {
    readonly facts: ArchiveFacts;
    readonly policy?: PrunePolicy | undefined;
    readonly nowMs: number;
    readonly lateMs: number;
  },
): Lacking[] {
  const states = holdings.map((objects) => objects.filter(({ name }) => stampOf(name) !== undefined));
  const newest = states.map((objects) =>
    objects.reduce((most, { name }) => Math.max(most, stampOf(name) ?? 0), 0),
  );
  const { copies } = planRepair(states, options);
  return copies.flatMap(({ to, name, from }) => {
    const stampMs = stampOf(name) ?? 0;
    if (stampMs > options.nowMs - options.lateMs) return [];
    // One that holds nothing at all has lost all; it is not merely behind.
    const own = newest[to] ?? 0;
    const isBeyond = own > 0 && stampMs > own;
    return [{ side: to, verdict: isBeyond ? ("LATE" as const) : ("LOST" as const), object: name, from }];
  });
}
