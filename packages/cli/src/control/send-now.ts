// The agent on this machine, where one runs, made to send what a database holds now without waiting for its interval. Its host has
// acknowledged that when this ends.

import { realpath } from "node:fs/promises";
import { resolve } from "node:path";
import {
  type Generation,
  isPageferryError,
  type PageferryError,
  parseGeneration,
  parseTxId,
  type TxId,
} from "@pageferry/format";
import { callAgent } from "./control-client.ts";
import type { AgentReport, SyncReport } from "./handlers.ts";

/** The agent that runs with a shadow, as it was when it was looked for. */
export type FoundAgent =
  | { readonly shadowDir: string; readonly report: AgentReport }
  /** It cannot be asked: the message says why. */
  | { readonly shadowDir: string; readonly error: PageferryError };

/** What was sent. */
export interface SentNow {
  readonly generation: Generation;
  readonly txId: TxId;
  /** What the host had acknowledged of the same generation before; null: nothing. */
  readonly beforeTxId: TxId | null;
}

/** Looks for it. That there is none, or that it is another user's, is an answer; what was aborted is thrown. */
export async function findAgent(shadowDir: string, signal: AbortSignal): Promise<FoundAgent> {
  try {
    const report = await callAgent<AgentReport>({ shadowDir, method: "GET", path: "/v1/status", signal });
    return { shadowDir, report };
  } catch (error) {
    signal.throwIfAborted();
    if (!isPageferryError(error)) throw error;
    return { shadowDir, error };
  }
}

/** The name under which an agent backs a file up. */
export async function nameOfFile(path: string, { databases }: AgentReport): Promise<string | undefined> {
  const asked = await real(path);
  for (const { name, path: own } of databases) if ((await real(own)) === asked) return name;
  return undefined;
}

async function real(path: string): Promise<string> {
  return realpath(path).catch(() => resolve(path));
}

/** Sends what is in a database's file now. Errors: those of `pageferry sync`. */
export async function sendNow(
  { shadowDir, report }: Extract<FoundAgent, { readonly report: AgentReport }>,
  name: string,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<SentNow> {
  const { databases } = await callAgent<SyncReport>({
    ...{ shadowDir, method: "POST", path: "/v1/sync", signal },
    body: { names: [name], timeoutMs },
  });
  const [{ generation = "", txid = "" } = {}] = databases;
  const before = report.databases.find((one) => one.name === name);
  const isSame = before?.generation === generation && before.acknowledgedTxid !== null;
  return {
    generation: parseGeneration(generation),
    txId: parseTxId(txid),
    beforeTxId: isSame ? parseTxId(before.acknowledgedTxid) : null,
  };
}
