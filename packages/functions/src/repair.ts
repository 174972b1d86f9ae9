// Carries a repair out: lists every replica of a database, plans what each lacks, copies it, and heals what does not hold. Safe to run twice,
// at once, and to die in: objects are written once, and what is there already is found to be. See docs/operations.md#repair.

import {
  type ArchiveReader,
  isPageferryError,
  type ListedObject,
  listingOf,
  openArchive,
  PageferryError,
  readPackIndexes,
  readPoints,
  readReceipts,
  type TxId,
} from "@pageferry/format";
import pMap from "p-map";
import { type BoundedStore, boundedStore } from "./bounded-store.ts";
import type { StateLink } from "./describe.ts";
import { differingGenerations } from "./differing-generations.ts";
import { receiptsWanted } from "./receipts.ts";
import { isRepairedName, planWithCompanions } from "./repair-companions.ts";
import {
  type Accept,
  copyObject,
  healObject,
  isSound,
  NoSourceError,
  type RepairSide,
  smallBytesMax,
  whyOf,
} from "./repair-copy.ts";
import { isStateName, type RepairCopy, type RepairPlan } from "./repair-plan.ts";
import type { Replica } from "./replica.ts";
import type { RetentionPolicy } from "./retention.ts";
import type { CallOptions } from "./store.ts";
import { readWanted } from "./wanted-points.ts";

/** Small objects under way to one replica: enough to hide a store's latency. Larger ones go one at a time beside them. */
const copiesAtOnce = 4;

/** Names in one part of a report: the rest are counted. */
const namesMax = 100;

/** What a repair of one replica did, or would do. */
export interface ReplicaRepair {
  readonly replica: string;
  /** Objects that it lacked and has now; with a dry run, that it lacks. */
  copied: number;
  bytes: number;
  /** Broken objects that were replaced by sound ones. */
  healed: number;
  /** Objects that were read to their end; null without `verify`. */
  checked: number | null;
  /** Objects that were found broken, healed or not. */
  readonly broken: string[];
  /** What could not be done, at most a hundred of them. */
  readonly failed: { readonly object: string; readonly why: string }[];
  failures: number;
  /** Why the replica could not be worked on at all, or not to the end. */
  error: string | null;
}

/** What a repair did. */
export interface RepairReport {
  readonly database: string;
  readonly dryRun: boolean;
  /** Points that the replicas can restore together, within retention. */
  readonly points: number;
  /** Whether every replica that was asked for can restore all of these now, and each was listed: what one alone has is not known before. */
  readonly isWhole: boolean;
  /** Replicas, asked for or not, that could not be opened or listed: the others may lack what these have. */
  readonly unlisted: readonly string[];
  readonly replicas: readonly ReplicaRepair[];
}

export interface RepairOptions extends CallOptions {
  readonly database: string;
  /** All replicas of the database, healthiest first: copies come from there. */
  readonly replicas: readonly Replica[];
  /** Whether a replica is to be repaired; the others only give. Default: all are. */
  readonly isTarget?: (replica: Replica) => boolean;
  /** Reads every object to find broken ones. Default false: only listings are compared. */
  readonly verify?: boolean;
  /** Plans, and for `verify` reads, but changes nothing. Default false. */
  readonly dryRun?: boolean;
  /** What retention keeps: older points are not brought back. Absent: everything is kept. */
  readonly retention?: RetentionPolicy | undefined;
  readonly now?: () => number;
  /** Silence after which a replica is given up, ms. Default two minutes. */
  readonly stallMs?: number;
}

interface Side extends RepairSide, BoundedStore {
  readonly replica: Replica;
  readonly row: ReplicaRepair;
  readonly isTarget: boolean;
  /** Undefined: it could not be listed. */
  objects: readonly ListedObject[] | undefined;
  readonly sizes: Map<string, number>;
  readonly broken: Set<string>;
  /** Broken ones that cannot be healed now. */
  readonly hopeless: Set<string>;
}

/** Repairs the replicas of one database. What fails is in the report; throws only the signal's reason, and `unavailable` where none can be listed. */
export async function repairDatabase(options: RepairOptions): Promise<RepairReport> {
  const { replicas, database, verify = false, dryRun = false, signal } = options;
  const sides = replicas.map((replica) => sideOf(replica, options));
  await Promise.all(sides.map((side) => list(side, signal)));
  const listed = sides.filter((side) => side.objects !== undefined);
  if (listed.length === 0 && sides.length > 0) {
    throw new PageferryError(
      "unavailable",
      `no replica of ${database} can be listed: ${sides[0]?.row.error}`,
    );
  }
  if (verify) await Promise.all(listed.filter((side) => side.isTarget).map((side) => check(side, signal)));
  if (!dryRun) await heal(listed, signal);
  const plan = await planOf(listed, options);
  const copies = plan.copies.filter(({ to }) => listed[to]?.isTarget === true);
  if (dryRun) for (const copy of copies) count(listed[copy.to], copy);
  else {
    await Promise.all(
      listed.map((side, at) =>
        copyAll(
          side,
          listed,
          copies.filter(({ to }) => to === at),
          signal,
        ),
      ),
    );
    // Sources that turned out to be broken while they were copied from.
    await heal(listed, signal);
    await Promise.all(listed.map((side) => refresh(side, signal)));
  }
  signal?.throwIfAborted();
  const unlisted = sides.filter((side) => side.objects === undefined).map(({ row }) => row.replica);
  const isDone = sides.every(
    ({ isTarget, row }) =>
      !isTarget ||
      (row.error === null && row.failures === 0 && (!dryRun || row.copied + row.broken.length === 0)),
  );
  const isWhole = isDone && unlisted.length === 0;
  return { database, dryRun, points: plan.points, isWhole, unlisted, replicas: sides.map(({ row }) => row) };
}

