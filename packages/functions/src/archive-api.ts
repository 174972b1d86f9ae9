// What can be restored of a database, asked of a host: points, timelines, and plans with what the headers tell of their ends. Planned by the
// format's own planner, from listings in memory where the replicas keep one.

import {
  type Archive,
  type CompanionsEntry,
  type CompanionsWanted,
  companionsIn,
  companionVersions,
  formatTxId,
  isPageferryError,
  type PointJson,
  parseObjectName,
  planFromArchive,
  pointJson,
  pointsIn,
  type RestorePlan,
  type RestoreTarget,
  readObject,
  readSnapshotHeader,
  readTimeline,
  type StateHash,
  type TimelineJson,
  timelineJson,
} from "@pageferry/format";
import type { Archives } from "./archives.ts";
import { readDatabaseSize, type WithObject } from "./database-size.ts";
import { describeObject, type StateObjectName } from "./describe.ts";
import type { HostReader } from "./host-reader.ts";
import { markedNames, withoutMarked } from "./marks.ts";
import { fromBest } from "./object-server.ts";
import { graceMsDefault } from "./prune-plan.ts";
import type { CallOptions } from "./store.ts";

/** Headers and indexes are read in pieces of at most this. */
const pieceBytesMax = 4 * 1024 * 1024;

/** About how much is read of an object to describe it. */
const pieceBytes = 16 * 1024;

/** Plans whose ends are remembered: a few hundred bytes each. */
const endsMax = 2000;

/** Points of which a timeline shows each one. */
const newestMax = 20;

/** What is offered, and what a person should hear: replicas that could not be listed. */
export interface PointsJson {
  readonly points: readonly PointJson[];
  readonly warnings: readonly string[];
}

/** What the headers of the first and the last object of a plan say; what cannot be read stays unsaid. */
export interface PlanEnds {
  readonly pageSize?: number;
  /** The restored database's length. */
  readonly pages?: number;
  readonly stateHash?: StateHash | undefined;
  /** By the object's name: CRC-64 of its data. */
  readonly crc64?: ReadonlyMap<string, bigint>;
}

/** A plan, and what is known beyond it. */
export interface PlannedPoint {
  readonly plan: RestorePlan;
  readonly ends: PlanEnds;
}

/** Whose archive, and through which readers. */
export interface ArchivePlace {
  readonly database: string;
  readonly readers: readonly HostReader[];
}

/** A version of companion files, and who has it. */
export interface HeldCompanions extends CompanionsEntry {
  readonly holders: readonly string[];
}

export interface ArchiveApi {
  /** Every point that can be restored from any of the readers, newest first. */
  points(place: ArchivePlace, call: CallOptions): Promise<PointsJson>;
  /** From when to when the readers can restore, how finely, what is missing, and which of them lacks what. */
  timeline(place: ArchivePlace, call: CallOptions): Promise<TimelineJson>;
  /** The companion files of a point, and the names of the readers that have them; `undefined`: there are none of that time. */
  companions(
    place: ArchivePlace,
    wanted: CompanionsWanted,
    call: CallOptions,
  ): Promise<HeldCompanions | undefined>;
  /** Every version of the companion files, newest first. */
  companionVersions(place: ArchivePlace, call: CallOptions): Promise<readonly CompanionsEntry[]>;
  /**
   * Plans a restore; objects that are about to be deleted are left out where that can be. What turns out to be gone is planned around after another
   * look. Errors: as `planRestore`.
   */
  plan(
    place: ArchivePlace,
    target: RestoreTarget,
    call: CallOptions & { readonly without?: ReadonlySet<string> },
  ): Promise<PlannedPoint>;
}

export interface ArchiveApiOptions {
  readonly archives: Archives;
  readonly now: () => number;
}

