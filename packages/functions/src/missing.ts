// What is not there: ranges without which later objects cannot be reached, and states that a replica once held. Pure, from listings.

import {
  type ArchiveListing,
  formatTxId,
  type Generation,
  type Point,
  type TxId,
  timelineOf,
  withoutObjects,
} from "@pageferry/format";
import { stampOf } from "./object-stamp.ts";

/** What does not hold. `missing`: with it, what lies beyond could be restored. */
export interface ChainFinding {
  readonly kind: "missing" | "swapped" | "rolled-back" | "foreign" | "fork" | "corrupt";
  /** The object; of what is missing, its generation and range. */
  readonly object: string;
  readonly why: string;
}

/** A state that a replica is known to have held. */
export interface KnownPoint {
  readonly generation: Generation;
  readonly txId: TxId;
  readonly stampMs: number | null;
}

/** The ranges that are missing, newest generation first. Objects of commits after `settledMs` do not count: what they need may be on its way. */
export function missingIn(listing: ArchiveListing, settledMs = Number.POSITIVE_INFINITY): ChainFinding[] {
  const young = new Set(
    [...listing.generations.values()]
      .flatMap(({ ranges, snapshots }) => [...ranges, ...snapshots])
      .filter(({ name }) => (stampOf(name) ?? 0) > settledMs)
      .map(({ name }) => name),
  );
  return timelineOf(withoutObjects(listing, young)).flatMap(({ generation, holes }) =>
    holes
      .filter(({ unreachable }) => unreachable > 0)
      .map(({ missing, unreachable, after }) => {
        const range = `(${formatTxId(missing.from)}, ${formatTxId(missing.to)}]`;
        const last =
          after === null
            ? "nothing below it can be restored"
            : `${formatTxId(after)} is the last point before it`;
        const why = `${last}; ${unreachable} beyond it cannot be reached`;
        return { kind: "missing" as const, object: `${generation} ${range}`, why };
      }),
  );
}

/** Why a state that was held and is not is no matter of retention; undefined where it may be. `points`: newest first. */
export function rolledBack(
  { generation, txId, stampMs }: KnownPoint,
  listing: ArchiveListing,
  points: readonly Point[],
): ChainFinding | undefined {
  const own = points.find((point) => point.generation === generation);
  if (own !== undefined && own.txId >= txId) return undefined;
  const found = (rest: string): ChainFinding => ({
    kind: "rolled-back",
    object: `${generation} ${formatTxId(txId)}`,
    why: `it was restored from here once, and now ${rest}`,
  });
  if (own !== undefined) return found(`its generation ends at ${formatTxId(own.txId)}`);
  if (listing.generations.has(generation)) return found("nothing of its generation can be restored");
  // A generation as a whole goes with time, when another one has taken its place.
  const isLater = points.some(
    (point) => point.stampMs === null || stampMs === null || point.stampMs >= stampMs,
  );
  return isLater ? undefined : found("there is neither its generation nor a later one");
}
