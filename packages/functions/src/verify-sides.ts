// A replica in a verification: listed alone, what it can restore alone, and what is seen of it without restoring anything.

import {
  type Archive,
  type ArchiveListing,
  type ArchiveReader,
  formatTxId,
  type Generation,
  isPageferryError,
  lackingPoints,
  listingOf,
  openArchive,
  type Point,
  parseObjectName,
  planFromArchive,
  points,
  pointsIn,
  type RangeObject,
  readReceipts,
  type TxId,
  withoutObjects,
} from "@pageferry/format";
import { boundedStore } from "./bounded-store.ts";
import { walkChain } from "./continuity.ts";
import { differingGenerations } from "./differing-generations.ts";
import { latestEvidence } from "./evidence.ts";
import { type KnownPoint, missingIn } from "./missing.ts";
import { checkObject } from "./object-check.ts";
import { receiptsWanted } from "./receipts.ts";
import { whyOf } from "./repair-copy.ts";
import type { Replica } from "./replica.ts";
import { formatTime } from "./replica-state.ts";
import type { RetentionPolicy } from "./retention.ts";
import type { RootedStore } from "./rooted-store.ts";
import type { CallOptions } from "./store.ts";
import { worst } from "./verdicts.ts";
import { lackingOf } from "./verify-plan.ts";
import type { ReplicaVerdict, VerifyProblem } from "./verify-report.ts";
import { readWanted } from "./wanted-points.ts";

/** Problems that are named for one replica: the rest is counted. */
const problemsMax = 100;

/** Packs that a drill looks into, so that points inside of them are drawn too: an index is a request, and there may be thousands. */
const packsDrawn = 8;

/** A replica in a verification. */
export interface VerifySide {
  readonly replica: Replica;
  readonly isTarget: boolean;
  readonly row: ReplicaVerdict;
  /** With bounds on its silence. */
  readonly store: RootedStore;
  readonly reader: ArchiveReader;
  /** Undefined: it could not be listed. */
  archive: Archive | undefined;
  listing: ArchiveListing | undefined;
  /** Newest first. */
  points: readonly Point[];
  newest: { readonly generation: Generation; readonly txId: TxId } | undefined;
  readonly broken: Set<string>;
  add(problem: VerifyProblem): void;
}

/** What is the same for all replicas of a verification. */
export interface SideOptions extends CallOptions {
  readonly stallMs?: number | undefined;
  readonly nowMs: number;
  readonly lateMs: number;
  readonly random: () => number;
}

/** Nothing is read yet. */
export function createSide(replica: Replica, isTarget: boolean, options: SideOptions): VerifySide {
  const { store } = boundedStore(replica.objects, { signal: options.signal, stallMs: options.stallMs });
  const row: ReplicaVerdict = {
    ...{ replica: replica.name, verdict: null, newest: null, points: [], problems: [], problemCount: 0 },
    ...{ restorable: 0, lost: 0, lostRanges: [], objects: null, bytesRead: 0, error: null, warnings: [] },
  };
  const broken = new Set<string>();
  const seen = new Set<string>();
  const reader: ArchiveReader = {
    name: replica.name,
    list: (call) => store.list("", call),
    get: (name, range) => store.get(name, range),
  };
  return {
    ...{ replica, isTarget, row, store, reader, broken },
    ...{ archive: undefined, listing: undefined, points: [], newest: undefined },
    add(problem) {
      const word = `${problem.verdict} ${problem.object}`;
      if (problem.object !== null && seen.has(word)) return;
      seen.add(word);
      row.problemCount += 1;
      row.verdict = worst([row.verdict ?? "FOUND", problem.verdict]);
      if (row.problems.length < problemsMax) row.problems.push(problem);
      if (problem.verdict === "CORRUPT" && problem.object !== null) broken.add(problem.object);
    },
  };
}

/** Runs work on a replica: what says that it cannot be worked with ends up in its row. False: it failed. */
export async function onSide(
  side: VerifySide,
  call: CallOptions,
  work: () => Promise<void>,
): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    call.signal?.throwIfAborted();
    if (!isPageferryError(error)) throw error;
    side.row.error ??= whyOf(error);
    return false;
  }
}

/** Lists all replicas, and finds out what each can restore alone. `hasAllPacks`: looks into every pack, not only into some. */
export async function readSides(
  sides: readonly VerifySide[],
  { hasAllPacks, ...options }: SideOptions & { readonly hasAllPacks: boolean },
): Promise<void> {
  const { signal } = options;
  await Promise.all(
    sides.map((side) =>
      onSide(side, options, async () => {
        side.archive = await openArchive([side.reader], { signal });
      }),
    ),
  );
  const listed = sides.filter(({ archive }) => archive !== undefined);
  const of = hasAllPacks ? undefined : packsOf(listed, options.random);
  await Promise.all(listed.map((side) => onSide(side, options, () => readPointsOf(side, of, options))));
}

