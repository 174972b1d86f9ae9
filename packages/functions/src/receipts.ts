// When the queue took each transaction of a generation: what age is reckoned by, since a name holds the clock of a host that may be wrong.
// Pure. Few objects are read for it; between them the later bound counts, so that nothing goes too early. See docs/operations.md#retention.

import {
  type ArchiveListing,
  type Edge,
  type GenerationIndex,
  type RangeObject,
  reachOf,
  type SnapshotObject,
  type TxId,
} from "@pageferry/format";
import { compactionLevelsDefault, endsWindow, type Stamped } from "./windows.ts";

export interface ReceiptTrack {
  /**
   * When the queue took a transaction, at the latest: what an object that ends there says, else what the next one above it says. Above all
   * that say it: now. Where none ever said it (the Go implementation's archives) its stamp counts.
   */
  at(txId: TxId, stampMs: number | null): number;
  /** Groups of objects that say what `at` goes by, each of a group by itself; without any of one the transaction would seem younger than it is. */
  witnesses(txId: TxId): readonly (readonly (RangeObject | SnapshotObject)[])[];
}

interface Sample {
  readonly txId: TxId;
  readonly receivedMs: number;
  readonly objects: (RangeObject | SnapshotObject)[];
}

/** Reads a generation's receipts from what is known of it. */
export function receiptTrack(index: GenerationIndex, nowMs: number): ReceiptTrack {
  const beganMs = Math.min(index.link?.receivedAtMs ?? Number.NEGATIVE_INFINITY, nowMs);
  const samples = samplesOf(index, beganMs, nowMs);
  const last = samples.at(-1);
  const silent = silentAbove(index, last?.txId ?? null);
  let cursor = 0;
  /** The first sample at or above a transaction; quick where it is asked ascending. */
  const find = (txId: TxId): Sample | undefined => {
    if (cursor > 0 && (samples[cursor - 1] as Sample).txId >= txId) cursor = lowest(samples, txId);
    while (cursor < samples.length && (samples[cursor] as Sample).txId < txId) cursor += 1;
    return samples[cursor];
  };
  return {
    at(txId, stampMs) {
      const sample = find(txId);
      if (sample !== undefined) return sample.receivedMs;
      const isToldByStamp = last === undefined || silent.has(txId);
      return isToldByStamp ? Math.min(Math.max(stampMs ?? nowMs, last?.receivedMs ?? beganMs), nowMs) : nowMs;
    },
    witnesses(txId) {
      const sample = find(txId);
      if (sample !== undefined) return [sample.objects];
      return last === undefined ? [] : [last.objects, silent.get(txId) ?? []];
    },
  };
}

/**
 * Ascending, one for each transaction: of several objects that end there, those that came first. A receipt that lies ahead tells something
 * only where no other one comes after it: what it leads to may be as young as now.
 */
function samplesOf(index: GenerationIndex, beganMs: number, nowMs: number): Sample[] {
  const all: Sample[] = [];
  const ahead: Sample[] = [];
  const add = (
    object: RangeObject | SnapshotObject,
    txId: TxId,
    receivedMs: number | null | undefined,
  ): void => {
    if (receivedMs === undefined || receivedMs === null) return;
    if (receivedMs > nowMs) ahead.push({ txId, receivedMs: nowMs, objects: [object] });
    else all.push({ txId, receivedMs: Math.max(receivedMs, beganMs), objects: [object] });
  };
  for (const object of index.ranges) {
    add(object, object.txId, object.receivedMs);
    for (const point of object.points ?? []) add(object, point.txId, point.receivedMs);
  }
  for (const object of index.snapshots) add(object, object.txId, object.receivedMs);
  const samples = ascending(all);
  const last = samples.at(-1);
  return samples.concat(ascending(ahead.filter(({ txId }) => last === undefined || txId > last.txId)));
}

function ascending(all: Sample[]): Sample[] {
  all.sort((a, b) => (a.txId < b.txId ? -1 : a.txId > b.txId ? 1 : a.receivedMs - b.receivedMs));
  const samples: Sample[] = [];
  for (const sample of all) {
    const known = samples.at(-1);
    if (known?.txId !== sample.txId) samples.push(sample);
    else if (known.receivedMs === sample.receivedMs) known.objects.push(...sample.objects);
  }
  return samples;
}

/** Transactions above the last receipt with objects that were read and say none, as the snapshots that agents send. */
function silentAbove(index: GenerationIndex, txId: TxId | null): Map<TxId, (RangeObject | SnapshotObject)[]> {
  const silent = new Map<TxId, (RangeObject | SnapshotObject)[]>();
  const add = (id: TxId, object: RangeObject | SnapshotObject): void => {
    if (txId !== null && id <= txId) return;
    const known = silent.get(id);
    if (known === undefined) silent.set(id, [object]);
    else known.push(object);
  };
  for (const range of index.ranges) {
    if (range.receivedMs === null) add(range.txId, range);
    for (const point of range.points ?? []) add(point.txId, range);
  }
  for (const snapshot of index.snapshots) if (snapshot.receivedMs === null) add(snapshot.txId, snapshot);
  return silent;
}

function lowest(samples: readonly Sample[], txId: TxId): number {
  let low = 0;
  let high = samples.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((samples[middle] as Sample).txId < txId) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The objects whose receipts must be read before a plan is right: snapshots, and what ends a window of compaction's second level. Not every
 * fine segment: the next of these tells of it within minutes.
 */
export function receiptsWanted(
  listing: ArchiveListing,
  levelsMs: readonly number[],
): (RangeObject | SnapshotObject)[] {
  const cuts = levelsMs.length === 0 ? compactionLevelsDefault : levelsMs;
  const level = Math.min(1, cuts.length - 1);
  const wanted: (RangeObject | SnapshotObject)[] = [];
  for (const index of listing.generations.values()) {
    for (const snapshot of index.snapshots) if (snapshot.receivedMs === undefined) wanted.push(snapshot);
    let before: (Stamped & { readonly unread: RangeObject | undefined }) | undefined;
    for (const end of endsOf(reachOf(listing, index).edges)) {
      if (before?.unread !== undefined && endsWindow(before, end, level, cuts)) wanted.push(before.unread);
      before = end;
    }
    if (before?.unread !== undefined) wanted.push(before.unread);
  }
  return wanted;
}

/**
 * Each end of ranges once, with an object to ask: the one that spans most, as it stays longest, else another where none that ends there has been
 * asked.
 */
function* endsOf(edges: readonly Edge[]) {
  for (let at = 0; at < edges.length; ) {
    const { txId } = edges[at] as Edge;
    let stampMs: number | null = null;
    let unread: RangeObject | undefined;
    let isKnown = false;
    for (let edge = edges[at]; edge?.txId === txId; edge = edges[++at]) {
      stampMs ??= edge.stampMs;
      const { object } = edge;
      if (object.kind === "pack" || object.receivedMs !== undefined) isKnown = true;
      else if (unread === undefined && !isKnown) unread = object;
    }
    yield { txId, stampMs, unread };
  }
}
