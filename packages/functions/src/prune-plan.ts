// Which objects of an archive may go: a pure decision over names and a few facts. retention.ts says which points stay; here it is decided what
// they need, and that nothing else is removed which could still be of use. See docs/operations.md#retention.

import {
  type ArchiveListing,
  counted,
  formatDuration,
  formatTxId,
  type Generation,
  type GenerationIndex,
  generationJsonName,
  PageferryError,
  type RangeObject,
  type Reach,
  reachOf,
  type SnapshotObject,
  type TxId,
} from "@pageferry/format";
import { cheapestRoute } from "./prune-route.ts";
import {
  type KeepReason,
  keepNewest,
  keepPoint,
  keepPoints,
  keepsSnapshot,
  type Line,
  type RetentionPolicy,
  reasonsOf,
  type WantedPoint,
} from "./retention.ts";

/** What was stored a moment ago is let alone: whoever stored it may not be done. */
export const graceMsDefault = 15 * 60_000;

export interface PrunePolicy extends RetentionPolicy {
  /** Points that somebody keeps for good. */
  readonly pinned?: readonly WantedPoint[];
  /** Points that somebody is reading. */
  readonly leased?: readonly WantedPoint[];
  /** Only this generation. */
  readonly generation?: Generation;
  /** What was received within this time stays. Default 15 min. */
  readonly graceMs?: number;
}

/** An object that may go. */
export interface PlannedRemoval {
  readonly name: string;
  /** 0 for a generation.json, whose size a listing does not hold. */
  readonly size: number;
  /** For a person to read. */
  readonly why: string;
}

/** A point that stays, with what makes it stay. */
export interface KeptPoint {
  readonly generation: Generation;
  readonly txId: TxId;
  readonly stampMs: number | null;
  readonly receivedMs: number;
  readonly reasons: readonly KeepReason[];
}

export interface PrunePlan {
  /** In the order to remove them: whole generations last, and their generation.json at the very end. */
  readonly doomed: readonly PlannedRemoval[];
  /** Newest generation first, newest point first. */
  readonly kept: readonly KeptPoint[];
  /** Generations of which nothing is judged: what they need is not known. */
  readonly leftAlone: ReadonlySet<Generation>;
  /** What a person should hear: what is left alone, and why. */
  readonly notes: readonly string[];
}

type StateObject = RangeObject | SnapshotObject;

/** Throws `corrupt` rather than doom anything without which a kept point could not be restored. */
export function planPrune(listing: ArchiveListing, policy: PrunePolicy, nowMs: number): PrunePlan {
  const { pinned = [], leased = [] } = policy;
  const lines = keepPoints(listing, policy, { pinned, leased, nowMs });
  const needs = needsOf(listing, lines, policy, nowMs);
  const doomed: PlannedRemoval[] = [];
  const dropped: PlannedRemoval[] = [];
  const begins: PlannedRemoval[] = [];
  const remains = remainsOf(lines, needs);
  const left = new Map(listing.generations);
  for (const line of lines.values()) {
    const { generation } = line.index;
    const need = needs.get(generation);
    if (need === undefined || (policy.generation !== undefined && policy.generation !== generation)) continue;
    const removals = removalsOf(line, need, policy, nowMs);
    for (const one of removals.doomed) (need.isKept ? doomed : dropped).push(one);
    left.set(generation, removals.left);
    if (!need.isKept && line.index.link !== null && !remains(generation)) {
      begins.push({
        name: generationJsonName(generation),
        size: 0,
        why: `superseded generation ${generation}`,
      });
    }
  }
  const all = doomed.concat(dropped, begins);
  const kept = [...lines.values()].reverse().flatMap(keptOf);
  proveKept({ generations: left }, kept);
  const notes = [...lines.values()].flatMap((line) =>
    notesOf(line, needs.get(line.index.generation), policy),
  );
  const alone = [...lines.values()].filter(({ leftAlone }) => leftAlone !== null);
  const leftAlone = new Set(alone.map(({ index }) => index.generation));
  return { doomed: all, kept, leftAlone, notes: [...notes, ...notesOfWanted(lines, { pinned, leased })] };
}

