// Waits until so many replicas can restore a transaction or a later one. Nothing is asked of a store and nothing is sent for it: what fan-out
// stores wakes those who wait.

import { type DatabaseName, formatTxId, type Generation, PageferryError, type TxId } from "@pageferry/format";
import type { Changes } from "./changes.ts";
import type { Databases } from "./databases.ts";
import { type Holdings, newestRestorable } from "./holdings.ts";
import { notInTime } from "./problem.ts";
import type { Sources } from "./sources.ts";
import type { CallOptions } from "./store.ts";
import type { Target } from "./targets.ts";

/** Who wants to wait for longer asks again: an open line costs something at every proxy on the way. */
export const waitMsMax = 5 * 60_000;

export interface WaitRequest extends CallOptions {
  /** Default: the newest that was captured when it was asked. */
  readonly txId?: TxId | undefined;
  /** The history it belongs to; default: the current one. */
  readonly generation?: Generation | undefined;
  /** How many replicas must have it; default: all. */
  readonly replicas?: number | undefined;
  readonly timeoutMs: number;
}

/** How far it has come. */
export interface WaitState {
  readonly database: string;
  readonly generation: string | null;
  /** What is waited for; null: anything, for nothing was captured yet. */
  readonly txid: string | null;
  /** How many replicas must have it. */
  readonly wanted: number;
  readonly isReached: boolean;
  readonly waitedMs: number;
  readonly replicas: readonly WaitReplica[];
}

interface WaitReplica {
  readonly name: string;
  /** Whether it can restore what is waited for, or a later transaction of the same history. */
  readonly hasIt: boolean;
  readonly txid: string | null;
  readonly lagMs: number | null;
}

export interface WaitingOptions {
  readonly sources: Pick<Sources, "get">;
  readonly targets: readonly Pick<Target, "name" | "set">[];
  readonly databases: Pick<Databases, "status" | "standing">;
  readonly changes: Pick<Changes, "wait">;
}

export type WaitFor = (database: DatabaseName, request: WaitRequest) => Promise<WaitState>;

/** Errors: `timeout`, with the state so far; `bad-request`; `unavailable` where the signal ends it. */
export function createWaiting({ sources, targets, databases, changes }: WaitingOptions): WaitFor {
  return async (database, { txId, generation, replicas: wanted = targets.length, timeoutMs, signal }) => {
    if (wanted > targets.length) {
      throw new PageferryError("bad-request", `replicas is ${wanted}, and ${targets.length} are configured`);
    }
    const begunMs = performance.now();
    const atCall = sources.get(database);
    const goal: Goal = {
      txId: txId ?? atCall?.newestTxId ?? null,
      generation: generation ?? atCall?.generation,
    };
    // Listed here, if at all, and not again: from then on what is stored is known.
    await databases.status(database);
    for (;;) {
      endIfOver(signal);
      const current = sources.get(database)?.generation;
      const rows = databases.standing(database).replicas.map(({ name, txid, lagMs }): WaitReplica => {
        const target = targets.find((one) => one.name === name);
        const holdings = target?.set.opened().get(database)?.holdingsNow();
        return { name, hasIt: holdings !== undefined && canRestore(holdings, goal, current), txid, lagMs };
      });
      const state: WaitState = {
        database,
        generation: goal.generation ?? current ?? null,
        txid: goal.txId === null ? null : formatTxId(goal.txId),
        wanted,
        isReached: rows.filter(({ hasIt }) => hasIt).length >= wanted,
        waitedMs: Math.round(performance.now() - begunMs),
        replicas: rows,
      };
      if (state.isReached) return state;
      const leftMs = begunMs + timeoutMs - performance.now();
      if (leftMs <= 0) throw notInTime(wordsOf(state), { state });
      await changes.wait(database, leftMs, signal);
    }
  };
}

/** What is waited for. */
export interface Goal {
  readonly txId: TxId | null;
  readonly generation: Generation | undefined;
}

/**
 * Whether a replica can restore the goal or something later of the same history: in the goal's generation, or in one that went on from it.
 * `current` is the generation that is sent now, which is waited for where the goal names none.
 */
export function canRestore(holdings: Holdings, goal: Goal, current: Generation | undefined): boolean {
  const from = goal.generation ?? current;
  if (from === undefined) return false;
  const least = goal.txId ?? 0n;
  for (const generation of holdings.generations.keys()) {
    const newest = newestRestorable(holdings, generation);
    if (newest !== null && newest >= least && goesOnFrom(holdings, generation, { from, least })) return true;
  }
  return false;
}

/** Whether a generation's transactions above `least` come after that one of `from`: it is the same, or left it later. */
function goesOnFrom(
  holdings: Holdings,
  generation: Generation,
  { from, least }: { readonly from: Generation; readonly least: bigint },
): boolean {
  const seen = new Set<Generation>();
  for (let at = generation; !seen.has(at); ) {
    if (at === from) return true;
    seen.add(at);
    const begin = holdings.generations.get(at)?.begin ?? null;
    const parent = begin?.parent ?? null;
    if (begin === null || parent === null) return false;
    // One that could not prove where it goes on is of the same file all the same; what was restored or replaced is not.
    if (parent.txId < least && begin.reason !== "unprovable") return false;
    at = parent.generation;
  }
  return false;
}

function endIfOver(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new PageferryError("unavailable", "the wait was ended before its time", {
    hint: "Ask again: nothing of what was waited for is lost.",
  });
}

function wordsOf({ database, txid, wanted, replicas }: WaitState): string {
  const have = replicas.filter(({ hasIt }) => hasIt).length;
  const lacking = replicas
    .filter(({ hasIt }) => !hasIt)
    .map((replica) => `${replica.name} has ${replica.txid ?? "nothing"}`);
  const what = txid === null ? `anything of ${database}` : `${txid} of ${database}, or later`;
  return `${have} of ${wanted} replicas can restore ${what}: ${lacking.join(", ")}`;
}