/** Some packs, the same in all replicas, and all of generations of which not all replicas have the same: these are compared. */
function packsOf(sides: readonly VerifySide[], random: () => number): (pack: RangeObject) => boolean {
  const holdings = sides.map(({ archive }) => archive?.objects ?? []);
  const links = new Map(sides.flatMap(({ archive }) => [...(archive?.links ?? [])]));
  const differing = differingGenerations(holdings, links);
  const packs = [...new Set(holdings.flat().map(({ name }) => name))].filter((name) =>
    name.endsWith(".pack.cbor"),
  );
  const drawn = new Set(Array.from({ length: packsDrawn }, () => packs[Math.floor(random() * packs.length)]));
  return ({ name, generation }) => drawn.has(name) || differing.has(generation);
}

async function readPointsOf(
  side: VerifySide,
  of: ((pack: RangeObject) => boolean) | undefined,
  options: SideOptions,
): Promise<void> {
  const { signal } = options;
  const archive = side.archive as Archive;
  const found = await pointsIn(archive, { signal, of });
  side.points = found.points;
  side.listing = found.listing;
  for (const object of found.broken)
    side.add({ verdict: "CORRUPT", object, why: "what it says of itself cannot be read" });
  for (const [, why] of archive.linkProblems) {
    const [object = null] = why.split(": ");
    side.add({ verdict: "CORRUPT", object, why });
  }
  await planNewest(side, archive, signal);
}

/** What a restore from it alone would give; where that cannot be told, the newest point that can be named, and why. */
async function planNewest(
  side: VerifySide,
  archive: Archive,
  signal: AbortSignal | undefined,
): Promise<void> {
  const [first] = side.points;
  side.newest = first;
  let stampMs = first?.stampMs ?? null;
  try {
    const plan = await planFromArchive(archive, {}, { signal, without: side.broken });
    side.newest = plan;
    stampMs = plan.stampMs;
  } catch (error) {
    if (!isPageferryError(error) || error.remedy === "retry" || error.code === "unauthorized") throw error;
    // An archive without any object has its own words, where the others are known.
    const verdict = error.code === "bad-request" ? "FORK" : error.code === "corrupt" ? "CORRUPT" : "LOST";
    if (error.code !== "not-found") side.add({ verdict, object: null, why: whyOf(error) });
  }
  const { newest } = side;
  if (newest === undefined) return;
  const time = stampMs === null ? null : formatTime(stampMs);
  side.row.newest = { generation: newest.generation, txid: formatTxId(newest.txId), time };
}

/** A state that is known to have been captured: by its agent, or as another source tells. */
export interface CapturedPoint {
  readonly txId: TxId;
  readonly stampMs: number;
}

/** What listings show: ranges that are missing, objects that the others have, commits that were captured and are not there. */
export async function judgeListings(
  sides: readonly VerifySide[],
  options: SideOptions & {
    readonly retention?: RetentionPolicy | undefined;
    readonly newestCaptured?: CapturedPoint | undefined;
  },
): Promise<void> {
  const { nowMs, lateMs, retention, newestCaptured: captured, signal } = options;
  const listed = sides.filter(({ listing }) => listing !== undefined);
  const settledMs = nowMs - lateMs;
  for (const side of listed) {
    for (const { object, why } of missingIn(side.listing as ArchiveListing, settledMs))
      side.add({ verdict: "LOST", object, why });
    if (side.points.length === 0)
      side.add({ verdict: "LOST", object: null, why: "there is no point that can be restored" });
    const isBehind =
      captured !== undefined && !side.points.some(({ txId, stampMs }) => isAtLeast(captured, txId, stampMs));
    if (isBehind && captured.stampMs <= settledMs && side.points.length > 0) {
      const why = `transaction ${formatTxId(captured.txId)} of ${formatTime(captured.stampMs)} was captured and is not there yet`;
      side.add({ verdict: "LATE", object: null, why });
    }
  }
  const holdings = listed.map(({ archive, broken }) =>
    (archive?.objects ?? []).filter(({ name }) => !broken.has(name)),
  );
  const policy =
    retention === undefined
      ? undefined
      : { ...retention, graceMs: 0, ...(await wantedOf(listed, nowMs, signal)) };
  if (retention !== undefined) {
    for (const side of listed) {
      const wanted = receiptsWanted(side.listing as ArchiveListing, retention.levelsMs);
      await onSide(side, options, () =>
        readReceipts(side.archive as Archive, wanted, { signal, onBroken: () => undefined }),
      );
    }
  }
  for (const { side: at, verdict, object, from } of lackingOf(holdings, {
    facts: factsOf(listed),
    policy,
    nowMs,
    lateMs,
  })) {
    // What is there and broken is named as that.
    if (listed[at]?.broken.has(object) === true) continue;
    const names = from.map((other) => listed[other]?.row.replica).join(" and ");
    listed[at]?.add({ verdict, object, why: `${names} has it, and what it leads to` });
  }
}

function isAtLeast(captured: CapturedPoint, txId: TxId, stampMs: number | null): boolean {
  return txId === captured.txId || (stampMs !== null && stampMs >= captured.stampMs);
}