/** What a generation keeps of its objects. */
interface Need {
  /** Whether any point of it stays. */
  readonly isKept: boolean;
  readonly objects: ReadonlySet<StateObject>;
  /** Objects that nothing leads to yet: what is missing may still come. */
  readonly waiting: readonly StateObject[];
  /** Objects that nothing leads to, waiting or not. */
  readonly unreached: ReadonlySet<StateObject>;
}

/** Children first, since they say which points they begin at; again for a parent that learns of one too late. */
function needsOf(
  listing: ArchiveListing,
  lines: ReadonlyMap<Generation, Line>,
  policy: PrunePolicy,
  nowMs: number,
): Map<Generation, Need> {
  const needs = new Map<Generation, Need>();
  keepBegins(lines);
  const open = [...lines.values()].filter(({ leftAlone }) => leftAlone === null);
  for (let line = open.pop(); line !== undefined; line = open.pop()) {
    const { index } = line;
    const reach = reachOf(listing, index);
    const isKept = keepNewest(line);
    const { need, usesBridge } = needOf(line, reach, isKept, policy, nowMs);
    needs.set(index.generation, need);
    if (!usesBridge || reach.bridge === null) continue;
    const parent = lines.get(reach.bridge.generation);
    const isNew = keepPoint(parent, reach.bridge.txId, "parent");
    if (isNew === true && parent !== undefined && needs.has(reach.bridge.generation)) open.push(parent);
  }
  return needs;
}

/** What is left alone may begin at a point of any other generation: nobody can read which. */
function keepBegins(lines: ReadonlyMap<Generation, Line>): void {
  const begins = new Set<TxId>();
  for (const { index, leftAlone } of lines.values()) {
    if (leftAlone === null) continue;
    let lowest: TxId | undefined;
    for (const { parentTxId } of index.ranges) {
      if (lowest === undefined || parentTxId < lowest) lowest = parentTxId;
    }
    const base = index.snapshots[0]?.txId;
    if (lowest !== undefined && (base === undefined || base > lowest)) begins.add(lowest);
  }
  if (begins.size === 0) return;
  for (const line of lines.values()) {
    if (line.leftAlone !== null) continue;
    // Whichever are fewer: either may be thousands.
    const ids = begins.size < line.points.length ? begins : line.points.map(({ txId }) => txId);
    for (const id of ids) if (begins.has(id)) keepPoint(line, id, "parent");
  }
}

function needOf(
  line: Line,
  reach: Reach,
  isKept: boolean,
  policy: PrunePolicy,
  nowMs: number,
): { readonly need: Need; readonly usesBridge: boolean } {
  const { index, points } = line;
  const receivedOf = (object: StateObject): number =>
    object.receivedMs ?? line.track.at(object.txId, object.stampMs);
  const kept = points.filter((_, at) => line.reasons[at] !== 0).map(({ txId }) => txId);
  const objects = new Set<StateObject>();
  const graceFromMs = nowMs - (policy.graceMs ?? graceMsDefault);
  const withinFromMs = nowMs - policy.keepWithinMs;
  const unreached = unreachedObjects(reach, points);
  const useful = usefulEnds(kept);
  const waiting: StateObject[] = [];
  for (const range of index.ranges) {
    const receivedMs = receivedOf(range);
    const isReached = !unreached.has(range);
    if (!isReached && receivedMs >= withinFromMs) waiting.push(range);
    const isRecent = receivedMs >= withinFromMs && (!isReached || useful(range));
    if (isRecent || receivedMs >= graceFromMs) objects.add(range);
  }
  const ends = new Set(kept);
  for (const snapshot of index.snapshots) {
    const receivedMs = receivedOf(snapshot);
    // Those that are too close to be kept for themselves stay only where a point needs them, the newest because restores begin there.
    const isSpaced = policy.snapshotSpacingMs > 0 && snapshot !== index.snapshots.at(-1);
    const isRecent = !isSpaced && receivedMs >= withinFromMs && ends.has(snapshot.txId);
    if (isRecent || receivedMs >= graceFromMs) objects.add(snapshot);
  }
  for (const snapshot of chosenSnapshots(line)) objects.add(snapshot);
  const route = cheapestRoute({
    ...{ edges: reach.edges, snapshots: index.snapshots, kept },
    bridge: reach.bridge?.txId ?? null,
    isFree: (object) => objects.has(object),
  });
  for (const object of route.objects) objects.add(object);
  const aged = [...objects].flatMap(({ txId, receivedMs }) => (typeof receivedMs === "number" ? [] : [txId]));
  for (const txId of [...kept, ...aged]) {
    for (const witnesses of line.track.witnesses(txId)) {
      const [first] = witnesses;
      if (first !== undefined && !witnesses.some((one) => objects.has(one))) objects.add(first);
    }
  }
  if (reach.bridge === null) keepGuard(line, objects);
  return { need: { isKept, objects, waiting, unreached }, usesBridge: route.usesBridge };
}

