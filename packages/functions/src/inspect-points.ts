// Points that were opened to look inside: planned from a listing, leased, and held for the next look. A point never changes, so what is known
// of it stays true for as long as its objects are there.

import {
  type ArchiveReader,
  type ByteCache,
  createByteCache,
  type DatabaseName,
  isPageferryError,
  openArchive,
  openPointPages,
  type PointPages,
  planFromArchive,
  type RestorePlan,
  type RestoreTarget,
} from "@pageferry/format";
import { markedNames } from "./marks.ts";
import type { WantedPoint } from "./retention.ts";
import type { CallOptions } from "./store.ts";

/** A few dozen frames: what the ways of some people at a time touch again and again. */
const cacheBytesMax = 64 * 1024 * 1024;

/** Indexes and seek tables of points that are held: a terabyte's table is 128 MiB, and is held alone. */
const heldBytesMax = 64 * 1024 * 1024;

/** Points that are held, however small. */
const heldMax = 64;

/** A lease lasts an hour; one that is half as old is renewed. */
const leaseAgeMs = 30 * 60_000;

/** Which point to look into. */
export interface PointOrder {
  readonly database: DatabaseName;
  readonly target: RestoreTarget;
  /** From one replica alone; absent: from all. */
  readonly replica?: string | undefined;
  readonly readers: readonly ArchiveReader[];
}

/** A point to look into. */
export interface OpenedPoint {
  readonly plan: RestorePlan;
  readonly pages: PointPages;
}

export interface InspectPointsOptions {
  readonly lease: (database: DatabaseName, point: WantedPoint) => Promise<unknown>;
  /** A clock that never goes back. */
  readonly now: () => number;
}

export interface InspectPoints {
  /** Looks into a point. One whose objects were removed since it was opened is opened anew, once. */
  use<Result>(
    order: PointOrder,
    call: CallOptions,
    look: (point: OpenedPoint) => Promise<Result>,
  ): Promise<Result>;
}

interface HeldPoint extends OpenedPoint {
  leasedAtMs: number;
}

export function createInspectPoints({ lease, now }: InspectPointsOptions): InspectPoints {
  const cache: ByteCache = createByteCache(cacheBytesMax);
  const held = new Map<string, HeldPoint>();

  const keep = (key: string, point: HeldPoint): void => {
    held.delete(key);
    held.set(key, point);
    let bytes = 0;
    for (const one of held.values()) bytes += one.pages.heldBytes();
    for (const [oldest, one] of held) {
      if ((bytes <= heldBytesMax && held.size <= heldMax) || oldest === key) break;
      held.delete(oldest);
      bytes -= one.pages.heldBytes();
    }
  };

  const open = async (
    { database, target, readers }: PointOrder,
    { signal }: CallOptions,
  ): Promise<HeldPoint> => {
    const archive = await openArchive(readers, { signal });
    const marked = await markedNames(archive, { signal });
    const without = new Set(marked.keys());
    const plan = await planFromArchive(archive, target, { signal, without }).catch((error: unknown) => {
      if (without.size === 0) throw error;
      // They are there still, and stay as long as somebody has a lease on the point.
      return planFromArchive(archive, target, { signal });
    });
    await lease(database, plan);
    const { ranking } = archive;
    const pages = await openPointPages(plan, archive.readers, {
      ...{ signal, ranking, cache },
      cachePrefix: `${database}\n`,
    });
    return { plan, pages, leasedAtMs: now() };
  };

  const renew = async (database: DatabaseName, point: HeldPoint): Promise<void> => {
    if (now() - point.leasedAtMs < leaseAgeMs) return;
    point.leasedAtMs = now();
    await lease(database, point.plan);
  };

  return {
    async use(order, call, look) {
      const known = held.get(keyOf(order, order.target) ?? "");
      try {
        if (known !== undefined) await renew(order.database, known);
        const point = known ?? (await open(order, call));
        const result = await look(point);
        keep(keyOf(order, point.plan) as string, point);
        return result;
      } catch (error) {
        if (known === undefined || call.signal?.aborted) throw error;
        held.delete(keyOf(order, known.plan) ?? "");
        if (!isPageferryError(error, "not-found")) throw error;
      }
      const point = await open(order, call);
      keep(keyOf(order, point.plan) as string, point);
      return look(point);
    },
  };
}

/** Only a target that names its point always means the same one. */
function keyOf(
  { database, replica = "" }: Pick<PointOrder, "database" | "replica">,
  { generation, txId }: RestoreTarget,
): string | undefined {
  return generation === undefined || txId === undefined
    ? undefined
    : `${database}\n${replica}\n${generation}\n${txId}`;
}