function sideOf(replica: Replica, options: RepairOptions): Side {
  const broken = new Set<string>();
  const row: ReplicaRepair = {
    replica: replica.name,
    copied: 0,
    bytes: 0,
    healed: 0,
    checked: options.verify === true ? 0 : null,
    broken: [],
    failed: [],
    failures: 0,
    error: null,
  };
  const sizes = new Map<string, number>();
  return {
    replica,
    row,
    broken,
    sizes,
    sizeOf: (name) => sizes.get(name),
    hopeless: new Set(),
    ...boundedStore(replica.objects, { signal: options.signal, stallMs: options.stallMs }),
    isTarget: options.isTarget?.(replica) ?? true,
    objects: undefined,
    onBroken(name) {
      if (broken.has(name)) return;
      broken.add(name);
      if (row.broken.length < namesMax) row.broken.push(name);
    },
  };
}

async function list(side: Side, signal: AbortSignal | undefined): Promise<void> {
  try {
    const objects: ListedObject[] = [];
    for await (const object of side.store.list("", { signal })) objects.push(object);
    side.objects = objects;
    for (const { name, size } of objects) side.sizes.set(name, size);
  } catch (error) {
    signal?.throwIfAborted();
    side.row.error = whyOf(error);
  }
}

/** Reads every object of a replica to its end. */
async function check(side: Side, signal: AbortSignal | undefined): Promise<void> {
  const names = (side.objects ?? []).map(({ name }) => name).filter(isRepairedName);
  await pMap(
    names,
    async (name) => {
      if (side.row.error !== null) return;
      try {
        if (!(await isSound(name, side.store, { signal }))) side.onBroken(name);
        side.row.checked = (side.row.checked ?? 0) + 1;
      } catch (error) {
        note(side, name, error, signal);
      }
    },
    { concurrency: copiesAtOnce },
  );
}

/** Notes what failed. One that does not answer is not asked again for every object. */
function note(side: Side, object: string, error: unknown, signal: AbortSignal | undefined): void {
  signal?.throwIfAborted();
  // It was removed meanwhile, as by a prune.
  if (isPageferryError(error, "not-found")) return;
  side.row.failures += 1;
  if (side.row.failed.length < namesMax) side.row.failed.push({ object, why: whyOf(error) });
  const isReplicas =
    isPageferryError(error) &&
    (error.remedy === "retry" || error.code === "unauthorized" || error.code === "disk-full");
  if (isReplicas) side.row.error ??= whyOf(error);
}

/** Heals what is known to be broken, each object once. */
async function heal(sides: readonly Side[], signal: AbortSignal | undefined): Promise<void> {
  for (const side of sides) {
    for (const name of side.broken) {
      if (!side.isTarget || side.row.error !== null) break;
      if (side.hopeless.has(name)) continue;
      const others = sides.filter((other) => other !== side && has(other, name));
      try {
        const outcome = await healObject(name, others, side.store, { signal });
        if (outcome.kind === "not") throw new PageferryError("corrupt", outcome.why);
        if (outcome.kind === "healed") side.row.healed += 1;
        side.broken.delete(name);
      } catch (error) {
        side.hopeless.add(name);
        note(side, name, error instanceof NoSourceError ? error.cause : error, signal);
      }
    }
  }
}

function has(side: Side, name: string): boolean {
  return !side.broken.has(name) && side.sizes.has(name);
}

/**
 * Plans from what is listed and not broken; of packs only those are looked into whose generation differs between replicas. What is found
 * broken in that is healed, or left out.
 */
