// A durable queue in one SQLite file: at least once, a visibility timeout, a receive count, delayed retry, dead letters,
// and lanes, which are queues that share bodies. `send` returns after fsync; sends that come together share one.

import type { DatabaseSync } from "node:sqlite";
import { PageferryError } from "@pageferry/format";
import { openQueueLog, type QueueLog } from "./queue-log.ts";
import { copyBack, fromSqlite, isFull, makeRoom, openQueueFile } from "./queue-schema.ts";
import { type Statements, statements } from "./queue-statements.ts";
import { createWaiters } from "./waiters.ts";

/** A delivery that was received this often without an answer may be what kills the process: it is handed out alone. */
const suspectReceives = 3;

/** Bodies that wait, before senders are told to come again later. */
const queueBytesMaxDefault = 1024 * 1024 * 1024;

/** Nothing is made invisible, or delayed, for longer: what seems to be was hidden before the clock was set back. */
const awayMsMax = 10 * 60_000;

/** A clock that goes back by less only makes a wait this much longer. */
const clockBackMs = 10_000;

/** Pages that one tidying gives back to the file system: 16 MiB, a few milliseconds. */
const vacuumPages = 4096;

export interface NewMessage {
  readonly database: string;
  readonly body: Uint8Array;
  readonly receivedAtMs: number;
  /** Staged bodies that this message points at; they are kept while it waits. */
  readonly digests?: readonly string[];
}

/** One turn with a message. It comes again, later, unless it is settled before its visibility ends. */
export interface Delivery {
  readonly id: number;
  readonly lane: string;
  readonly database: string;
  readonly body: Uint8Array;
  readonly receivedAtMs: number;
  /** How often it was handed out, this time included. */
  readonly receiveCount: number;
}

/** Where a message goes on: into a lane after a delay, or into that lane's dead letters. */
export interface Onward {
  readonly lane: string;
  readonly delayMs?: number;
  readonly dead?: boolean;
  readonly error?: string;
}

/** What became of a delivery. All of it is one transaction: a message is never in no lane before it is done. */
export type Settlement =
  | { readonly id: number; readonly kind: "done"; readonly onward?: readonly Onward[] }
  | { readonly id: number; readonly kind: "retry"; readonly delayMs: number; readonly error?: string }
  | { readonly id: number; readonly kind: "dead"; readonly error: string };

export interface DeadLetter {
  readonly id: number;
  readonly lane: string;
  readonly database: string;
  readonly size: number;
  readonly deadAtMs: number;
  readonly error: string;
}

/** How much waits for one database in one lane. */
export interface LaneDepth {
  readonly lane: string;
  readonly database: string;
  readonly messages: number;
  readonly bytes: number;
  readonly dead: number;
  /** When the oldest that waits was received; absent when none does. */
  readonly oldestMs?: number;
}

export interface ReceiveOptions {
  readonly messagesMax: number;
  readonly bytesMax: number;
  /** At most ten minutes; `extend` makes it longer. */
  readonly visibilityMs: number;
}

export interface DurableQueue extends AsyncDisposable {
  /** Resolves when the message is on disk, fsynced. `unavailable` when the queue is full, `disk-full` when the disk is. */
  send(lane: string, message: NewMessage): Promise<void>;
  /** Takes the oldest visible messages, at least one however large; none if there is none. */
  receive(lane: string, options: ReceiveOptions): Delivery[];
  settle(settlements: readonly Settlement[]): void;
  /** Keeps deliveries invisible for longer, while large bodies are copied. */
  extend(ids: readonly number[], visibilityMs: number): void;
  /** Resolves when something may be visible in the lane, or after `timeoutMs`. */
  wait(lane: string, timeoutMs: number, signal?: AbortSignal): Promise<void>;
  depths(): LaneDepth[];
  /** Bodies that wait, shared ones once; dead letters are not waited for. */
  bytes(): number;
  deadLetters(): DeadLetter[];
  /** Gives dead letters another chance, from the beginning. */
  revive(ids: readonly number[]): void;
  /** Drops messages received, and dead letters that died, before `beforeMs`. Returns how many messages had waited. */
  expire(beforeMs: number): number;
  /** Digests that no message points at. What was settled before the call is durable when it returns. */
  unreferenced(digests: readonly string[]): string[];
  /** Small facts that outlive the process. Written without fsync: the last second may be lost with the power. */
  setNote(name: string, value: string): void;
  notes(prefix: string): Map<string, string>;
  /** Gives free pages back to the file system; for idle moments. */
  tidy(): void;
  close(): Promise<void>;
}

export interface QueueOptions {
  readonly path: string;
  readonly now: () => number;
  /** Default 1 GiB. Above it `send` is refused until messages leave. */
  readonly bytesMax?: number;
}

