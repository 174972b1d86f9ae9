// An archive as time goes by, over names and sizes alone: what `serve` stores, merges, builds and lets go of one database, by the real decisions
// and an injected clock. No bytes; their deeds are carried out on lists of names, and what they would ask of a store is counted.

import {
  type ArchiveListing,
  type Config,
  type Generation,
  type GenerationIndex,
  indexArchive,
  parseGeneration,
  planRestore,
  type RangeObject,
  type SnapshotObject,
  segmentName,
  snapshotName,
  txId,
} from "@pageferry/format";
import { type KeptPoint, planPrune, type RetentionPolicy, retentionPolicy } from "@pageferry/functions";
import { type Compacted, compactDue, compactLookMs } from "../../packages/functions/src/compact-due.ts";
import { type Merge, planMerges } from "../../packages/functions/src/compact-plan.ts";
import { graceMsDefault } from "../../packages/functions/src/prune-plan.ts";
import { receiptsWanted } from "../../packages/functions/src/receipts.ts";
import { snapshotDue } from "../../packages/functions/src/snapshot-plan.ts";

/** How large things are. */
export interface Load {
  readonly databasePages: number;
  /** Pages of one segment, anywhere in the database. */
  readonly pagesPerCommit: number;
  /** What a page of 4 KiB takes as it is stored. */
  readonly storedPageBytes: number;
}

/** A database of 32 MB whose commits write four pages, at 40 % of their size. */
const usualLoad: Load = { databasePages: 8000, pagesPerCommit: 4, storedPageBytes: 1640 };

const objectOverheadBytes = 700;

/** Pages of one range, as compact.ts bounds its bytes: what would have more is cut, from the newest end on. */
const mergedPagesMax = (16 * 1024 * 1024) / 4096;

/** From a commit until the queue has taken it. */
const receiptMs = 300;

/** What a store is asked for. */
export interface Requests {
  /** Pages of 1,000 names. */
  lists: number;
  gets: number;
  puts: number;
  /** Calls; each takes up to 500 names. */
  deletes: number;
  removed: number;
}

export interface SimulationOptions {
  readonly config: Pick<Config, "retention" | "snapshotIntervalMs" | "compaction">;
  readonly beginMs: number;
  /** One transaction and one segment each so often; also how fine the clock is. */
  readonly commitEveryMs: number;
  /** How long after the beginning the host first looks whether a window is over. */
  readonly phaseMs?: number;
  readonly snapshotLookMs: number;
  readonly load?: Load;
}

export interface Simulation {
  /** Lets time go by. */
  runUntil(ms: number): void;
  listing(): ArchiveListing;
  /** Merges that are due now, of any level. */
  due(): number;
  /** What the last prune kept. */
  kept(): readonly KeptPoint[];
  objects(): number;
  bytes(): number;
  readonly requests: Requests;
}

const generation: Generation = parseGeneration("00000000000000a1");

interface World {
  readonly options: SimulationOptions;
  readonly load: Load;
  readonly policy: RetentionPolicy;
  readonly requests: Requests;
  /** Both ascending, as a listing has them. */
  ranges: RangeObject[];
  snapshots: SnapshotObject[];
  listing: ArchiveListing | undefined;
  kept: readonly KeptPoint[];
  /** Since when names are marked. */
  marks: Map<string, number>;
  compacted: Compacted | undefined;
  /** Names of merges that became several ranges, or none. */
  readonly tooLarge: Set<string>;
  /** The window of each level that the newest point was in when the level was last planned. */
  readonly planned: number[];
  newestTxId: number;
  newestMs: number;
  nowMs: number;
}

export function createSimulation(options: SimulationOptions): Simulation {
  const policy = retentionPolicy(options.config);
  if (policy === undefined) throw new Error("the configuration says nothing of what stays");
  const world: World = {
    options,
    load: options.load ?? usualLoad,
    policy,
    requests: { lists: 0, gets: 0, puts: 0, deletes: 0, removed: 0 },
    ranges: [],
    snapshots: [],
    listing: undefined,
    kept: [],
    marks: new Map(),
    compacted: undefined,
    tooLarge: new Set(),
    planned: [],
    newestTxId: 1,
    newestMs: options.beginMs,
    nowMs: options.beginMs,
  };
  addSnapshot(world, 1, options.beginMs);
  return {
    runUntil(ms) {
      while (world.nowMs < ms) step(world);
    },
    listing: () => listingOf(world),
    due: () => policy.levelsMs.reduce((count, _, level) => count + mergesOf(world, level).length, 0),
    kept: () => world.kept,
    objects: () => world.ranges.length + world.snapshots.length,
    bytes: () => [...world.ranges, ...world.snapshots].reduce((sum, { size }) => sum + size, 0),
    requests: world.requests,
  };
}

