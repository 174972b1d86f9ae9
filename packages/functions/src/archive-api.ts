// What a restore asks of a host: points, manifests, objects. Planned from listings each time, by the format's own planner;
// objects come from the healthiest replica that has them.

import {
  type ArchiveReader,
  createReaderRanking,
  isPageferryError,
  type Manifest,
  manifestOf,
  openArchive,
  PageferryError,
  type PointJson,
  parseObjectName,
  planFromArchive,
  pointJson,
  pointsIn,
  type RandomReader,
  type ReaderRanking,
  type ReadRange,
  type RestorePlan,
  type RestoreTarget,
  readObject,
  readSnapshotHeader,
  readTimeline,
  type TimelineJson,
  timelineJson,
} from "@pageferry/format";
import { describeObject, type StateObjectName } from "./describe.ts";
import { markedNames, withoutMarked } from "./marks.ts";
import { graceMsDefault } from "./prune-plan.ts";
import type { CallOptions } from "./store.ts";

/** Headers and indexes are read in pieces of at most this. */
const pieceBytesMax = 4 * 1024 * 1024;

/** About how much is read of an object to describe it. */
const pieceBytes = 16 * 1024;

/** What is offered, and what a person should hear: replicas that could not be listed. */
export interface PointsJson {
  readonly points: readonly PointJson[];
  readonly warnings: readonly string[];
}

/** Every point that can be restored from any of the readers, newest first. */
export async function pointsJson(readers: readonly ArchiveReader[], call: CallOptions): Promise<PointsJson> {
  const { points, warnings } = await pointsIn(await openArchive(readers, call), call);
  return { points: points.map(pointJson), warnings };
}

/** Points of which a timeline shows each one. */
const newestMax = 20;

/** From when to when the readers can restore, how finely, what is missing, and which of them lacks what. */
export async function timelineAnswer(
  readers: readonly ArchiveReader[],
  call: CallOptions,
): Promise<TimelineJson> {
  return timelineJson(await readTimeline(await openArchive(readers, call), { ...call, newestMax }));
}

/**
 * Plans a restore and writes it down, with the state that it must end in; objects that are about to be deleted are left out where that can be.
 * Errors: as `planRestore`.
 */
export async function planManifest(
  readers: readonly ArchiveReader[],
  target: RestoreTarget,
  call: CallOptions & { readonly without?: ReadonlySet<string>; readonly nowMs?: number },
): Promise<Manifest> {
  const archive = await openArchive(readers, call);
  const marked = await markedNames(archive, call);
  const [all, due] = withoutMarked(marked, graceMsDefault, call.nowMs ?? Date.now());
  const planWithout = (names: ReadonlySet<string>) =>
    planFromArchive(archive, target, { ...call, without: new Set([...(call.without ?? []), ...names]) });
  const plan = await planWithout(all).catch((error: unknown) => {
    if (all.size === due.size) throw error;
    // They are there still, and stay as long as somebody has a lease on the point.
    return planWithout(due);
  });
  return manifestOf(plan, await expectedState(archive.ranking, plan, call));
}

/** Page size and final state hash, from the headers of the first and the last object; what cannot be read stays unsaid. */
async function expectedState(ranking: ReaderRanking, plan: RestorePlan, call: CallOptions) {
  const last = plan.steps.at(-1);
  try {
    const { pageSize, stateHash } = await described(ranking, plan, plan.snapshot, call, readSnapshotHeader);
    if (last === undefined) return { pageSize, stateHash };
    const name = parseObjectName(last.name) as StateObjectName;
    const links = await described(ranking, plan, last, call, (from) => describeObject(name, from));
    return { pageSize, stateHash: links.find((link) => link.txId === plan.txId)?.post };
  } catch (error) {
    if (!isPageferryError(error)) throw error;
    return {};
  }
}