/** Snapshots that stay because they are snapshots: of several of one transaction the smallest. */
function chosenSnapshots(line: Line): SnapshotObject[] {
  const smallest = new Map<TxId, SnapshotObject>();
  for (const snapshot of line.index.snapshots) {
    const known = smallest.get(snapshot.txId);
    if (known === undefined || snapshot.size < known.size) smallest.set(snapshot.txId, snapshot);
  }
  return line.points.flatMap(({ txId }, at) => {
    const snapshot = keepsSnapshot(line, at) ? smallest.get(txId) : undefined;
    return snapshot === undefined ? [] : [snapshot];
  });
}

/** Objects that can be applied to no state that can be restored. */
function unreachedObjects(reach: Reach, points: Line["points"]): Set<StateObject> {
  const unreached = new Set<StateObject>();
  const reachedPacks = new Set<StateObject>();
  let at = 0;
  for (const { parentTxId, txId, object } of reach.edges) {
    while (at < points.length && (points[at]?.txId as TxId) < txId) at += 1;
    const below = points[at - 1]?.txId ?? reach.bridge?.txId;
    const isReached = below !== undefined && below >= parentTxId;
    if (!isReached) unreached.add(object);
    else if (object.points !== undefined) reachedPacks.add(object);
  }
  for (const pack of reachedPacks) unreached.delete(pack);
  return unreached;
}

/** Whether a range leads from a kept point, or from none, to a kept point. To be asked ascending. */
function usefulEnds(kept: readonly TxId[]): (range: RangeObject) => boolean {
  let at = 0;
  return ({ parentTxId, txId }) => {
    while (at < kept.length && (kept[at] as TxId) < txId) at += 1;
    if (kept[at] !== txId) return false;
    const below = kept[at - 1];
    return below === undefined || below >= parentTxId;
  };
}

/**
 * A generation begins with a bridge if nothing of it lies below its parent's point. One that does not begin so must not come to look as if it
 * did: then one object below stays.
 */
function keepGuard({ index }: Line, objects: Set<StateObject>): void {
  const parent = index.link?.parent ?? null;
  if (
    parent === null ||
    !index.ranges.some((range) => range.parentTxId === parent.txId && objects.has(range))
  )
    return;
  const below = [
    ...index.ranges.filter((range) => range.parentTxId < parent.txId),
    ...index.snapshots.filter((snapshot) => snapshot.txId <= parent.txId),
  ];
  if (below.length === 0 || below.some((object) => objects.has(object))) return;
  const smallest = below.reduce((least, object) => (object.size < least.size ? object : least));
  objects.add(smallest);
}

/** What nothing needs of a generation. What shows that it does not begin with a bridge goes last. */
function removalsOf(
  line: Line,
  need: Need,
  policy: PrunePolicy,
  nowMs: number,
): { readonly doomed: readonly PlannedRemoval[]; readonly left: GenerationIndex } {
  const { index } = line;
  const parentTxId = index.link?.parent?.txId ?? null;
  const keptIds = new Set(line.points.filter((_, at) => line.reasons[at] !== 0).map(({ txId }) => txId));
  const superseded = `superseded generation ${index.generation}`;
  const older = `older than ${formatDuration(policy.keepWithinMs)}`;
  const whyOf = (object: StateObject): string => {
    if (!need.isKept) return superseded;
    if (need.unreached.has(object)) return "cannot be reached";
    if (keptIds.has(object.txId)) return "covered by others";
    const receivedMs = object.receivedMs ?? line.track.at(object.txId, object.stampMs);
    return receivedMs < nowMs - policy.keepWithinMs ? older : "finer than what is kept";
  };
  const first: PlannedRemoval[] = [];
  const guards: PlannedRemoval[] = [];
  /** Whether it stays. */
  const look = (object: StateObject): boolean => {
    if (need.objects.has(object)) return true;
    const isGuard =
      parentTxId !== null &&
      (object.kind === "snapshot" ? object.txId <= parentTxId : object.parentTxId < parentTxId);
    (isGuard ? guards : first).push({ name: object.name, size: object.size, why: whyOf(object) });
    return false;
  };
  const left = { ...index, ranges: index.ranges.filter(look), snapshots: index.snapshots.filter(look) };
  return { doomed: first.concat(guards), left };
}