async function planOf(sides: readonly Side[], options: RepairOptions): Promise<RepairPlan> {
  const { signal, retention, now = Date.now } = options;
  const holdings = sides.map(statesIn);
  const named = new Map(sides.map((side, at) => [`${side.replica.name} (${at + 1})`, side]));
  const readers = [...named].map(
    ([name, { store }], at): ArchiveReader => ({
      name,
      get: (object, range) => store.get(object, range),
      async *list() {
        yield* holdings[at] ?? [];
      },
    }),
  );
  const archive = await openArchive(readers, { signal });
  const onBroken = (name: string, reader: string): void => named.get(reader)?.onBroken(name);
  if (retention === undefined) {
    const differing = differingGenerations(holdings, archive.links);
    await readPackIndexes(archive, { signal, onBroken, of: ({ generation }) => differing.has(generation) });
    if (options.dryRun !== true) await heal(sides, signal);
    return planWithCompanions(sides.map(heldBy), { facts: archive, nowMs: now() });
  }
  await readPoints(archive, { signal, onBroken });
  await readReceipts(archive, receiptsWanted(listingOf(archive), retention.levelsMs), { signal, onBroken });
  if (options.dryRun !== true) await heal(sides, signal);
  const wanted = await Promise.all(sides.map((side) => wantedOf(side, now(), signal)));
  const pinned = wanted.flatMap((one) => one.pinned);
  const leased = wanted.flatMap((one) => one.leased);
  // What is missing is not young: it is brought however short a time ago it was received.
  const policy = { ...retention, pinned, leased, graceMs: 0 };
  return planWithCompanions(sides.map(heldBy), { facts: archive, policy, nowMs: now() });
}

function statesIn(side: Side): ListedObject[] {
  return heldBy(side).filter(({ name }) => isStateName(name));
}

/** What a replica has, and what is made of it: points, and companion files. */
function heldBy({ objects = [], broken }: Side): ListedObject[] {
  return objects.filter(({ name }) => isRepairedName(name) && !broken.has(name));
}

/** Points that leases and pins of a replica hold; those of all count for all. */
function wantedOf(side: Side, nowMs: number, signal: AbortSignal | undefined) {
  const names = (side.objects ?? []).map(({ name }) => name);
  return readWanted(side.store, names, nowMs, { signal });
}

async function copyAll(
  target: Side,
  sides: readonly Side[],
  copies: readonly RepairCopy[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const accept = acceptingFor(target, signal);
  const one = async (copy: RepairCopy): Promise<void> => {
    if (target.row.error !== null) return;
    const sources = copy.from.map((at) => sides[at]).filter((source) => source !== undefined);
    try {
      await copyObject(copy.name, sources, target.store, { signal }, accept);
      count(target, copy);
    } catch (error) {
      // A source's failure is told where it shows: in what the target could not be given.
      if (error instanceof NoSourceError) noteMissing(target, copy.name, error, signal);
      else note(target, copy.name, error, signal);
    }
  };
  const isBegin = ({ name }: RepairCopy): boolean => name.endsWith("/generation.json");
  await pMap(copies.filter(isBegin), one, { concurrency: copiesAtOnce });
  const objects = copies.filter((copy) => !isBegin(copy));
  await Promise.all([
    pMap(
      objects.filter(({ size }) => size <= smallBytesMax),
      one,
      { concurrency: copiesAtOnce },
    ),
    pMap(
      objects.filter(({ size }) => size > smallBytesMax),
      one,
      { concurrency: 1 },
    ),
  ]);
}

/** Judges what is copied to a target, one after the other: it and what it holds, and all that is copied, must be one history. */
function acceptingFor({ replica, bounded }: Side, signal: AbortSignal | undefined): Accept {
  const besides = new Map<TxId, StateLink[]>();
  const refused = new Set<TxId>();
  let isFresh = false;
  let last: Promise<void> = Promise.resolve();
  const judged: Accept = async ({ generation }, links) => {
    const [first] = links;
    const judge = () => bounded(() => replica.judge(generation, links, besides, { signal }));
    let verdict = await judge();
    if (verdict.kind === "fork" && !isFresh) {
      // What it remembers may be gone: somebody may have decided which history to keep.
      isFresh = true;
      await bounded(() => replica.refresh({ signal }));
      verdict = await judge();
    }
    const parent = first?.parentTxId ?? null;
    if (verdict.kind === "new" && parent !== null && refused.has(parent))
      verdict = { kind: "fork", why: "it follows another history" };
    if (verdict.kind === "fork") {
      for (const { txId } of links) refused.add(txId);
      throw new PageferryError("fork", `${replica.name}: ${verdict.why}`);
    }
    for (const link of links) besides.set(link.txId, [...(besides.get(link.txId) ?? []), link]);
  };
  return (name, links) => {
    const mine = last.then(() => judged(name, links));
    last = mine.catch(() => undefined);
    return mine;
  };
}

function noteMissing(
  target: Side,
  object: string,
  error: NoSourceError,
  signal: AbortSignal | undefined,
): void {
  signal?.throwIfAborted();
  // It was removed everywhere meanwhile, as by a prune.
  if (isPageferryError(error.cause, "not-found")) return;
  target.row.failures += 1;
  if (target.row.failed.length < namesMax) target.row.failed.push({ object, why: whyOf(error) });
}

function count(side: Side | undefined, { size }: RepairCopy): void {
  if (side === undefined) return;
  side.row.copied += 1;
  side.row.bytes += size;
}

/** What was copied is known to those who judge what comes next. */
async function refresh({ replica, row, bounded }: Side, signal: AbortSignal | undefined): Promise<void> {
  if (row.copied + row.healed === 0) return;
  try {
    await bounded(() => replica.refresh({ signal }));
  } catch (error) {
    signal?.throwIfAborted();
    row.error ??= whyOf(error);
  }
}
