// The histories of one database: each generation that its replicas hold, where it began, and how far it can be restored. Of what is remembered: no
// listing, no read.

import { formatTxId, type Generation } from "@pageferry/format";
import { type Holdings, newestRestorable } from "./holdings.ts";
import { formatTime } from "./replica-state.ts";

/** Generations that are named: a machine that is replaced every day has a month of them. */
const historiesMax = 32;

/** A generation as the status tells of it. Null is what its first envelope did not say, or what cannot be restored. */
export interface HistoryStatus {
  readonly generation: string;
  /** The point that it goes on from. */
  readonly parent: { readonly generation: string; readonly txid: string } | null;
  readonly reason: string | null;
  readonly epoch: number;
  /** The machine that wrote it. */
  readonly host: string | null;
  /** When the first of it was received. */
  readonly begun: string | null;
  /** The newest transaction of it that some replica can restore. */
  readonly txid: string | null;
}

/** The newest generations, newest first: by epoch, and where that is equal by when they began. */
export function historiesOf(replicas: readonly Holdings[]): {
  readonly generations: readonly HistoryStatus[];
  readonly generationCount: number;
} {
  const names = new Set(replicas.flatMap(({ generations }) => [...generations.keys()]));
  const histories = [...names].map((generation) => historyOf(generation, replicas)).sort(newestFirst);
  return { generations: histories.slice(0, historiesMax), generationCount: histories.length };
}

function historyOf(generation: Generation, replicas: readonly Holdings[]): HistoryStatus {
  const begins = replicas.map(({ generations }) => generations.get(generation)?.begin ?? null);
  const begin = begins.find((one) => one !== null);
  const parent = begin?.parent ?? null;
  const stored = replicas
    .map((holdings) => newestRestorable(holdings, generation))
    .filter((txId) => txId !== null)
    .sort((a, b) => (a < b ? 1 : -1));
  return {
    generation,
    parent: parent && { generation: parent.generation, txid: formatTxId(parent.txId) },
    reason: begin?.reason ?? null,
    epoch: begin?.epoch ?? 0,
    host: begin?.host ?? null,
    begun: begin === undefined ? null : formatTime(begin.receivedAtMs),
    txid: stored[0] === undefined ? null : formatTxId(stored[0]),
  };
}

function newestFirst(a: HistoryStatus, b: HistoryStatus): number {
  return b.epoch - a.epoch || (b.begun ?? "").localeCompare(a.begun ?? "");
}