export function createArchiveApi({ archives, now }: ArchiveApiOptions): ArchiveApi {
  const known = new Map<string, PlanEnds>();
  const ends = async (archive: Archive, plan: RestorePlan, call: CallOptions): Promise<PlanEnds> => {
    const key = [plan.snapshot.name, plan.steps.at(-1)?.name, formatTxId(plan.txId)].join("\n");
    const before = known.get(key);
    if (before !== undefined) return before;
    const found = await readEnds(archive, plan, call);
    if (found.pages !== undefined) known.set(key, found);
    for (const oldest of known.keys()) {
      if (known.size <= endsMax) break;
      known.delete(oldest);
    }
    return found;
  };
  const planNow = async (
    { database, readers }: ArchivePlace,
    target: RestoreTarget,
    call: CallOptions & { readonly without?: ReadonlySet<string> },
  ): Promise<PlannedPoint> => {
    const archive = await archives.open(database, readers, call);
    const [all, due] = withoutMarked(await marksOf(readers, archive, call), graceMsDefault, now());
    const planWithout = (names: ReadonlySet<string>) =>
      planFromArchive(archive, target, { ...call, without: union(names, call.without) });
    const plan = await planWithout(all).catch((error: unknown) => {
      if (all.size === due.size) throw error;
      // They are there still, and stay as long as somebody has a lease on the point.
      return planWithout(due);
    });
    const told = await ends(archive, plan, call).catch((error: unknown) => {
      if (canRelist(readers)) throw error;
      return {};
    });
    return { plan, ends: told };
  };
  return {
    async points({ database, readers }, call) {
      const { points, warnings } = await pointsIn(await archives.open(database, readers, call), call);
      return { points: points.map(pointJson), warnings };
    },
    async timeline({ database, readers }, call) {
      const archive = await archives.open(database, readers, call);
      return timelineJson(await readTimeline(archive, { ...call, newestMax }));
    },
    async companions({ database, readers }, wanted, call) {
      const archive = await archives.open(database, readers, call);
      const entry = companionsIn(archive, wanted);
      return entry && { ...entry, holders: archive.holders(entry.name) };
    },
    async companionVersions({ database, readers }, call) {
      return companionVersions(await archives.open(database, readers, call));
    },
    async plan(place, target, call) {
      const relist = () => Promise.allSettled(place.readers.map((reader) => reader.relist?.(call)));
      // Somebody missed an object that is in memory still.
      if ((call.without?.size ?? 0) > 0) await relist();
      try {
        return await planNow(place, target, call);
      } catch (error) {
        call.signal?.throwIfAborted();
        const isMissing = isPageferryError(error, "not-found") || isPageferryError(error, "gap");
        if (!isMissing || !canRelist(place.readers)) throw error;
        await relist();
        return planNow(place, target, call);
      }
    },
  };
}

function canRelist(readers: readonly HostReader[]): boolean {
  return readers.some((reader) => reader.relist !== undefined);
}

/** The names that are marked in any replica, and since when. */
async function marksOf(
  readers: readonly HostReader[],
  archive: Archive,
  call: CallOptions,
): Promise<ReadonlyMap<string, number>> {
  const asked = await Promise.allSettled(readers.map((reader) => reader.marked?.(call)));
  // What cannot be read marks nothing.
  const found = asked.flatMap((one) =>
    one.status === "fulfilled" && one.value !== undefined ? [one.value] : [],
  );
  const isRemembered = readers.every((reader) => reader.marked !== undefined);
  const all = isRemembered ? found : [...found, await markedNames(archive, call)];
  const marked = all.filter(({ size }) => size > 0);
  if (marked.length < 2) return marked[0] ?? new Map();
  const merged = new Map<string, number>();
  for (const [name, sinceMs] of marked.flatMap((one) => [...one])) {
    merged.set(name, Math.min(merged.get(name) ?? sinceMs, sinceMs));
  }
  return merged;
}

function union(names: ReadonlySet<string>, more: ReadonlySet<string> | undefined): ReadonlySet<string> {
  return more === undefined || more.size === 0 ? names : new Set([...names, ...more]);
}

/** Throws `not-found` where an end is nowhere: the listing is old. */
async function readEnds(archive: Archive, plan: RestorePlan, call: CallOptions): Promise<PlanEnds> {
  const withObject = withObjectOf(archive, plan, call);
  const last = plan.steps.at(-1);
  const crc64 = new Map<string, bigint>();
  try {
    const reading = [
      withObject(plan.snapshot, readSnapshotHeader),
      readDatabaseSize(plan, withObject),
      last === undefined
        ? undefined
        : withObject(last, (from) => describeObject(parseObjectName(last.name) as StateObjectName, from)),
    ] as const;
    const [base, size, links = []] = await Promise.all(reading);
    if (base.checksum !== undefined) crc64.set(plan.snapshot.name, base.checksum);
    const end = links.find(({ txId }) => txId === plan.txId);
    if (last?.kind === "segment" && end?.checksum !== undefined) crc64.set(last.name, end.checksum);
    return { ...size, stateHash: last === undefined ? base.stateHash : end?.post, crc64 };
  } catch (error) {
    if (!isPageferryError(error) || error.code === "not-found") throw error;
    return {};
  }
}

/** Reads parts of an object from the first reader whose copy holds, with the size that it has there. */
function withObjectOf(archive: Archive, plan: RestorePlan, { signal }: CallOptions): WithObject {
  return ({ name, size }, read) =>
    fromBest(archive.ranking, name, { length: pieceBytes, signal }, plan.holders?.get(name), (reader) =>
      read({
        size: plan.sizes?.get(name)?.get(reader.name) ?? size,
        read: (offset, length) =>
          readObject(reader, name, { offset, length, signal, bytesMax: pieceBytesMax }),
      }),
    );
}
