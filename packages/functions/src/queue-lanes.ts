// What a lane gives up: messages that another replica has stored, when too many wait; messages that are too old; dead letters,
// back to their lane when somebody asks. Never the only copy, but by its age; and a lane that lost something says so.

import {
  count,
  dropDelivery,
  dropWaiting,
  isWaiting,
  type LaneLoad,
  loadOf,
  type State,
  type Turn,
} from "./queue-state.ts";

/** Deliveries that one step touches: some milliseconds, for which nothing else is done. */
const stepMax = 250;

/** A lane that let go of messages of a database: its replica lacks them until it is repaired. */
export interface Behind {
  readonly lane: string;
  readonly database: string;
  /** The newest that it let go; another one means that there were more since. */
  readonly mark: string;
}

const behindPrefix = "behind/";

/**
 * Lets go of the oldest messages of a lane that another replica has stored, until no more than `keep` waits, some at a time;
 * returns how many. That they are gone is noted in the same step.
 */
export function shed(state: State, lane: string, keep: LaneLoad): number {
  const load = loadOf(state, lane);
  const isOver = load.messages > keep.messages || load.bytes > keep.bytes;
  if (!isOver && load.staged <= keep.staged) return 0;
  const spare = state.sql.spare.all(lane, isOver ? 0 : 1, stepMax) as unknown as Turn[];
  let { messages, bytes, staged } = load;
  const turns: Turn[] = [];
  for (const turn of spare) {
    if (messages <= keep.messages && bytes <= keep.bytes && staged <= keep.staged) break;
    turns.push(turn);
    messages -= 1;
    bytes -= turn.size;
    staged -= turn.staged;
  }
  dropWaiting(state, turns);
  noteBehind(state, turns);
  return turns.length;
}

/** The same with some of its oldest dead letters, which no bound counts but the disk. Returns how many. */
export function shedDead(state: State, lane: string): number {
  const turns = state.sql.spareDead.all(lane, stepMax) as unknown as Turn[];
  dropDead(state, turns);
  noteBehind(state, turns);
  return turns.length;
}

function dropDead(state: State, turns: readonly Turn[]): void {
  for (const turn of turns) {
    dropDelivery(state, turn);
    count(state, turn, 0, -1);
  }
}

function noteBehind(state: State, turns: readonly Turn[]): void {
  for (const { id, lane, database } of turns) {
    state.sql.setNote.run(`${behindPrefix}${lane}/${database}`, String(id));
  }
}

/** Which lanes let go of what, until they caught up. */
export function behind(state: State): Behind[] {
  const rows = state.sql.notes.all(behindPrefix.length, behindPrefix) as { name: string; value: string }[];
  return rows.map(({ name, value }) => {
    // A lane's name may hold slashes, a database's cannot.
    const at = name.lastIndexOf("/");
    return { lane: name.slice(behindPrefix.length, at), database: name.slice(at + 1), mark: value };
  });
}

/** Forgets that a lane is behind, unless it let go of more since. Returns whether it did. */
export function caughtUp(state: State, { lane, database, mark }: Behind): boolean {
  return state.sql.dropNoteIf.run(`${behindPrefix}${lane}/${database}`, mark).changes === 1;
}

/**
 * Drops messages that came, and dead letters that died, longer ago than `retentionMs`, by the wall clock and by the time that
 * the queue has seen: a clock that was set forward makes nothing old. A replica's lane that lost something is behind. Returns
 * how many messages went that no replica has.
 */
export function expire(state: State, retentionMs: number, isReplicas: (lane: string) => boolean): number {
  const observedMs = Math.floor(state.observedMs());
  state.sql.setNote.run("observed", String(observedMs));
  const wallBeforeMs = state.now() - retentionMs;
  const seenBeforeMs = observedMs - retentionMs;
  let lost = 0;
  for (const lane of state.laneLoads.keys()) {
    const oldest = state.sql.oldest.all(lane, stepMax) as unknown as (Turn & {
      elsewhere: number;
      at: number;
    })[];
    const young = oldest.findIndex(({ at, since }) => at >= wallBeforeMs || since >= seenBeforeMs);
    const old = young === -1 ? oldest : oldest.slice(0, young);
    dropWaiting(state, old);
    if (isReplicas(lane)) noteBehind(state, old);
    lost += old.filter(({ elsewhere, body }) => elsewhere === 0 && !isWaiting(state, body)).length;
    const dead = state.sql.longestDead.all(lane, wallBeforeMs, stepMax) as unknown as Turn[];
    dropDead(
      state,
      dead.filter(({ since }) => since < seenBeforeMs),
    );
  }
  return lost;
}

/** Gives a dead letter another chance, from the beginning. */
export function revive(state: State, id: number): void {
  const letter = state.sql.dead.get(id) as unknown as Turn | undefined;
  if (letter === undefined) return;
  if (!isWaiting(state, letter.body)) state.bytes += letter.size;
  state.sql.revive.run(Math.floor(state.observedMs()), id);
  count(state, letter, 1, -1);
}

/** The same for some of a lane's, of one database or of all. Returns how many; 0: there are none. */
export function reviveSome(state: State, lane: string, database: string | undefined): number {
  const ids = state.sql.deadIn.all(lane, database ?? null, stepMax) as { id: number }[];
  for (const { id } of ids) revive(state, id);
  return ids.length;
}
