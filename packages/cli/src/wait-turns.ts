// A wait as a client does it: in turns that proxies and servers let live, each for the same transaction, until the time is over. A host that
// is restarted meanwhile costs a turn.

import { setTimeout as sleep } from "node:timers/promises";
import { type DatabaseName, formatTxId, isPageferryError, type TxId } from "@pageferry/format";
import { type AnswerOf, databaseRoute, waitRoute } from "@pageferry/functions/routes";
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

/** Which replicas have it. */
export type WaitAnswer = AnswerOf<typeof waitRoute>;

/** Waits for a database. Errors: `timeout`, and what the host says. */
export async function waitInTurns(
  client: Pick<HostClient, "call">,
  database: DatabaseName,
  { txid, replicas, timeoutMs, signal }: WaitTurnsOptions,
): Promise<WaitAnswer> {
  const begunMs = performance.now();
  const params = { database };
  // Said once: a later turn must not wait for what was committed since.
  const now = await client.call(databaseRoute, { params, signal });
  const wanted = txid === undefined ? now.txid : formatTxId(txid as TxId);
  const goal = {
    ...(wanted === null ? {} : { txid: wanted }),
    ...(now.generation === null ? {} : { generation: now.generation }),
    ...(replicas === undefined ? {} : { replicas }),
  };
  for (;;) {
    const leftMs = begunMs + timeoutMs - performance.now();
    const timeout = `${Math.max(0, Math.round(Math.min(leftMs, turnMs)))}ms`;
    try {
      const answer = await client.call(waitRoute, { params, query: { ...goal, timeout }, signal });
      return { ...answer, waitedMs: Math.round(performance.now() - begunMs) };
    } catch (error) {
      const mayPass = isPageferryError(error, "timeout") || isPageferryError(error, "unavailable");
      if (!mayPass || begunMs + timeoutMs <= performance.now()) throw error;
      if (isPageferryError(error, "unavailable")) await sleep(pauseMs, undefined, { signal });
    }
  }
}