/** Describes an object by the first reader whose copy holds: all its pieces come from there, with the size that it has there. */
function described<Result>(
  ranking: ReaderRanking,
  plan: RestorePlan,
  { name, size }: { readonly name: string; readonly size: number },
  { signal }: CallOptions,
  describe: (from: RandomReader) => Promise<Result>,
): Promise<Result> {
  return fromBest(ranking, name, { length: pieceBytes, signal }, plan.holders?.get(name), (reader) =>
    describe({
      size: plan.sizes?.get(name)?.get(reader.name) ?? size,
      read: (offset, length) => readObject(reader, name, { offset, length, signal, bytesMax: pieceBytesMax }),
    }),
  );
}

/** How long a replica that was silent is asked last: it may be back, and is asked again. */
const frozenMs = 60_000;

/** Databases whose replicas' speed is remembered. */
const rankingsMax = 1000;

/** Gives objects of archives, each from the fastest replica that has it. What is learned of replicas is kept from call to call. */
export interface ObjectServer {
  /**
   * Opens an object; a replica that fails in the middle is replaced by another one there. What is no object of an archive is `not-found`,
   * whatever the store holds.
   */
  open(readers: readonly ArchiveReader[], name: string, range: ReadRange): Promise<AsyncIterable<Uint8Array>>;
}

export function createObjectServer(): ObjectServer {
  const rankings = new Map<
    string,
    { readonly readers: readonly ArchiveReader[]; readonly ranking: ReaderRanking }
  >();
  const rankingOf = (readers: readonly ArchiveReader[]): ReaderRanking => {
    const key = readers
      .map(({ name }) => name)
      .sort()
      .join("\n");
    const known = rankings.get(key);
    if (known !== undefined && readers.every((reader) => known.readers.includes(reader)))
      return known.ranking;
    const ranking = createReaderRanking(readers, { frozenMs });
    rankings.delete(key);
    rankings.set(key, { readers, ranking });
    for (const oldest of rankings.keys()) {
      if (rankings.size <= rankingsMax) break;
      rankings.delete(oldest);
    }
    return ranking;
  };
  return {
    async open(readers, name, range) {
      if (parseObjectName(name) === undefined)
        throw new PageferryError("not-found", `object ${name.slice(0, 120)} is none of an archive`);
      const ranking = rankingOf(readers);
      const begin = (from: ReadRange) =>
        fromBest(ranking, name, from, undefined, async (reader) => ({
          reader,
          chunks: await reader.get(name, from),
        }));
      return resumed(ranking, await begin(range), range, begin);
    },
  };
}

interface Opened {
  readonly reader: ArchiveReader;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** A line that breaks is taken up where it broke, once for each replica. What came together in that way is verified by who reads it. */
async function* resumed(
  ranking: ReaderRanking,
  first: Opened,
  range: ReadRange,
  begin: (from: ReadRange) => Promise<Opened>,
): AsyncGenerator<Uint8Array> {
  let sent = 0;
  const failed = new Set<string>();
  for (let opened = first; ; ) {
    try {
      for await (const chunk of opened.chunks) {
        yield chunk;
        sent += chunk.length;
      }
      return;
    } catch (error) {
      range.signal?.throwIfAborted();
      ranking.failed(opened.reader, error);
      const mayPass = isPageferryError(error) && error.remedy === "retry" && !failed.has(opened.reader.name);
      if (!mayPass) throw error;
      failed.add(opened.reader.name);
      const length = range.length === undefined ? {} : { length: range.length - sent };
      opened = await begin({ ...range, offset: (range.offset ?? 0) + sent, ...length });
    }
  }
}

async function fromBest<Result>(
  ranking: ReaderRanking,
  name: string,
  { length = 0, signal }: ReadRange,
  holders: readonly string[] | undefined,
  read: (reader: ArchiveReader) => Promise<Result>,
): Promise<Result> {
  let failure: unknown = new PageferryError("not-found", `object ${name}: no replica is configured`);
  for (const reader of ranking.order(length, holders)) {
    try {
      return await read(reader);
    } catch (error) {
      signal?.throwIfAborted();
      if (!isPageferryError(error)) throw error;
      ranking.failed(reader, error);
      // An unreachable replica may have it: "not found" is only said when all were asked.
      if (!isPageferryError(failure) || isPageferryError(failure, "not-found")) failure = error;
    }
  }
  throw failure;
}