/**
 * Whether anything of a generation, or of those it came from, stays in the archive: as long as it does, its generation.json is the way there
 * from newer ones.
 */
function remainsOf(
  lines: ReadonlyMap<Generation, Line>,
  needs: ReadonlyMap<Generation, Need>,
): (generation: Generation) => boolean {
  const known = new Map<Generation, boolean>();
  const own = (generation: Generation): boolean => {
    const need = needs.get(generation);
    return need === undefined ? lines.has(generation) : need.isKept || need.objects.size > 0;
  };
  return (generation) => {
    const way = new Set<Generation>();
    let at: Generation | undefined = generation;
    let isThere = false;
    while (at !== undefined && !isThere) {
      const answer = known.get(at);
      if (answer !== undefined || way.has(at)) {
        isThere = answer ?? false;
        break;
      }
      way.add(at);
      isThere = own(at);
      at = lines.get(at)?.index.link?.parent?.generation;
    }
    for (const one of way) known.set(one, isThere);
    return isThere;
  };
}

function keptOf(line: Line): KeptPoint[] {
  const kept: KeptPoint[] = [];
  for (let at = line.points.length - 1; at >= 0; at -= 1) {
    if (line.reasons[at] === 0) continue;
    const { generation, txId, stampMs } = line.points[at] as Line["points"][number];
    const receivedMs = line.receivedMs[at] as number;
    kept.push({ generation, txId, stampMs, receivedMs, reasons: reasonsOf(line, at) });
  }
  return kept;
}

/** The last look before anything goes: the archive as it would be, with every kept point in it. */
function proveKept(after: ArchiveListing, kept: readonly KeptPoint[]): void {
  const reached = new Map<Generation, Set<TxId>>();
  for (const { generation, txId } of kept) {
    let txIds = reached.get(generation);
    if (txIds === undefined) {
      const index = after.generations.get(generation);
      txIds = new Set(index === undefined ? [] : reachOf(after, index).txIds);
      reached.set(generation, txIds);
    }
    if (!txIds.has(txId)) {
      throw new PageferryError(
        "corrupt",
        `transaction ${formatTxId(txId)} of generation ${generation} stays, and could not be restored after this prune; nothing was removed`,
        { hint: "This is a mistake in pageferry: please report it, with the archive's listing." },
      );
    }
  }
}

function notesOf(line: Line, need: Need | undefined, policy: PrunePolicy): string[] {
  const { generation } = line.index;
  if (line.leftAlone !== null) return [`generation ${generation} is left alone: ${line.leftAlone}`];
  const [first] = need?.waiting ?? [];
  if (need === undefined || first === undefined) return [];
  const stay = need.waiting.length === 1 ? "it stays until it is" : "they stay until they are";
  return [
    `${counted(need.waiting.length, "object")} of generation ${generation} cannot be reached, the first is ${first.name}: ` +
      `${stay} ${formatDuration(policy.keepWithinMs)} old, as what is missing may still come`,
  ];
}

function notesOfWanted(
  lines: ReadonlyMap<Generation, Line>,
  wanted: { readonly pinned: readonly WantedPoint[]; readonly leased: readonly WantedPoint[] },
): string[] {
  return Object.entries(wanted).flatMap(([word, points]: [string, readonly WantedPoint[]]) =>
    points.flatMap(({ generation, txId }) => {
      const isPoint = keepPoint(lines.get(generation), txId, word === "pinned" ? "pinned" : "leased");
      const text = `transaction ${formatTxId(txId)} of generation ${generation} is ${word}, and cannot be restored from here`;
      return isPoint === undefined ? [text] : [];
    }),
  );
}
