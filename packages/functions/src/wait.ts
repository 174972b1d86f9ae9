// Waits until so many replicas can restore a transaction or a later one. Nothing is sent for it, and no store is asked unless that is wanted:
// what fan-out stores wakes those who wait.

import {
  counted,
  type DatabaseName,
  formatTxId,
  type Generation,
  PageferryError,
  type TxId,
} from "@pageferry/format";
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
  /** A replica counts only once it was listed, so long before the call at most: what is remembered of it others may have removed. Default: ever. */
  readonly listedWithinMs?: number | undefined;
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
  /** How old its listing is, ms; what was stored since is added to it. Null: none yet. */
  readonly listedAgoMs: number | null;
}

/** A replica that could not be listed is tried again after this, or when something changed. */
const lookAgainMs = 2000;

export interface WaitingOptions {
  readonly sources: Pick<Sources, "get">;
  readonly targets: readonly Pick<Target, "name" | "set" | "ask">[];
  readonly databases: Pick<Databases, "status" | "standing">;
  readonly changes: Pick<Changes, "wait">;
}

export type WaitFor = (database: DatabaseName, request: WaitRequest) => Promise<WaitState>;

/** Errors: `timeout`, with the state so far; `bad-request`; `unavailable` where the signal ends it. */
export function createWaiting(options: WaitingOptions): WaitFor {
  const { sources, targets, databases, changes } = options;
  return async (database, request) => {
    const { txId, generation, replicas: wanted = targets.length, timeoutMs, signal } = request;
    if (wanted > targets.length) {
      throw new PageferryError("bad-request", `replicas is ${wanted}, and ${targets.length} are configured`);
    }
    const begunMs = performance.now();
    const atCall = sources.get(database);
    const goal: Goal = {
      txId: txId ?? atCall?.newestTxId ?? null,
      generation: generation ?? atCall?.generation,
    };
    // Listed here, if at all, and not again unless that is wanted: from then on what is stored is known.
    await databases.status(database);
    for (;;) {
      endIfOver(signal);
      const elapsedMs = performance.now() - begunMs;
      const agoMsMax = elapsedMs + (request.listedWithinMs ?? Number.POSITIVE_INFINITY);
      const { rows, stale } = look({ database, goal, agoMsMax }, options);
      const state: WaitState = {
        database,
        generation: goal.generation ?? sources.get(database)?.generation ?? null,
        txid: goal.txId === null ? null : formatTxId(goal.txId),
        wanted,
        isReached: rows.filter(({ hasIt }) => hasIt).length >= wanted,
        waitedMs: Math.round(elapsedMs),
        replicas: rows,
      };
      if (state.isReached) return state;
      const leftMs = timeoutMs - elapsedMs;
      if (leftMs <= 0) throw notInTime(wordsOf(state, stale), { state });
      if (await listAnew(stale, { database, leftMs, signal })) continue;
      await changes.wait(database, stale.length > 0 ? Math.min(leftMs, lookAgainMs) : leftMs, signal);
    }
  };
}

interface Looked {
  readonly rows: readonly WaitReplica[];
  /** Those that have it, as far as is remembered, and must be listed first. */
  readonly stale: readonly WaitTarget[];
}

interface LookAt {
  readonly database: DatabaseName;
  readonly goal: Goal;
  /** How old a listing may be. */
  readonly agoMsMax: number;
}

/** Which replicas have it. */
function look({ database, goal, agoMsMax }: LookAt, { sources, targets, databases }: WaitingOptions): Looked {
  const current = sources.get(database)?.generation;
  const stale: WaitTarget[] = [];
  const rows = databases.standing(database).replicas.map(({ name, txid, lagMs }): WaitReplica => {
    const target = targets.find((one) => one.name === name);
    const replica = target?.set.opened().get(database);
    const holdings = replica?.holdingsNow();
    if (target === undefined || replica === undefined || holdings === undefined)
      return { name, hasIt: false, txid, lagMs, listedAgoMs: null };
    const agoMs = replica.listedAgoMs();
    const isKnown = canRestore(holdings, goal, current);
    if (isKnown && agoMs > agoMsMax) stale.push(target);
    return { name, hasIt: isKnown && agoMs <= agoMsMax, txid, lagMs, listedAgoMs: Math.round(agoMs) };
  });
  return { rows, stale };
}

type WaitTarget = WaitingOptions["targets"][number];

interface Listing extends CallOptions {
  readonly database: DatabaseName;
  readonly leftMs: number;
}

/** Lists replicas, all at once, and tells whether one of them could be. */
async function listAnew(
  targets: readonly WaitTarget[],
  { database, leftMs, signal }: Listing,
): Promise<boolean> {
  if (targets.length === 0) return false;
  const over = AbortSignal.timeout(Math.max(1, Math.ceil(leftMs)));
  const until = signal === undefined ? over : AbortSignal.any([signal, over]);
  const listed = await Promise.allSettled(
    targets.map(({ ask, set }) =>
      ask(async (call) => (await set.of(database)).refresh({ signal: call }), until),
    ),
  );
  return listed.some(({ status }) => status === "fulfilled");
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

function wordsOf(
  { database, txid, wanted, replicas }: WaitState,
  stale: readonly Pick<WaitTarget, "name">[],
): string {
  const have = replicas.filter(({ hasIt }) => hasIt).length;
  const unlisted = new Set(stale.map(({ name }) => name));
  const lacking = replicas
    .filter(({ hasIt }) => !hasIt)
    .map(({ name, txid: held }) =>
      unlisted.has(name) ? `${name} had it, and cannot be listed now` : `${name} has ${held ?? "nothing"}`,
    );
  const what = txid === null ? `anything of ${database}` : `${txid} of ${database}, or later`;
  return `${have} of ${counted(wanted, "replica")} can restore ${what}: ${lacking.join(", ")}`;
}
