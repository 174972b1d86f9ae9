// What the queue knows without asking its file: how much waits where, and how much time it has seen. Kept in step with the
// file by `transact`: what a step that failed had counted is taken back.

import type { DatabaseSync } from "node:sqlite";
import { PageferryError } from "@pageferry/format";
import type { QueueLog } from "./queue-log.ts";
import { fromSqlite, isFull, makeRoom } from "./queue-schema.ts";
import type { Statements } from "./queue-statements.ts";

/** What waits in a lane; `staged` are the bytes on disk that its messages point at. */
export interface LaneLoad {
  readonly messages: number;
  readonly bytes: number;
  readonly staged: number;
}

/** The same with its dead letters. */
export interface Load extends LaneLoad {
  readonly dead: number;
}

/** One lane's turn with a body, as it is stored. */
export interface Turn {
  readonly id: number;
  readonly body: number;
  readonly database: string;
  readonly size: number;
  readonly lane: string;
  readonly staged: number;
  readonly since: number;
}

export interface State {
  readonly db: DatabaseSync;
  readonly path: string;
  readonly now: () => number;
  /** Milliseconds in which this queue was open, over all processes. No clock that is set can move it. */
  readonly observedMs: () => number;
  readonly sql: Statements;
  readonly log: QueueLog;
  readonly bytesMax: number;
  /** Bodies that wait, shared ones once. */
  bytes: number;
  /** Per lane and database. */
  readonly loads: Map<string, Map<string, Load>>;
  readonly laneLoads: Map<string, Load>;
  /** What the running step has counted. */
  counted: Count[];
  isClosed: boolean;
  /** When something was last taken, by the wall clock. */
  latestMs: number;
}

interface Count {
  readonly turn: Pick<Turn, "lane" | "database" | "size" | "staged">;
  readonly waiting: number;
  readonly dead: number;
}

const noLoad: Load = { messages: 0, bytes: 0, staged: 0, dead: 0 };

/** Reads how much waits, once; from then on it is counted. */
export function readLoads(state: State): void {
  for (const row of state.sql.loads.all() as unknown as (Load & { lane: string; database: string })[]) {
    const { lane, database, messages, bytes, staged, dead } = row;
    addLoad(state, lane, database, { messages, bytes, staged, dead });
  }
}

export function loadOf(state: State, lane: string): Load {
  return state.laneLoads.get(lane) ?? noLoad;
}

/** A delivery more (1) or fewer (-1), among those that wait or the dead letters. */
export function count(state: State, turn: Count["turn"], waiting: number, dead: number): void {
  state.counted.push({ turn, waiting, dead });
  applyCount(state, { turn, waiting, dead }, 1);
}

function applyCount(state: State, { turn, waiting, dead }: Count, sign: number): void {
  addLoad(state, turn.lane, turn.database, {
    messages: sign * waiting,
    bytes: sign * waiting * turn.size,
    staged: sign * waiting * turn.staged,
    dead: sign * dead,
  });
}

function addLoad(state: State, lane: string, database: string, change: Load): void {
  const databases = state.loads.get(lane) ?? new Map<string, Load>();
  state.loads.set(lane, databases);
  const load = sum(databases.get(database) ?? noLoad, change);
  if (load.messages === 0 && load.dead === 0) databases.delete(database);
  else databases.set(database, load);
  state.laneLoads.set(lane, sum(loadOf(state, lane), change));
}

function sum(a: Load, b: Load): Load {
  return {
    messages: a.messages + b.messages,
    bytes: a.bytes + b.bytes,
    staged: a.staged + b.staged,
    dead: a.dead + b.dead,
  };
}

/** `FULL`: durable when it returns. `NORMAL`: in order behind what is durable, which is enough for what may come twice. */
export function transact<Result>(state: State, durability: "FULL" | "NORMAL", work: () => Result): Result {
  return guarded(state, () => {
    state.db.exec(`PRAGMA synchronous = ${durability}`);
    state.db.exec("BEGIN IMMEDIATE");
    const { bytes } = state;
    state.counted = [];
    try {
      const result = work();
      state.db.exec("COMMIT");
      return result;
    } catch (error) {
      state.bytes = bytes;
      for (const one of state.counted) applyCount(state, one, -1);
      if (state.db.isTransaction) state.db.exec("ROLLBACK");
      if (isFull(error)) makeRoom(state.db);
      throw error;
    } finally {
      state.counted = [];
    }
  });
}

export function guarded<Result>(state: State, work: () => Result): Result {
  if (state.isClosed) throw closedError(state);
  try {
    return work();
  } catch (error) {
    throw fromSqlite(error, `queue ${state.path}`);
  }
}

export function closedError({ path }: Pick<State, "path">): PageferryError {
  return new PageferryError("unavailable", `queue ${path}: is closed`);
}

/** Whether some lane still has its turn with a body; those of dead letters take up disk, but no place in the queue. */
export function isWaiting(state: State, body: number): boolean {
  return state.sql.isWaiting.get(body) !== undefined;
}

/** Removes a delivery; with its last one a body goes. `isStored`: what is left of it is stored by another replica. */
export function dropDelivery(state: State, { id, body }: Pick<Turn, "id" | "body">, isStored = false): void {
  const { sql } = state;
  sql.drop.run(id);
  if (sql.isLastOf.get(body) === undefined) {
    sql.dropStaged.run(body);
    sql.dropBody.run(body);
  } else if (isStored) {
    sql.isElsewhere.run(body);
  }
}

/** Removes deliveries that wait, and what only they kept. */
export function dropWaiting(state: State, turns: readonly Turn[]): void {
  for (const turn of turns) {
    dropDelivery(state, turn);
    count(state, turn, -1, 0);
    if (!isWaiting(state, turn.body)) state.bytes -= turn.size;
  }
}
