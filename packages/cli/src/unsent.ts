// What this machine captured and no replica has yet is sent before anything is restored: what is restored is to be the newest there is.

import { setTimeout as sleep } from "node:timers/promises";
import { createAgent, type Queue } from "@pageferry/agent";
import { type Config, type DatabaseConfig, formatTxId, PageferryError, type TxId } from "@pageferry/format";
import type { Io } from "./io.ts";
import { createLog } from "./log.ts";

/** Where the shadow is and where it is sent. */
export interface UnsentOptions {
  readonly config: Config;
  readonly queue: Queue;
  readonly shadowDir: string;
  readonly io: Io;
}

/** What this machine knew of a database before. */
export interface SentBefore {
  /** Whether a host has acknowledged anything of it. */
  readonly hasSent: boolean;
}

/** As long as a stop may take. */
const sendMs = 30_000;

/** What is acknowledged is in a replica within seconds, behind SQS within half a minute, or the replica is away. */
const storeMs = 60_000;

const lookMs = 250;

/**
 * Sends what the shadow holds of a database, and waits until a replica has it. Errors: `unavailable` where that does not succeed in time,
 * `locked` when another agent has the database.
 */
export async function sendUnsent(
  database: DatabaseConfig,
  { config, queue, shadowDir, io }: UnsentOptions,
): Promise<SentBefore> {
  const agent = createAgent({
    ...config,
    databases: [database],
    ...{ queue, shadowDir, openSource: null, logger: createLog(io), now: io.now },
  });
  await agent.start();
  await agent.stop({ deadlineMs: sendMs });
  const [status] = agent.status().databases;
  if (status === undefined || status.generation === null) return { hasSent: false };
  const { generation, acknowledgedTxId, shadowedTxId, alarms } = status;
  // Without a base nothing of it can be sent any more.
  if (acknowledgedTxId === null || shadowedTxId === null) return { hasSent: false };
  // Two histories: what is refused is never taken, and the other one is what is restored.
  const isRefused = alarms.some(({ code }) => code === "fork");
  if (!isRefused && acknowledgedTxId < shadowedTxId) {
    const [why] = alarms;
    throw notAll(
      database,
      shadowedTxId,
      why === undefined ? "the host did not take it in time" : why.message,
    );
  }
  const endMs = performance.now() + storeMs;
  while (!isRefused) {
    const needs = await queue.needs(database.name, { signal: io.signal });
    const storedTxId = needs?.generations[generation]?.storedTxId ?? 0n;
    // A queue that cannot tell is believed.
    if (needs === undefined || storedTxId >= acknowledgedTxId) break;
    if (performance.now() > endMs) throw notAll(database, acknowledgedTxId, "no replica has it");
    await sleep(lookMs, undefined, { signal: io.signal });
  }
  return { hasSent: true };
}

function notAll({ name }: DatabaseConfig, txId: TxId, why: string): PageferryError {
  return new PageferryError(
    "unavailable",
    `${name}: not restored, because this machine captured transactions up to ${formatTxId(txId)} that a restore would lack: ${why}`,
    {
      hint: "Start again when the host and a replica are there. To go on without them, restore by hand: `pageferry restore`.",
    },
  );
}
