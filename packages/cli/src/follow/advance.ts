// What a standby does about the newest point of its archive: nothing, the way from where it is, or all of it again. Pure; the deed is in
// follow.ts. See docs/decisions/0017-follow.md.

import { formatTxId, type Generation, type PlanStep, type RestorePlan, type TxId } from "@pageferry/format";

/** A point that a standby is, or is to be. */
export interface StandbyPoint {
  readonly generation: Generation;
  /** Of the generation; null where nobody knows. */
  readonly epoch: number | null;
  readonly txId: TxId;
  /** Its commit stamp; null where nobody knows. */
  readonly stampMs: number | null;
}

/** What is to be done. */
export type Advance =
  | { readonly kind: "none" }
  /** What is there is older than what the standby has: nothing, until what it came from is back, or something newer is there. */
  | { readonly kind: "older"; readonly why: string }
  /** The plan's steps lead on from the standby as it is. */
  | { readonly kind: "delta"; readonly plan: RestorePlan }
  | { readonly kind: "whole"; readonly plan: RestorePlan; readonly why: string };

/** What is known of the way until here. */
export interface Traveller {
  /** Undefined: there is no standby yet. */
  readonly point: StandbyPoint | undefined;
  /** Generations that it has left: none of them is ever newer. */
  readonly left: readonly Generation[];
}

/** Decides what is done about a plan of the newest point. A standby never goes back. */
export function decideAdvance({ point, left }: Traveller, plan: RestorePlan): Advance {
  if (point === undefined) return { kind: "whole", plan, why: "there is no standby yet" };
  const why = whyOlder(point, left, plan);
  if (why !== undefined) return { kind: "older", why };
  if (plan.generation === point.generation && plan.txId === point.txId) return { kind: "none" };
  const steps = stepsFrom(point, plan);
  if (steps === undefined)
    return { kind: "whole", plan, why: `nothing leads on from ${formatTxId(point.txId)}` };
  const bytes = steps.reduce((sum, { size }) => sum + size, 0);
  return { kind: "delta", plan: { ...plan, steps, bytes } };
}

function whyOlder(
  point: StandbyPoint,
  left: readonly Generation[],
  { generation, txId, epoch, stampMs }: RestorePlan,
): string | undefined {
  const newest = `${formatTxId(txId)} of generation ${generation}`;
  if (generation === point.generation) {
    return txId < point.txId ? `the newest that can be restored is ${newest}` : undefined;
  }
  if (left.includes(generation)) return `${newest} is of a history that went on elsewhere`;
  if (epoch !== undefined && point.epoch !== null && epoch !== point.epoch) {
    return epoch < point.epoch ? `${newest} is of an older generation` : undefined;
  }
  // Without epochs only time tells.
  const isEarlier = stampMs !== null && point.stampMs !== null && stampMs < point.stampMs;
  return isEarlier ? `${newest} is of an earlier time` : undefined;
}

/**
 * The steps that lead on from a point: the first goes beyond it, and holds all that changed since any state that it goes through. That is
 * so for a point of its own generation, and for the very state of the parent that a bridge begins at.
 */
function stepsFrom(
  { generation, txId }: StandbyPoint,
  { snapshot, steps }: RestorePlan,
): readonly PlanStep[] | undefined {
  if (snapshot.txId > txId) return undefined;
  const at = steps.findIndex(({ to }) => to > txId);
  const first = steps[at];
  if (first === undefined || first.from > txId) return undefined;
  const before = steps[at - 1] ?? snapshot;
  const isOnTheWay =
    first.generation === generation || (first.from === txId && before.generation === generation);
  return isOnTheWay ? [{ ...first, from: txId }, ...steps.slice(at + 1)] : undefined;
}
