// Carries prune plans out on one replica: marks what may go, waits, looks again, deletes. Safe to run twice, at once, and to die in: whatever is
// deleted was needed by nothing, by what was known just before. See docs/operations.md#retention.

import {
  type Archive,
  type ArchiveReader,
  type Generation,
  indexCompanions,
  listingOf,
  openArchive,
  readPoints,
  readReceipts,
} from "@pageferry/format";
import { dropOldEvidence } from "./evidence.ts";
import { readMarks, writeMarks } from "./marks.ts";
import { planCompanions } from "./prune-companions.ts";
import {
  graceMsDefault,
  type KeptPoint,
  type PlannedRemoval,
  type PrunePlan,
  planPrune,
} from "./prune-plan.ts";
import { receiptsWanted } from "./receipts.ts";
import type { RetentionPolicy } from "./retention.ts";
import type { RootedStore } from "./rooted-store.ts";
import type { CallOptions, Retained } from "./store.ts";
import { readWanted } from "./wanted-points.ts";

/** Names handed to a store at a time; an interrupted prune has removed whole batches of what nothing needed. */
const removedAtOnce = 500;

/** A lock may last for years: an object that has one is asked for again once a day. */
const lockedAgainMs = 24 * 60 * 60 * 1000;

/** What a prune did, or would do. Names are relative to the archive's root. */
export interface PruneReport {
  readonly replica: string;
  readonly dryRun: boolean;
  /** What nothing needs any more, and why: all of it, also what waits. */
  readonly planned: readonly PlannedRemoval[];
  /** Objects that were marked by this prune, and may go when the grace is over. */
  readonly marked: number;
  /** What is gone, and frees its room. */
  readonly removed: readonly string[];
  readonly bytesFreed: number;
  /** What nothing needs any more, and takes its room all the same. */
  readonly retained: readonly Retained[];
  /** When what waits may go at the latest; null: nothing waits. */
  readonly waitsUntilMs: number | null;
  /** What remains restorable for good reasons, newest first. */
  readonly kept: readonly KeptPoint[];
  readonly notes: readonly string[];
}

/** What is remembered of a replica from one prune to the next. */
export interface PruneMemory {
  /** When the queue took an object, by its name. */
  readonly receipts: Map<string, number | null>;
  /** Names that were locked when they were last asked for, and when that was. */
  readonly locked: Map<string, number>;
}

export function createPruneMemory(): PruneMemory {
  return { receipts: new Map(), locked: new Map() };
}

export interface PruneOptions extends CallOptions {
  readonly policy: RetentionPolicy;
  /** Only this generation. */
  readonly generation?: Generation | undefined;
  /** Plans, and changes nothing. */
  readonly dryRun?: boolean;
  /** How long what may go is marked before it goes, ms. Default 15 min. */
  readonly graceMs?: number;
}

interface Pruned {
  readonly store: RootedStore;
  readonly reader: ArchiveReader;
  readonly memory: PruneMemory;
  readonly now: () => number;
}

/** Removes what the policy does not keep and was marked for long enough. An archive whose leases or pins cannot be read is left alone. */
export async function pruneReplica(pruned: Pruned, options: PruneOptions): Promise<PruneReport> {
  const { store, now } = pruned;
  const { signal, dryRun = false, graceMs = graceMsDefault } = options;
  const { plan, expired } = await planNow(pruned, options);
  const marks = await readMarks(store, now(), { signal });
  const report = { replica: store.name, dryRun, planned: plan.doomed, kept: plan.kept, notes: plan.notes };
  const names = plan.doomed.map(({ name }) => name);
  const dueMs = now() - graceMs;
  const isDue = (name: string) => (marks.sinceMs.get(name) ?? Number.POSITIVE_INFINITY) <= dueMs;
  const waiting = names.filter((name) => !isDue(name));
  const marked = waiting.filter((name) => !marks.sinceMs.has(name)).length;
  const waitsUntilMs = waiting.length === 0 ? null : now() + graceMs;
  if (dryRun) return { ...report, marked: 0, removed: [], bytesFreed: 0, retained: [], waitsUntilMs };
  // Those that are not planned any more lose their mark before anything goes; what was deleted loses it afterwards.
  await writeMarks(store, marks, names, now(), { signal });
  if (expired.length > 0) await store.remove(expired, { signal });
  await dropOldEvidence(store, { signal });
  if (waiting.length === names.length && graceMs > 0)
    return { ...report, marked, removed: [], bytesFreed: 0, retained: [], waitsUntilMs };
  // Whoever began to read before the names were marked has a lease by now.
  const again = new Set((await planNow(pruned, options)).plan.doomed.map(({ name }) => name));
  const due = plan.doomed.filter(({ name }) => again.has(name) && (graceMs === 0 || isDue(name)));
  const { removed, retained } = await removeAll(
    pruned,
    due.map(({ name }) => name),
    signal,
  );
  const gone = new Set(removed);
  const left = names.filter((name) => !gone.has(name));
  await writeMarks(store, await readMarks(store, now(), { signal }), left, now(), { signal });
  const bytesFreed = due.reduce((sum, { name, size }) => (gone.has(name) ? sum + size : sum), 0);
  return { ...report, marked, removed, bytesFreed, retained, waitsUntilMs };
}