/** One commit, and what is due after it. */
function step(world: World): void {
  const { commitEveryMs, phaseMs = 0, snapshotLookMs, beginMs, config } = world.options;
  world.nowMs += commitEveryMs;
  world.newestTxId += 1;
  world.newestMs = world.nowMs;
  addRange(world, world.newestTxId - 1, world.newestTxId, world.nowMs);
  world.requests.puts += 1;
  const isTurn = (everyMs: number, sinceMs = beginMs) =>
    (world.nowMs - sinceMs) % Math.max(everyMs, commitEveryMs) === 0;
  const finestMs = world.policy.levelsMs[0];
  if (finestMs !== undefined && isTurn(compactLookMs(finestMs), beginMs + phaseMs)) compact(world, finestMs);
  if (isTurn(snapshotLookMs)) buildSnapshot(world);
  if (isTurn(config.retention.checkIntervalMs)) prune(world);
}

/** As timekeeper.ts and compact.ts: each source is fetched, and the range stored. */
function compact(world: World, finestMs: number): void {
  const { policy, planned, requests, newestMs, nowMs } = world;
  const due = compactDue(world.compacted, { newestMs, nowMs, finestMs });
  if (due === undefined) return;
  world.compacted = due;
  for (const [level, windowMs] of policy.levelsMs.entries()) {
    // Each level opens the archive, and reads its generation.json.
    requests.gets += 1;
    // Planning one whose newest window goes on finds nothing.
    const window = Math.floor(newestMs / windowMs);
    if (planned[level] === window) continue;
    planned[level] = window;
    for (const merge of mergesOf(world, level)) {
      requests.gets += merge.sources.length;
      const ranges = cutOf(world.load, merge);
      if (ranges.length !== 1) world.tooLarge.add(merge.name);
      for (const { from, to, stampMs } of ranges) {
        addRange(world, from, to, stampMs);
        requests.puts += 1;
      }
    }
  }
}

/** The ranges that a merge becomes: one, or several of two sources at least where one would be too large. */
function cutOf(load: Load, { parentTxId, txId: end, stampMs, sources }: Merge) {
  const ranges: { from: number; to: number; stampMs: number }[] = [];
  let part = { from: Number(end), to: Number(end), stampMs, count: 0 };
  const close = () => {
    if (part.count > 1 || part.count === sources.length) ranges.push(part);
  };
  for (const [at, source] of sources.entries().toArray().reverse()) {
    const from = Number(at === 0 ? parentTxId : source.from);
    if (part.count > 0 && pagesOf(load, part.to - from) > mergedPagesMax) {
      close();
      part = { from: part.from, to: part.from, stampMs: source.stampMs ?? stampMs, count: 0 };
    }
    part = { ...part, from, count: part.count + 1 };
  }
  close();
  return ranges;
}

function mergesOf(world: World, level: number) {
  const { policy, nowMs, tooLarge } = world;
  const merges = planMerges(listingOf(world), level, { levelsMs: policy.levelsMs, nowMs });
  return merges.filter(({ name }) => !tooLarge.has(name));
}

/** As snapshot-build.ts: a restore of the point, its receipt, the snapshot, and the lease of the work. */
function buildSnapshot(world: World): void {
  const { options, policy, requests } = world;
  const listing = listingOf(world);
  const { snapshotIntervalMs } = options.config;
  const index = listing.generations.get(generation) as GenerationIndex;
  requests.gets += 1;
  const due = snapshotDue(listing, index, {
    ...{ snapshotIntervalMs, levelsMs: policy.levelsMs, nowMs: world.nowMs },
  });
  if (due === undefined) return;
  addSnapshot(world, Number(due.plan.txId), due.plan.stampMs ?? 0);
  requests.gets += due.plan.steps.length + 1 + 1 + 1;
  requests.puts += 1 + 2;
}

