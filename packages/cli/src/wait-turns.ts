// A wait as a client does it: in turns that proxies and servers let live, each for the same transaction, until the time is over. A host that
// is restarted meanwhile costs a turn.

import { setTimeout as sleep } from "node:timers/promises";
import { formatTxId, isPageferryError, type TxId } from "@pageferry/format";
import type { HostClient } from "./host-client.ts";

/** One turn: well below what a client, a proxy or a load balancer takes for silence. */
const turnMs = 20_000;

/** After a turn that failed. */
const pauseMs = 1000;

export interface WaitTurnsOptions {
  /** Default: the newest that was captured when it begins. */
  readonly txid?: bigint | undefined;
  readonly replicas?: number | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** The part of an answer that is shown. */
export interface WaitAnswer {
  readonly database: string;
  readonly txid: string | null;
  readonly waitedMs: number;
  readonly replicas: readonly { readonly name: string; readonly hasIt: boolean }[];
}

/** Waits at `databaseUrl`. Errors: `timeout`, and what the host says. */
export async function waitInTurns(
  client: Pick<HostClient, "getJson">,
  databaseUrl: string,
  { txid, replicas, timeoutMs, signal }: WaitTurnsOptions,
): Promise<WaitAnswer> {
  const begunMs = performance.now();
  const goal = new URLSearchParams();
  // Said once: a later turn must not wait for what was committed since.
  const now = (await client.getJson(databaseUrl, signal)) as Partial<
    Record<"txid" | "generation", string | null>
  >;
  const wanted = txid === undefined ? now.txid : formatTxId(txid as TxId);
  if (wanted) goal.set("txid", wanted);
  if (now.generation) goal.set("generation", now.generation);
  if (replicas !== undefined) goal.set("replicas", String(replicas));
  for (;;) {
    const leftMs = begunMs + timeoutMs - performance.now();
    goal.set("timeout", `${Math.max(0, Math.round(Math.min(leftMs, turnMs)))}ms`);
    try {
      const answer = (await client.getJson(`${databaseUrl}/wait?${goal}`, signal)) as WaitAnswer;
      return { ...answer, waitedMs: Math.round(performance.now() - begunMs) };
    } catch (error) {
      const mayPass = isPageferryError(error, "timeout") || isPageferryError(error, "unavailable");
      if (!mayPass || begunMs + timeoutMs <= performance.now()) throw error;
      if (isPageferryError(error, "unavailable")) await sleep(pauseMs, undefined, { signal });
    }
  }
}