interface Pending {
  readonly lane: string;
  readonly message: NewMessage;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface State {
  readonly db: DatabaseSync;
  readonly path: string;
  readonly now: () => number;
  readonly sql: Statements;
  readonly log: QueueLog;
  readonly bytesMax: number;
  bytes: number;
  pending: Pending[];
  pendingBytes: number;
  isClosed: boolean;
  /** When something was last taken, by the wall clock. */
  latestMs: number;
  /** What `depths` found, until something changes. */
  depths: LaneDepth[] | undefined;
}

/** Opens the queue in `path`. What a killed process had taken is visible again at once: it is the only consumer. */
export function openQueue(options: QueueOptions): DurableQueue {
  const db = openQueueFile(options.path);
  const sql = statements(db);
  sql.release.run();
  sql.setNote.run("opened", String(options.now()));
  const state: State = {
    db,
    path: options.path,
    now: options.now,
    sql,
    log: openQueueLog(options.path, () => copyBack(db)),
    bytesMax: options.bytesMax ?? queueBytesMaxDefault,
    bytes: (sql.totalBytes.get() as { bytes: number }).bytes,
    pending: [],
    pendingBytes: 0,
    isClosed: false,
    latestMs: options.now(),
    depths: undefined,
  };
  const waiters = createWaiters();
  const close = async () => {
    if (state.isClosed) return;
    const flushed = flush(state, waiters.wake);
    state.isClosed = true;
    waiters.wakeAll();
    await flushed;
    await state.log.close();
    db.close();
  };
  return {
    send: (lane, message) => send(state, lane, message, waiters.wake),
    receive: (lane, bounds) => transact(state, "NORMAL", () => receive(state, lane, bounds)),
    settle(settlements) {
      if (settlements.length === 0) return;
      transact(state, "NORMAL", () => {
        for (const settlement of settlements) settleOne(state, settlement);
      });
      const lanes = settlements.flatMap((one) => (one.kind === "done" ? (one.onward ?? []) : []));
      for (const lane of new Set(lanes.map((onward) => onward.lane))) waiters.wake(lane);
    },
    extend(ids, visibilityMs) {
      const until = state.now() + visibilityMs;
      transact(state, "NORMAL", () => ids.forEach((id) => void sql.extend.run(until, id)));
    },
    wait(lane, timeoutMs, signal) {
      const next = (sql.nextVisible.get(lane) as { at: number | null }).at;
      const delayMs = next === null ? timeoutMs : Math.min(timeoutMs, next - state.now());
      return waiters.wait(lane, delayMs, signal);
    },
    depths: () => (state.depths ??= depths(state)),
    bytes: () => state.bytes,
    deadLetters: () => sql.deadLetters.all() as unknown as DeadLetter[],
    revive(ids) {
      transact(state, "FULL", () => {
        for (const id of ids) revive(state, id);
      });
      waiters.wakeAll();
    },
    expire: (beforeMs) => transact(state, "FULL", () => expire(state, beforeMs)),
    unreferenced(digests) {
      // A removal that the power takes back would bring a message back whose staged body is gone: fsync first.
      transact(state, "FULL", () => void sql.setNote.run("barrier", String(state.now())));
      return digests.filter((digest) => sql.isStaged.get(digest) === undefined);
    },
    setNote: (name, value) => transact(state, "NORMAL", () => void sql.setNote.run(name, value)),
    notes(prefix) {
      const rows = sql.notes.all(prefix.length, prefix) as { name: string; value: string }[];
      return new Map(rows.map(({ name, value }) => [name, value]));
    },
    tidy: () => guarded(state, () => db.exec(`PRAGMA incremental_vacuum(${vacuumPages})`)),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** `FULL`: durable when it returns. `NORMAL`: in order behind what is durable, which is enough for what may come twice. */
function transact<Result>(state: State, durability: "FULL" | "NORMAL", work: () => Result): Result {
  return guarded(state, () => {
    state.db.exec(`PRAGMA synchronous = ${durability}`);
    state.db.exec("BEGIN IMMEDIATE");
    state.depths = undefined;
    const { bytes } = state;
    try {
      const result = work();
      state.db.exec("COMMIT");
      return result;
    } catch (error) {
      state.bytes = bytes;
      if (state.db.isTransaction) state.db.exec("ROLLBACK");
      if (isFull(error)) makeRoom(state.db);
      throw error;
    }
  });
}

function guarded<Result>(state: State, work: () => Result): Result {
  if (state.isClosed) throw new PageferryError("unavailable", `queue ${state.path}: is closed`);
  try {
    return work();
  } catch (error) {
    throw fromSqlite(error, `queue ${state.path}`);
  }
}

function send(state: State, lane: string, message: NewMessage, wake: (lane: string) => void): Promise<void> {
  if (state.isClosed) throw new PageferryError("unavailable", `queue ${state.path}: is closed`);
  const bytes = state.bytes + state.pendingBytes + message.body.length;
  if (bytes > state.bytesMax) {
    const room = `${bytes} bytes would wait, ${state.bytesMax} may`;
    return Promise.reject(
      new PageferryError("unavailable", `queue ${state.path}: is full, ${room}`, {
        hint: "It takes messages again when the replicas have taken some; `pageferry status` names the one that does not.",
      }),
    );
  }
  state.pendingBytes += message.body.length;
  return new Promise((resolve, reject) => {
    state.pending.push({ lane, message, resolve, reject });
    if (state.pending.length === 1) setImmediate(() => void flush(state, wake));
  });
}

/** One transaction for everything that was sent since the last, and one fsync for all that came while another ran. */
async function flush(state: State, wake: (lane: string) => void): Promise<void> {
  const sends = state.pending;
  if (sends.length === 0) return;
  state.pending = [];
  state.pendingBytes = 0;
  try {
    transact(state, "NORMAL", () => {
      for (const { lane, message } of sends) insert(state, lane, message);
    });
    // Whoever takes a message need not wait until it is durable; whoever sent it must.
    for (const lane of new Set(sends.map((one) => one.lane))) wake(lane);
    await state.log.sync();
    for (const { resolve } of sends) resolve();
  } catch (error) {
    for (const { reject } of sends) reject(error);
  }
}

function insert(state: State, lane: string, message: NewMessage): void {
  const { sql } = state;
  const body = sql.putBody.run(message.database, message.body, message.receivedAtMs).lastInsertRowid;
  for (const digest of message.digests ?? []) sql.putStaged.run(body, digest);
  sql.putDelivery.run(body, message.database, message.body.length, lane, 0, null, null);
  state.bytes += message.body.length;
}

interface Turn {
  readonly id: number;
  readonly body: number;
  readonly database: string;
  readonly size: number;
  readonly receives: number;
}

function receive(state: State, lane: string, bounds: ReceiveOptions): Delivery[] {
  const { sql } = state;
  const now = state.now();
  // A clock that went back would hide for as long what was to come again in a minute; that it comes twice is nothing.
  if (now < state.latestMs - clockBackMs) sql.release.run();
  state.latestMs = now;
  const taken: Delivery[] = [];
  let bytes = 0;
  for (const turn of sql.next.all(lane, now, awayMsMax, bounds.messagesMax) as unknown as Turn[]) {
    const isSuspect = turn.receives >= suspectReceives;
    if (taken.length > 0 && (isSuspect || bytes + turn.size > bounds.bytesMax)) break;
    const row = sql.body.get(turn.body) as { bytes: Uint8Array; received_at: number };
    sql.take.run(now + bounds.visibilityMs, turn.id);
    const { id, database, receives } = turn;
    const receiveCount = receives + 1;
    taken.push({ id, lane, database, body: row.bytes, receivedAtMs: row.received_at, receiveCount });
    bytes += turn.size;
    if (isSuspect) break;
  }
  return taken;
}

function settleOne(state: State, settlement: Settlement): void {
  const { sql } = state;
  const delivery = sql.one.get(settlement.id) as unknown as Turn | undefined;
  // It was settled already, by a turn that had outlived its visibility.
  if (delivery === undefined) return;
  const { id, body, database, size } = delivery;
  const at = state.now();
  if (settlement.kind === "retry") {
    sql.retry.run(at + settlement.delayMs, settlement.error ?? null, id);
  } else if (settlement.kind === "dead") {
    sql.bury.run(at, settlement.error, id);
  } else {
    for (const { lane, delayMs = 0, dead = false, error = null } of settlement.onward ?? []) {
      sql.putDelivery.run(
        body,
        database,
        size,
        lane,
        delayMs === 0 ? 0 : at + delayMs,
        dead ? at : null,
        error,
      );
    }
    dropDelivery(state, delivery);
  }
  if (!isWaiting(state, body)) state.bytes -= size;
}

/** Whether some lane still has its turn with a body; those of dead letters take up disk, but no place in the queue. */
function isWaiting(state: State, body: number): boolean {
  return state.sql.isWaiting.get(body) !== undefined;
}

/** With its last delivery a body goes. */
function dropDelivery(state: State, { id, body }: Pick<Turn, "id" | "body">): void {
  const { sql } = state;
  sql.drop.run(id);
  if (sql.isLastOf.get(body) !== undefined) return;
  sql.dropStaged.run(body);
  sql.dropBody.run(body);
}

function revive(state: State, id: number): void {
  const letter = state.sql.dead.get(id) as Pick<Turn, "body" | "size"> | undefined;
  if (letter === undefined) return;
  if (!isWaiting(state, letter.body)) state.bytes += letter.size;
  state.sql.revive.run(id);
}

function expire(state: State, beforeMs: number): number {
  const old = state.sql.expired.all(beforeMs) as unknown as (Turn & { readonly waited: number })[];
  for (const delivery of old) {
    const waited = isWaiting(state, delivery.body);
    dropDelivery(state, delivery);
    if (waited && !isWaiting(state, delivery.body)) state.bytes -= delivery.size;
  }
  return old.filter((delivery) => delivery.waited === 1).length;
}

function depths(state: State): LaneDepth[] {
  const rows = state.sql.depths.all() as {
    lane: string;
    database: string;
    messages: number;
    bytes: number;
    dead: number;
    oldest: number | null;
  }[];
  return rows.map(({ oldest, ...depth }) => {
    if (oldest === null) return depth;
    return { ...depth, oldestMs: (state.sql.body.get(oldest) as { received_at: number }).received_at };
  });
}