/** As prune.ts: what was marked by an earlier turn and is planned still is removed, what is planned anew is marked. */
function prune(world: World): void {
  const { policy, requests, nowMs, marks } = world;
  const pages = () => Math.ceil((world.ranges.length + world.snapshots.length) / 1000);
  readReceipts(world);
  const plan = planPrune(listingOf(world), policy, nowMs);
  world.kept = plan.kept;
  // The work lease, the archive with its generation.json, the marks.
  requests.gets += 1 + 1 + (marks.size > 0 ? 1 : 0);
  requests.puts += 2;
  requests.lists += pages() + 1;
  const due = plan.doomed.filter(({ name }) => (marks.get(name) ?? nowMs) <= nowMs - graceMsDefault);
  const gone = new Set(due.map(({ name }) => name));
  const left = plan.doomed.filter(({ name }) => !gone.has(name));
  if (left.some(({ name }) => !marks.has(name))) requests.puts += 1;
  world.marks = new Map(left.map(({ name }) => [name, marks.get(name) ?? nowMs]));
  if (gone.size === 0) return;
  // It looks again, deletes, writes down what is left, and lists what is there now.
  requests.lists += pages() + 1;
  requests.gets += 2;
  requests.deletes += Math.ceil(gone.size / 500) + 1;
  requests.removed += gone.size;
  world.ranges = world.ranges.filter(({ name }) => !gone.has(name));
  world.snapshots = world.snapshots.filter(({ name }) => !gone.has(name));
  world.listing = undefined;
  requests.lists += pages();
}

/** Reads what prune wants to know. What the agent sent says when it was received, but for its own snapshot. */
function readReceipts(world: World): void {
  const wanted = new Set(receiptsWanted(listingOf(world), world.policy.levelsMs));
  if (wanted.size === 0) return;
  world.requests.gets += wanted.size;
  world.ranges = world.ranges.map((range) =>
    wanted.has(range) ? { ...range, receivedMs: (range.stampMs ?? 0) + receiptMs } : range,
  );
  world.snapshots = world.snapshots.map((snapshot) =>
    wanted.has(snapshot)
      ? { ...snapshot, receivedMs: snapshot.txId === 1n ? null : snapshot.stampMs + receiptMs }
      : snapshot,
  );
  world.listing = undefined;
}

function addRange(world: World, parent: number, id: number, stampMs: number): void {
  const name = segmentName({ generation, parentTxId: txId(parent), txId: txId(id), stampMs });
  const range = indexed({ name, size: rangeBytes(world.load, id - parent) }).ranges[0] as RangeObject;
  let at = world.ranges.length;
  for (let before = world.ranges[at - 1]; before !== undefined; before = world.ranges[at - 1]) {
    if (before.txId < range.txId || (before.txId === range.txId && before.parentTxId < range.parentTxId))
      break;
    at -= 1;
  }
  world.ranges.splice(at, 0, range);
  world.listing = undefined;
}

function addSnapshot(world: World, id: number, stampMs: number): void {
  const name = snapshotName({ generation, txId: txId(id), stampMs });
  world.snapshots.push(
    indexed({ name, size: world.load.databasePages * world.load.storedPageBytes })
      .snapshots[0] as SnapshotObject,
  );
  world.listing = undefined;
}

function indexed(object: { readonly name: string; readonly size: number }): GenerationIndex {
  return indexArchive([object]).generations.get(generation) as GenerationIndex;
}

/** Pages that so many commits touch, each once. */
function pagesOf({ databasePages, pagesPerCommit }: Load, commits: number): number {
  return databasePages * (1 - (1 - pagesPerCommit / databasePages) ** commits);
}

function rangeBytes(load: Load, commits: number): number {
  return objectOverheadBytes + Math.round(pagesOf(load, commits) * load.storedPageBytes);
}

function listingOf(world: World): ArchiveListing {
  const { ranges, snapshots, options } = world;
  const link = { parent: null, epoch: 1, receivedAtMs: options.beginMs };
  world.listing ??= {
    generations: new Map([
      [generation, { generation, link, linkProblem: null, ranges: [...ranges], snapshots: [...snapshots] }],
    ]),
  };
  return world.listing;
}

/** Objects that a restore fetches: the snapshot, and what leads on from it. */
export function objectsOf(listing: ArchiveListing, target: Parameters<typeof planRestore>[1] = {}): number {
  return planRestore(listing, target).steps.length + 1;
}
