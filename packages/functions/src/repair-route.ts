// Within one generation: the fewest objects to add to those a replica has so that it reaches every required transaction. Pure arithmetic
// on txids; repair-plan.ts says what is required. Transactions are visited ascending, and a way is looked for from the last one reached.

import type { Edge, TxId } from "@pageferry/format";

/** An object by its name. */
export interface RouteObject {
  readonly name: string;
  readonly size: number;
  readonly txId: TxId;
}

export interface RouteOptions {
  /** Of everything that may be used, ascending by txid. */
  readonly edges: readonly Edge[];
  /** Ascending by txid. */
  readonly snapshots: readonly RouteObject[];
  readonly own: (name: string) => boolean;
  readonly required: ReadonlySet<TxId>;
  /** Where the generation begins in its parent's history, if it does. */
  readonly bridge: TxId | undefined;
}

/** What leads to one transaction. */
interface Stop {
  readonly txId: TxId;
  readonly edges: readonly Edge[];
  readonly snapshots: readonly RouteObject[];
}

/** A way to a transaction: the objects that must be added for it, the last one first. */
interface Way {
  readonly count: number;
  readonly bytes: number;
  readonly added: RouteObject | undefined;
  readonly before: Way | undefined;
}

interface Reached {
  readonly txId: TxId;
  readonly way: Way;
}

/** Beyond so many steps the last look for what is superfluous is left out: it only ever finds something where packs overlap. */
const trimStepsMax = 20_000_000;

/** The names to add. What is required must be within reach of all objects together. */
export function planRoute(options: RouteOptions): Set<string> {
  const stops = stopsOf(options);
  const added = new Set<string>();
  const has = (name: string): boolean => added.has(name) || options.own(name);
  let newest: TxId | undefined;
  let ahead = createAhead();
  for (const stop of stops) {
    const { txId } = stop;
    if (txId !== options.bridge && !isReached(stop, newest, has)) {
      const way = bestWay(stop, newest, ahead, has);
      if (way === undefined) continue;
      if (!options.required.has(txId)) {
        ahead.push({ txId, way });
        continue;
      }
      for (let step: Way | undefined = way; step !== undefined; step = step.before) {
        if (step.added !== undefined) added.add(step.added.name);
      }
    }
    newest = txId;
    ahead = createAhead();
  }
  if (added.size * stops.length <= trimStepsMax) trim(stops, added, options);
  return added;
}

function stopsOf({ edges, snapshots, bridge }: RouteOptions): Stop[] {
  const stops = new Map<TxId, { txId: TxId; edges: Edge[]; snapshots: RouteObject[] }>();
  const at = (txId: TxId) => {
    const known = stops.get(txId) ?? { txId, edges: [], snapshots: [] };
    stops.set(txId, known);
    return known;
  };
  for (const edge of edges) at(edge.txId).edges.push(edge);
  for (const snapshot of snapshots) at(snapshot.txId).snapshots.push(snapshot);
  if (bridge !== undefined) at(bridge);
  return [...stops.values()].sort((a, b) => (a.txId < b.txId ? -1 : 1));
}

function isReached(stop: Stop, newest: TxId | undefined, has: (name: string) => boolean): boolean {
  return (
    stop.snapshots.some(({ name }) => has(name)) ||
    (newest !== undefined &&
      stop.edges.some((edge) => edge.parentTxId <= (newest as TxId) && has(edge.object.name)))
  );
}

/** Ways to transactions above the last one reached, of which each is the best of all that begin at or above it. */
function createAhead() {
  const ways: Reached[] = [];
  return {
    push(reached: Reached): void {
      // An earlier one that costs as much serves no edge that this one does not serve.
      for (let last = ways.at(-1); last !== undefined && !isBetter(last.way, reached.way); last = ways.at(-1))
        ways.pop();
      ways.push(reached);
    },
    from(parentTxId: TxId): Way | undefined {
      let low = 0;
      let high = ways.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((ways[middle] as Reached).txId < parentTxId) low = middle + 1;
        else high = middle;
      }
      return ways[low]?.way;
    },
  };
}

function bestWay(
  stop: Stop,
  newest: TxId | undefined,
  ahead: ReturnType<typeof createAhead>,
  has: (name: string) => boolean,
): Way | undefined {
  let best: Way | undefined;
  const take = (object: RouteObject, before: Way | undefined): void => {
    const isNew = !has(object.name);
    const way: Way = {
      count: (before?.count ?? 0) + (isNew ? 1 : 0),
      bytes: (before?.bytes ?? 0) + (isNew ? object.size : 0),
      added: isNew ? object : undefined,
      before,
    };
    if (best === undefined || isBetter(way, best)) best = way;
  };
  for (const snapshot of stop.snapshots) take(snapshot, undefined);
  for (const { parentTxId, object } of stop.edges) {
    if (newest !== undefined && parentTxId <= newest) take(object, undefined);
    else {
      const before = ahead.from(parentTxId);
      if (before !== undefined) take(object, before);
    }
  }
  return best;
}

/** Fewer objects; of as many those that lead farther, as a pack does; then fewer bytes. */
function isBetter(way: Way, than: Way): boolean {
  if (way.count !== than.count) return way.count < than.count;
  const [end, other] = [way.added?.txId, than.added?.txId];
  if (end !== undefined && other !== undefined && end !== other) return end > other;
  return way.bytes < than.bytes;
}

/** Drops what others turned out to serve as well: a pack that was added later may hold what was added before it. */
function trim(stops: readonly Stop[], added: Set<string>, options: RouteOptions): void {
  for (const name of [...added]) {
    added.delete(name);
    if (!reachesAll(stops, (one) => added.has(one) || options.own(one), options)) added.add(name);
  }
}

function reachesAll(
  stops: readonly Stop[],
  has: (name: string) => boolean,
  { bridge, required }: RouteOptions,
): boolean {
  let newest: TxId | undefined;
  for (const stop of stops) {
    if (stop.txId === bridge || isReached(stop, newest, has)) newest = stop.txId;
    else if (required.has(stop.txId)) return false;
  }
  return true;
}
