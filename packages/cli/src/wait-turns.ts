// A wait as a client does it: in turns that proxies and servers let live, each for the same transaction, until the time is over. A host that
// is restarted meanwhile costs a turn.

import { setTimeout as sleep } from "node:timers/promises";
import {
  type DatabaseName,
  formatTxId,
  type Generation,
  isPageferryError,
  type TxId,
} from "@pageferry/format";
import { type AnswerOf, databaseRoute, waitRoute } from "@pageferry/functions/routes";
import type { HostClient } from "./host-client.ts";

/** One turn: well below what a client, a proxy or a load balancer takes for silence. */
const turnMs = 20_000;

/** After a turn that failed. */
const pauseMs = 1000;

export interface WaitTurnsOptions {
  /** Default: the newest that was captured when it begins. */
  readonly txid?: bigint | undefined;
  /** The history it belongs to; default: the one that is sent when it begins. */
  readonly generation?: Generation | undefined;
  readonly replicas?: number | undefined;
  /** Each replica is to be listed since it began: what the host remembers is not enough. */
  readonly isFresh?: boolean | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Which replicas have it. */
export type WaitAnswer = AnswerOf<typeof waitRoute>;

/** Waits for a database. Errors: `timeout`, and what the host says. */
export async function waitInTurns(
  client: Pick<HostClient, "call">,
  database: DatabaseName,
  { txid, generation, replicas, isFresh = false, timeoutMs, signal }: WaitTurnsOptions,
): Promise<WaitAnswer> {
  const begunMs = performance.now();
  /** What was listed in an earlier turn counts in a later one. */
  const listedWithin = () =>
    isFresh ? { listedWithin: `${Math.floor(performance.now() - begunMs)}ms` } : {};
  const params = { database };
  // Said once: a later turn must not wait for what was committed since.
  const now = await client.call(databaseRoute, { params, signal });
  const wanted = txid === undefined ? now.txid : formatTxId(txid as TxId);
  const history = generation ?? now.generation ?? undefined;
  const goal = {
    ...(wanted === null ? {} : { txid: wanted }),
    ...(history === undefined ? {} : { generation: history }),
    ...(replicas === undefined ? {} : { replicas }),
  };
  for (;;) {
    const leftMs = begunMs + timeoutMs - performance.now();
    const timeout = `${Math.max(0, Math.round(Math.min(leftMs, turnMs)))}ms`;
    try {
      const query = { ...goal, ...listedWithin(), timeout };
      const answer = await client.call(waitRoute, { params, query, signal });
      return { ...answer, waitedMs: Math.round(performance.now() - begunMs) };
    } catch (error) {
      const mayPass = isPageferryError(error, "timeout") || isPageferryError(error, "unavailable");
      if (!mayPass || begunMs + timeoutMs <= performance.now()) throw error;
      if (isPageferryError(error, "unavailable")) await sleep(pauseMs, undefined, { signal });
    }
  }
}
