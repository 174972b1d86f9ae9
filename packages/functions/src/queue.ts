// A durable queue in one SQLite file: at least once, a visibility timeout, a receive count, delayed retry, dead letters,
// and lanes, which are queues that share bodies. `send` returns after fsync; sends that come together share one.

import { PageferryError } from "@pageferry/format";
import { type Behind, behind, caughtUp, expire, revive, reviveSome, shed, shedDead } from "./queue-lanes.ts";
import { openQueueLog } from "./queue-log.ts";
import type {
  DeadLetter,
  Delivery,
  LaneDepth,
  NewMessage,
  ReceiveOptions,
  Settlement,
} from "./queue-messages.ts";
import { copyBack, openQueueFile } from "./queue-schema.ts";
import {
  closedError,
  guarded,
  type LaneLoad,
  loadOf,
  readLoads,
  type State,
  transact,
} from "./queue-state.ts";
import { statements } from "./queue-statements.ts";
import { depths, insert, receive, settleOne } from "./queue-turns.ts";
import { createWaiters } from "./waiters.ts";

export type { Behind } from "./queue-lanes.ts";
export type { DeadLetter, Delivery, LaneDepth, NewMessage, Onward, Settlement } from "./queue-messages.ts";
export type { LaneLoad } from "./queue-state.ts";

/** Bodies that wait, before senders are told to come again later. */
export const queueBytesMaxDefault = 1024 * 1024 * 1024;

/** Pages that one tidying gives back to the file system: 16 MiB, a few milliseconds. */
const vacuumPages = 4096;

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
  /** Of one database, or of all. */
  depths(database?: string): LaneDepth[];
  /** What waits in a lane, of all databases. */
  load(lane: string): LaneLoad;
  /** Bodies that wait, shared ones once; dead letters are not waited for. */
  bytes(): number;
  deadLetters(): DeadLetter[];
  /** Gives dead letters another chance, from the beginning. */
  revive(ids: readonly number[]): void;
  /** The same for all of a lane's, of one database or of all. Returns how many. */
  replay(lane: string, database?: string): number;
  /**
   * Lets go of the oldest messages of a lane that another replica has stored, until no more than `keep` waits, some at a time.
   * Returns how many; 0 when there are no more. What is lost to the lane is in `behind`, from the same step on.
   */
  shed(lane: string, keep: LaneLoad): number;
  /** The same with some of a lane's dead letters, the oldest first; for when there is no room. */
  shedDead(lane: string): number;
  /** Lanes that let go of something and have not caught up. */
  behind(): Behind[];
  /** Ends that, unless more was let go of since. Returns whether it did. */
  caughtUp(behind: Behind): boolean;
  /**
   * Drops what came, and dead letters that died, longer ago than `retentionMs`, both by the wall clock and by the time this queue
   * was open. Lanes of which `isReplicas` is true are behind then. Returns how many messages went that no replica has.
   */
  expire(retentionMs: number, isReplicas: (lane: string) => boolean): number;
  /** Digests that no message points at. What was settled before the call is durable when it returns. */
  unreferenced(digests: readonly string[]): string[];
  /** Small facts that outlive the process. Written without fsync: the last second may be lost with the power. */
  setNote(name: string, value: string): void;
  dropNote(name: string): void;
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
  /** Milliseconds by a clock that nobody sets. Default `performance.now`. */
  readonly monotonic?: () => number;
}

interface Pending {
  readonly lane: string;
  readonly message: NewMessage;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface Queue extends State {
  pending: Pending[];
  pendingBytes: number;
}

function openState(options: QueueOptions): Queue {
  const { path, now, monotonic = () => performance.now() } = options;
  const db = openQueueFile(path);
  const sql = statements(db);
  sql.release.run();
  sql.setNote.run("opened", String(now()));
  const observed = Number((sql.note.get("observed") as { value: string } | undefined)?.value ?? 0);
  const openedMs = monotonic();
  const state: Queue = {
    db,
    path,
    now,
    observedMs: () => observed + monotonic() - openedMs,
    sql,
    log: openQueueLog(path, () => copyBack(db)),
    bytesMax: options.bytesMax ?? queueBytesMaxDefault,
    bytes: (sql.totalBytes.get() as { bytes: number }).bytes,
    loads: new Map(),
    laneLoads: new Map(),
    counted: [],
    pending: [],
    pendingBytes: 0,
    isClosed: false,
    latestMs: now(),
  };
  readLoads(state);
  return state;
}

/** Opens the queue in `path`. What a killed process had taken is visible again at once: it is the only consumer. */
export function openQueue(options: QueueOptions): DurableQueue {
  const state = openState(options);
  const { db, sql } = state;
  const waiters = createWaiters();
  const close = async () => {
    if (state.isClosed) return;
    const flushed = flush(state, waiters.wake);
    keepObserved(state);
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
    depths: (database) => depths(state, database),
    load: (lane) => loadOf(state, lane),
    bytes: () => state.bytes,
    deadLetters: () => sql.deadLetters.all() as unknown as DeadLetter[],
    revive(ids) {
      transact(state, "FULL", () => {
        for (const id of ids) revive(state, id);
      });
      waiters.wakeAll();
    },
    replay(lane, database) {
      let revived = 0;
      for (let some = -1; some !== 0; revived += Math.max(0, some)) {
        some = transact(state, "FULL", () => reviveSome(state, lane, database));
      }
      waiters.wake(lane);
      return revived;
    },
    shed: (lane, keep) => transact(state, "NORMAL", () => shed(state, lane, keep)),
    shedDead: (lane) => transact(state, "NORMAL", () => shedDead(state, lane)),
    behind: () => behind(state),
    caughtUp: (which) => transact(state, "NORMAL", () => caughtUp(state, which)),
    expire: (retentionMs, isReplicas) =>
      transact(state, "FULL", () => expire(state, retentionMs, isReplicas)),
    unreferenced(digests) {
      // A removal that the power takes back would bring a message back whose staged body is gone: fsync first.
      transact(state, "FULL", () => void sql.setNote.run("barrier", String(state.now())));
      return digests.filter((digest) => sql.isStaged.get(digest) === undefined);
    },
    setNote: (name, value) => transact(state, "NORMAL", () => void sql.setNote.run(name, value)),
    dropNote: (name) => transact(state, "NORMAL", () => void sql.dropNote.run(name)),
    notes(prefix) {
      const rows = sql.notes.all(prefix.length, prefix) as { name: string; value: string }[];
      return new Map(rows.map(({ name, value }) => [name, value]));
    },
    tidy: () => guarded(state, () => db.exec(`PRAGMA incremental_vacuum(${vacuumPages})`)),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** On a full disk the last minute is not kept: what it made older is kept a little longer. */
function keepObserved({ sql, observedMs }: State): void {
  try {
    sql.setNote.run("observed", String(Math.floor(observedMs())));
  } catch {
    // Told by everything else that is written.
  }
}

function send(state: Queue, lane: string, message: NewMessage, wake: (lane: string) => void): Promise<void> {
  if (state.isClosed) throw closedError(state);
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
async function flush(state: Queue, wake: (lane: string) => void): Promise<void> {
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
