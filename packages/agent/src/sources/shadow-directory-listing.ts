// What lies in a shadow directory of the Go implementation: `<generation>/segments/<txid>.segment.cbor` and
// `<generation>/snapshots/<time>-<txid>.snapshot.cbor`. What has other names is not looked at. Listed again only where it changed.
import { type BigIntStats, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { formatTxId, type Generation, parseObjectName, type TxId, txId } from "@pageferry/format";

/** A snapshot that is there, whole or not. */
export interface ListedSnapshot {
  readonly generation: Generation;
  readonly txId: TxId;
  /** When it was taken, by its name. */
  readonly createdAtMs: number;
  readonly path: string;
}

/** One generation of the Go implementation: the transactions of one process, one after the other, as far as it went. */
export interface ListedGeneration {
  readonly generation: Generation;
  /** Transactions whose segment files are there, whole or not, ascending. */
  readonly txIds: BigUint64Array;
  readonly snapshots: readonly ListedSnapshot[];
}

/** A shadow directory, as it was when it was last looked at. */
export interface ShadowListing {
  /** By name. Ascending txids say nothing about which generation came first. */
  readonly generations: ReadonlyMap<Generation, ListedGeneration>;
  /** Looks again at what changed. Throws what the file system throws for the directory itself. */
  refresh(): void;
  /** Has these looked at again by the next refresh, whether they changed or not. */
  forget(generations: Iterable<Generation>): void;
}

/**
 * A directory's time stands still for some milliseconds: what was written in the tick of a listing is found by the next one, so
 * for as long a listing is not believed.
 */
const tickMs = 100;
/** A generation that lies still is looked at this often only: a controller forks one per commit when it is at odds with itself. */
const stillLookMs = 10_000;
const stillAfterMs = 60_000;
/** A directory of a million files takes seconds to list: it is listed for a fiftieth of the time at most. */
const listShare = 50;

interface KnownGeneration extends ListedGeneration {
  readonly lookedAtMs: number;
  readonly changedAtMs: number;
  readonly times: string;
  /** How long the listing took. */
  readonly tookMs: number;
}

/** Makes a listing of a directory, empty until it is refreshed. */
export function createShadowListing(directory: string, now: () => number = Date.now): ShadowListing {
  const generations = new Map<Generation, KnownGeneration>();
  return {
    generations,
    refresh() {
      const found = new Set<string>();
      for (const name of readdirSync(directory)) {
        if (!/^[0-9a-f]{16}$/.test(name)) continue;
        found.add(name);
        const generation = name as Generation;
        const known = generations.get(generation);
        const isStill = known !== undefined && now() - known.changedAtMs > stillAfterMs;
        const restMs = isStill ? stillLookMs : (known?.tookMs ?? 0) * listShare;
        if (known !== undefined && Math.abs(now() - known.lookedAtMs) < restMs) continue;
        generations.set(generation, listGeneration(directory, generation, known, now()));
      }
      for (const generation of generations.keys()) {
        if (!found.has(generation)) generations.delete(generation);
      }
    },
    forget(some) {
      for (const generation of some) generations.delete(generation);
    },
  };
}

function listGeneration(
  directory: string,
  generation: Generation,
  known: KnownGeneration | undefined,
  nowMs: number,
): KnownGeneration {
  const segments = join(directory, generation, "segments");
  const snapshots = join(directory, generation, "snapshots");
  const stats = [segments, snapshots].map((path) => statOf(path));
  const times = stats.map((one) => `${one?.ino}:${one?.mtimeNs}`).join(" ");
  const changedAtMs = Math.max(...stats.map((one) => Number(one?.mtimeMs ?? 0n)));
  // Also a clock that was put back must not make an old listing look settled.
  const isSettled = known !== undefined && known.times === times && known.lookedAtMs - changedAtMs > tickMs;
  if (isSettled) return { ...known, lookedAtMs: nowMs };
  const fromMs = performance.now();
  const txIds = BigUint64Array.from(listSegments(generation, namesIn(segments))).sort();
  const listed = listSnapshots(generation, snapshots, namesIn(snapshots));
  const tookMs = performance.now() - fromMs;
  return { generation, txIds, snapshots: listed, lookedAtMs: nowMs, changedAtMs, times, tookMs };
}

function statOf(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/** A directory that is gone, or is none, or may not be read, holds nothing that could be taken. */
function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function listSegments(generation: Generation, names: readonly string[]): bigint[] {
  return names.flatMap((name) => {
    const parsed = parseObjectName(`${generation}/segments/${name}`);
    // Only the names that Go gives: a range of ours would be somebody's archive.
    return parsed?.kind === "segment" && segmentFile(parsed.lastTxId) === name ? [parsed.lastTxId] : [];
  });
}

function listSnapshots(generation: Generation, path: string, names: readonly string[]): ListedSnapshot[] {
  return names.flatMap((name) => {
    const parsed = parseObjectName(`${generation}/snapshots/${name}`);
    if (parsed?.kind !== "snapshot") return [];
    const { txId: id } = parsed;
    const createdAtMs = Date.parse(name.slice(0, name.lastIndexOf("-")));
    return Number.isNaN(createdAtMs) ? [] : [{ generation, txId: id, createdAtMs, path: join(path, name) }];
  });
}

function segmentFile(id: TxId): string {
  return `${formatTxId(id)}.segment.cbor`;
}

/** Where the segment of a transaction is, if it is there. */
export function segmentPath(directory: string, generation: Generation, id: TxId): string {
  return join(directory, generation, "segments", segmentFile(id));
}

/** Whether the segment file of a transaction was there. */
export function hasSegment({ txIds }: ListedGeneration, id: TxId): boolean {
  let low = 0;
  let high = txIds.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((txIds[middle] as bigint) < id) low = middle + 1;
    else high = middle;
  }
  return txIds[low] === id;
}

/** The newest transaction whose segment file was there. */
export function newestSegment({ txIds }: ListedGeneration): TxId | undefined {
  const last = txIds.at(-1);
  return last === undefined ? undefined : txId(last);
}