async function planNow(
  { store, reader, memory, now }: Pruned,
  options: PruneOptions,
): Promise<{ readonly plan: PrunePlan; readonly expired: readonly string[] }> {
  const { signal, policy, generation, graceMs } = options;
  const archive = await openArchive([reader], { signal });
  await readFacts(archive, memory, policy, signal);
  const names = archive.objects.map(({ name }) => name);
  const { expired, ...wanted } = await readWanted(store, names, now(), { signal });
  const whole = {
    ...policy,
    ...wanted,
    ...(generation === undefined ? {} : { generation }),
    ...(graceMs === undefined ? {} : { graceMs }),
  };
  const nowMs = now();
  const listing = listingOf(archive);
  const plan = planPrune(listing, whole, nowMs);
  const index = indexCompanions(archive.objects);
  const files = planCompanions({ index, listing, plan, policy: whole, nowMs });
  // Before the beginnings of generations, which go last.
  return { plan: { ...plan, doomed: [...files, ...plan.doomed] }, expired };
}

/** What names do not tell: points inside packs, and when things were received. Names are never given to other bytes, so it is read once. */
async function readFacts(
  archive: Archive,
  { receipts }: Pick<PruneMemory, "receipts">,
  { levelsMs }: Pick<RetentionPolicy, "levelsMs">,
  signal: AbortSignal | undefined,
): Promise<void> {
  const listed = new Set<string>();
  for (const { name } of archive.objects) {
    const receivedMs = receipts.get(name);
    if (receivedMs === undefined) continue;
    listed.add(name);
    archive.receipts.set(name, receivedMs);
  }
  for (const name of receipts.keys()) if (!listed.has(name)) receipts.delete(name);
  await readPoints(archive, { signal });
  // One that is broken says nothing; the next above it does.
  await readReceipts(archive, receiptsWanted(listingOf(archive), levelsMs), {
    signal,
    onBroken: () => undefined,
  });
  for (const [name, receivedMs] of archive.receipts) receipts.set(name, receivedMs);
}

async function removeAll(
  { store, memory: { locked }, now }: Pruned,
  doomed: readonly string[],
  signal: AbortSignal | undefined,
): Promise<Pick<PruneReport, "removed" | "retained">> {
  const nowMs = now();
  const isWaiting = (name: string) => {
    const sinceMs = nowMs - (locked.get(name) ?? Number.NEGATIVE_INFINITY);
    return sinceMs >= 0 && sinceMs < lockedAgainMs;
  };
  const asked = doomed.filter((name) => !isWaiting(name));
  const retained = new Map<string, Retained>();
  for (const name of doomed) if (isWaiting(name)) retained.set(name, { name, reason: "locked" });
  for (let at = 0; at < asked.length; at += removedAtOnce) {
    for (const one of await store.remove(asked.slice(at, at + removedAtOnce), { signal })) {
      retained.set(one.name, one);
      if (one.reason === "locked") locked.set(one.name, nowMs);
    }
  }
  const removed = asked.filter((name) => !retained.has(name));
  for (const name of removed) locked.delete(name);
  return { removed, retained: [...retained.values()] };
}
