// `replicate --once`: until what a database held when it was looked at is durable at the host, and with --wait in the replicas.

import { setTimeout as sleep } from "node:timers/promises";
import type { AgentStatus, DatabaseStatus, Queue } from "@pageferry/agent";
import {
  type ErrorCode,
  formatDuration,
  formatTxId,
  type Generation,
  PageferryError,
  type TxId,
} from "@pageferry/format";
import type { HostClient } from "./host-client.ts";
import { inParallel } from "./in-parallel.ts";
import { waitInTurns } from "./wait-turns.ts";

/** How to catch up. */
export interface CatchUpOptions {
  readonly status: () => AgentStatus;
  readonly queue: Queue;
  /** Also wait until replicas have it. */
  readonly isStoredToo: boolean;
  /** A client whose token may see what each replica has; without one it is enough that the host says that one of them has it. */
  readonly reader: Pick<HostClient, "call"> | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** A database that has caught up. */
export interface CaughtUp {
  readonly name: string;
  readonly generation: Generation;
  readonly txId: TxId;
  /** The replicas that have it, by name; null: at least one; absent: that was not asked. */
  readonly replicas?: readonly string[] | null;
}

const lookMs = 50;

/** What does not pass by itself while somebody waits for it. A file may come later; who asks for "once" means now. */
const endingCodes: ReadonlySet<ErrorCode> = new Set([
  "not-found",
  "not-bolt",
  "unreadable",
  "source-unlinked",
]);

/** Waits for every database. Errors: `timeout`, and what stands in the way where it does not pass by itself. */
export async function catchUp(options: CatchUpOptions): Promise<readonly CaughtUp[]> {
  const endMs = performance.now() + options.timeoutMs;
  for (;;) {
    const { databases } = options.status();
    for (const database of databases) refuseEnding(database);
    const waiting = databases.filter((database) => !hasCaughtUp(database));
    if (waiting.length === 0) {
      return await inParallel(databases, waitsAtATime, (database) => settled(database, options, endMs));
    }
    if (performance.now() > endMs) throw late(waiting, options);
    await sleep(lookMs, undefined, { signal: options.signal });
  }
}

/** What was found by the first look; what is committed meanwhile is not waited for, or it would never end. */
function hasCaughtUp({ foundTxId, acknowledgedTxId }: DatabaseStatus): boolean {
  return foundTxId !== null && acknowledgedTxId !== null && acknowledgedTxId >= foundTxId;
}

function refuseEnding({ name, state, alarms }: DatabaseStatus): void {
  for (const { code, message, hint } of alarms) {
    // A lag is what is being made up.
    if (code === "lag" || !(state === "halted" || endingCodes.has(code))) continue;
    throw new PageferryError(code, `${name}: ${message}`, { hint });
  }
}

function late(waiting: readonly DatabaseStatus[], { timeoutMs }: CatchUpOptions): PageferryError {
  const words = waiting.map(({ name, foundTxId, acknowledgedTxId, alarms }) => {
    const [why] = alarms;
    const at = `the host has ${acknowledgedTxId === null ? "nothing" : formatTxId(acknowledgedTxId)}`;
    const of = foundTxId === null ? "the file was not looked at yet" : `${at} of ${formatTxId(foundTxId)}`;
    return `${name}: ${of}${why === undefined ? "" : ` (${why.message})`}`;
  });
  return new PageferryError("timeout", `not caught up in ${formatDuration(timeoutMs)}: ${words.join("; ")}`, {
    hint: "What was captured is in the shadow. Run it again, or give it longer with --timeout.",
  });
}

/** Waits at a host are bounded, and so is what it is asked at a time. */
const waitsAtATime = 8;

async function settled(
  { name, generation, foundTxId, acknowledgedTxId }: DatabaseStatus,
  options: CatchUpOptions,
  endMs: number,
): Promise<CaughtUp> {
  const caught = { name, generation: generation as Generation, txId: acknowledgedTxId as TxId };
  if (!options.isStoredToo) return caught;
  const goal = { ...caught, txId: foundTxId as TxId };
  if (options.reader === undefined) {
    await storedSomewhere(goal, options, endMs);
    return { ...goal, replicas: null };
  }
  const timeoutMs = Math.max(1, endMs - performance.now());
  const { replicas } = await waitInTurns(options.reader, name, {
    ...{ txid: goal.txId, timeoutMs, signal: options.signal },
  });
  return { ...goal, replicas: replicas.filter(({ hasIt }) => hasIt).map((replica) => replica.name) };
}

async function storedSomewhere(goal: CaughtUp, { queue, signal, timeoutMs }: CatchUpOptions, endMs: number) {
  for (;;) {
    const needs = await queue.needs(goal.name, { signal });
    if (needs === undefined) {
      throw new PageferryError("bad-request", `--wait: ${queue.name} cannot tell what replicas have`, {
        hint: "Wait for the host's acknowledgement alone: leave --wait out.",
      });
    }
    if ((needs.generations[goal.generation]?.storedTxId ?? -1n) >= goal.txId) return;
    if (performance.now() > endMs) {
      const what = `${formatTxId(goal.txId)} of ${goal.name} is at the host`;
      throw new PageferryError("timeout", `${what}, and in no replica after ${formatDuration(timeoutMs)}`);
    }
    await sleep(lookMs * 5, undefined, { signal });
  }
}

/** What was reached, for people. */
export function formatCaughtUp(caught: readonly CaughtUp[]): string {
  return caught
    .map(({ name, txId, replicas }) => {
      const where = replicas === undefined ? "at the host" : `in ${replicas?.join(", ") ?? "a replica"}`;
      return `${name}: ${formatTxId(txId)} is ${where}\n`;
    })
    .join("");
}

/** The same for scripts. */
export function caughtUpJson(caught: readonly CaughtUp[]): string {
  const databases = caught.map(({ txId, ...rest }) => ({ ...rest, txid: formatTxId(txId) }));
  return `${JSON.stringify({ databases })}\n`;
}