/** What was read of packs, links and stamps, of all replicas. */
function factsOf(sides: readonly VerifySide[]) {
  const archives = sides.flatMap(({ archive }) => archive ?? []);
  return {
    links: new Map(archives.flatMap(({ links }) => [...links])),
    linkProblems: new Map(archives.flatMap(({ linkProblems }) => [...linkProblems])),
    packs: new Map(archives.flatMap(({ packs }) => [...packs])),
    stamps: new Map(archives.flatMap(({ stamps }) => [...stamps])),
    receipts: new Map(archives.flatMap(({ receipts }) => [...receipts])),
  };
}

/** Points that leases and pins hold. Where these cannot be read, what they alone keep is not missed. */
async function wantedOf(sides: readonly VerifySide[], nowMs: number, signal: AbortSignal | undefined) {
  const wanted = await Promise.all(
    sides.map(async ({ store, archive, row }) => {
      const names = (archive?.objects ?? []).map(({ name }) => name);
      try {
        return await readWanted(store, names, nowMs, { signal });
      } catch (error) {
        signal?.throwIfAborted();
        if (!isPageferryError(error)) throw error;
        row.warnings.push(`leases and pins could not be read: ${whyOf(error)}`);
        return { pinned: [], leased: [] };
      }
    }),
  );
  return {
    pinned: wanted.flatMap(({ pinned }) => pinned),
    leased: wanted.flatMap(({ leased }) => leased),
  };
}

/** Walks the headers of all replicas, each against itself and the others. */
export async function chainSides(
  sides: readonly VerifySide[],
  options: SideOptions & { readonly known?: ReadonlyMap<string, readonly KnownPoint[]> | undefined },
): Promise<void> {
  const { signal, nowMs, lateMs, stallMs } = options;
  const listed = sides.filter(({ archive, row }) => archive !== undefined && row.error === null);
  const known = new Map<string, KnownPoint[]>();
  for (const side of listed) {
    await onSide(side, options, async () => {
      const evidence = await latestEvidence(side.store, { signal });
      const own = evidence?.verdict === "FOUND" ? [evidence] : [];
      known.set(side.reader.name, [...own, ...(options.known?.get(side.reader.name) ?? [])]);
    });
  }
  const readMs = stallMs === undefined ? {} : { readMs: stallMs };
  const chains = await walkChain({
    ...{ readers: listed.map(({ reader }) => reader), known, signal, settledMs: nowMs - lateMs },
    ...readMs,
  });
  for (const [at, chain] of chains.entries()) {
    const side = listed[at] as VerifySide;
    side.row.objects = chain.objects;
    side.row.bytesRead += chain.bytesRead;
    side.row.error ??= chain.error;
    for (const { kind, object, why } of chain.findings) {
      const verdict =
        kind === "fork" ? "FORK" : kind === "missing" || kind === "rolled-back" ? "LOST" : "CORRUPT";
      side.add({ verdict, object, why: `${kind}: ${why}` });
    }
  }
}

/** Reads the objects after one to their ends, in the order of their names, until `isOver`: then it gives the last one that was read. */
export async function checkObjects(
  side: VerifySide,
  after: string,
  { signal, isOver }: CallOptions & { readonly isOver: () => boolean },
): Promise<string | undefined> {
  const objects = (side.archive?.objects ?? []).filter(({ name }) => isState(name) && name > after);
  objects.sort((a, b) => (a.name < b.name ? -1 : 1));
  let read = 0;
  let last = after;
  for (const { name, size } of objects) {
    if (isOver()) return last;
    try {
      await checkObject(name, await side.store.get(name, { signal }));
    } catch (error) {
      signal?.throwIfAborted();
      const isObjects = isPageferryError(error) && error.remedy === "stop" && error.code !== "unauthorized";
      if (!isObjects) throw error;
      // It was removed meanwhile, as by a prune.
      if (error.code !== "not-found") side.add({ verdict: "CORRUPT", object: name, why: whyOf(error) });
    }
    last = name;
    read += 1;
    side.row.bytesRead += size;
    side.row.objects = Math.max(side.row.objects ?? 0, read);
  }
  return undefined;
}

function isState(name: string): boolean {
  return (
    parseObjectName(name)?.kind === "files" ||
    (/^[0-9a-f]{16}\/(generation\.json$|segments\/|snapshots\/)/.test(name) && name.split("/").length <= 3)
  );
}

/** States what can be restored without what is broken. */
export function stateRemaining(side: VerifySide): void {
  const { archive, row, broken, points: all } = side;
  if (archive === undefined) return;
  const left = broken.size === 0 ? all : points(withoutObjects(listingOf(archive), broken));
  const { lacking, ranges } = lackingPoints(all, left);
  row.restorable = left.length;
  row.lost = lacking;
  row.lostRanges = ranges.map((range) => ({
    ...range,
    from: formatTxId(range.from),
    to: formatTxId(range.to),
  }));
}
