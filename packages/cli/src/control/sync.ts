// `pageferry sync` as the agent carries it out: what is in the files now is captured, sent without waiting for the interval, and waited for.

import type { Agent, AgentStatus, DatabaseStatus, Queue } from "@pageferry/agent";
import { isPageferryError, type TxId } from "@pageferry/format";
import { type CaughtUp, catchUp } from "../catch-up.ts";
import { newestIn } from "../file-meta.ts";
import type { HostClient } from "../host-client.ts";
import type { MemberView } from "../many/fleet.ts";
import { unknownError } from "../many/fleet-words.ts";

/** What it works with. */
export interface SyncParts {
  readonly agent: Pick<Agent, "hasten"> & { status(): AgentStatus };
  readonly queue: Queue;
  members(): readonly MemberView[];
  /** A client that may see what each replica has, where there is one. */
  reader(): Promise<Pick<HostClient, "call"> | undefined>;
}

/** What is asked for. */
export interface SyncRequest {
  /** None: all. */
  readonly names: readonly string[];
  /** Also wait until replicas have it. */
  readonly isStoredToo: boolean;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** What of a database is to arrive. */
interface Goal {
  readonly txId: TxId;
  /** The file went back behind what was captured: what counts is the generation after this one. */
  readonly notOf: string | undefined;
}

/** Waits for the databases. Errors: `not-found` for a name that is none, `timeout`, what stands in the way where it does not pass by itself. */
export async function syncNow(parts: SyncParts, request: SyncRequest): Promise<readonly CaughtUp[]> {
  const { agent, queue } = parts;
  const goals = goalsOf(parts, request.names);
  return await catchUp({
    ...{ queue, isStoredToo: request.isStoredToo, timeoutMs: request.timeoutMs, signal: request.signal },
    reader: request.isStoredToo ? await parts.reader() : undefined,
    status() {
      const { databases, ...rest } = agent.status();
      const asked = databases.flatMap((database) => {
        const goal = goals.get(database.name);
        return goal === undefined ? [] : [withGoal(database, goal)];
      });
      for (const one of asked) if (isOnlyWaiting(one)) agent.hasten(one.name);
      return { ...rest, databases: asked };
    },
  });
}

function goalsOf({ agent, members }: SyncParts, names: readonly string[]): ReadonlyMap<string, Goal> {
  const known = members();
  const missing = names.find((name) => !known.some((one) => one.name === name));
  if (missing !== undefined)
    throw unknownError(
      missing,
      known.map(({ name }) => name),
    );
  const goals = new Map<string, Goal>();
  const before = new Map(agent.status().databases.map((database) => [database.name as string, database]));
  for (const { name, path, origin } of known) {
    const database = before.get(name);
    if (database === undefined || (names.length > 0 && !names.includes(name))) continue;
    try {
      const txId = newestIn(path);
      const isBack = database.seenTxId !== null && txId < database.seenTxId;
      goals.set(name, { txId, notOf: isBack ? (database.generation ?? undefined) : undefined });
    } catch (error) {
      // A file that was found and is gone since is nobody's to wait for, unless by its name.
      const isGone = isPageferryError(error, "not-found");
      if (!isGone || origin !== "found" || names.length > 0) throw error;
    }
  }
  return goals;
}

function withGoal(database: DatabaseStatus, { txId, notOf }: Goal): DatabaseStatus {
  const isOfThat = notOf === undefined || database.generation !== notOf;
  return { ...database, foundTxId: txId, ...(isOfThat ? {} : { acknowledgedTxId: null }) };
}

/** It is captured, and would wait for its time. */
function isOnlyWaiting({ foundTxId, shadowedTxId, acknowledgedTxId }: DatabaseStatus): boolean {
  return foundTxId !== null && (shadowedTxId ?? -1n) >= foundTxId && (acknowledgedTxId ?? -1n) < foundTxId;
}
