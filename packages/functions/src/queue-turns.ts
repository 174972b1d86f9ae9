// One lane's turns with messages, as steps of a transaction: they come in, are handed out, and are settled.

import type { Delivery, LaneDepth, NewMessage, ReceiveOptions, Settlement } from "./queue-messages.ts";
import { count, dropDelivery, isWaiting, type State, type Turn } from "./queue-state.ts";

/** A delivery that was received this often without an answer may be what kills the process: it is handed out alone. */
const suspectReceives = 3;

/** Nothing is made invisible, or delayed, for longer: what seems to be was hidden before the clock was set back. */
const awayMsMax = 10 * 60_000;

/** A clock that goes back by less only makes a wait this much longer. */
const clockBackMs = 10_000;

export function insert(state: State, lane: string, message: NewMessage): void {
  const { sql } = state;
  const { database, body: bytes, receivedAtMs, digests = [], stagedBytes: staged = 0 } = message;
  const body = Number(sql.putBody.run(database, bytes, receivedAtMs).lastInsertRowid);
  for (const digest of digests) sql.putStaged.run(body, digest);
  const since = Math.floor(state.observedMs());
  const size = bytes.length;
  putDelivery(state, { body, database, size, lane, staged, since }, {});
  state.bytes += size;
}

interface NewDelivery {
  readonly visibleAt?: number;
  readonly deadAt?: number | undefined;
  readonly error?: string | undefined;
  readonly isElsewhere?: boolean | undefined;
}

function putDelivery(state: State, turn: Omit<Turn, "id">, more: NewDelivery): void {
  const { body, database, size, lane, staged, since } = turn;
  const { visibleAt = 0, deadAt = null, error = null, isElsewhere = false } = more;
  const elsewhere = isElsewhere ? 1 : 0;
  state.sql.putDelivery.run(body, database, size, lane, visibleAt, deadAt, error, elsewhere, staged, since);
  if (deadAt === null) count(state, turn, 1, 0);
  else count(state, turn, 0, 1);
}

interface Taken extends Pick<Turn, "id" | "body" | "database" | "size"> {
  readonly receives: number;
}

export function receive(state: State, lane: string, bounds: ReceiveOptions): Delivery[] {
  const { sql } = state;
  const now = state.now();
  // A clock that went back would hide for as long what was to come again in a minute; that it comes twice is nothing.
  if (now < state.latestMs - clockBackMs) sql.release.run();
  state.latestMs = now;
  const taken: Delivery[] = [];
  let bytes = 0;
  const next = sql.next.all(lane, now, awayMsMax, bounds.messagesMax) as unknown as Taken[];
  for (const turn of next) {
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

export function settleOne(state: State, settlement: Settlement): void {
  const { sql } = state;
  const delivery = sql.one.get(settlement.id) as unknown as Turn | undefined;
  // It was settled already, by a turn that had outlived its visibility, or its lane has let go of it.
  if (delivery === undefined) return;
  const at = state.now();
  if (settlement.kind === "retry") {
    sql.retry.run(at + settlement.delayMs, settlement.error ?? null, delivery.id);
    return;
  }
  if (settlement.kind === "dead") {
    sql.bury.run(at, settlement.error, Math.floor(state.observedMs()), delivery.id);
    count(state, delivery, -1, 1);
  } else {
    const { onward = [], isStored = false } = settlement;
    for (const { lane, delayMs = 0, dead = false, error } of onward) {
      const since = dead ? Math.floor(state.observedMs()) : delivery.since;
      const visibleAt = delayMs === 0 ? 0 : at + delayMs;
      const deadAt = dead ? at : undefined;
      putDelivery(state, { ...delivery, lane, since }, { visibleAt, deadAt, error, isElsewhere: isStored });
    }
    dropDelivery(state, delivery, isStored);
    count(state, delivery, -1, 0);
  }
  if (!isWaiting(state, delivery.body)) state.bytes -= delivery.size;
}

export function depths(state: State, wanted: string | undefined): LaneDepth[] {
  const found: LaneDepth[] = [];
  for (const [lane, databases] of state.loads) {
    for (const database of wanted === undefined ? databases.keys() : [wanted]) {
      const load = databases.get(database);
      if (load === undefined) continue;
      const { messages, bytes, dead } = load;
      const depth = { lane, database, messages, bytes, dead };
      found.push(messages === 0 ? depth : withOldest(state, depth));
    }
  }
  return found;
}

function withOldest(state: State, depth: Omit<LaneDepth, "oldestMs">): LaneDepth {
  const { lane, database } = depth;
  return {
    ...depth,
    get oldestMs() {
      const oldest = state.sql.oldestOf.get(lane, database) as { at: number } | undefined;
      return oldest?.at ?? state.now();
    },
  };
}
