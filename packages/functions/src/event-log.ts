// The newest of what happened, in memory: of each database so much, and of all together so much. Pure; the clock is the caller's.

export const eventKinds = [
  ...(["generation", "parted", "snapshot", "compacted", "pruned", "repaired", "verified"] as const),
  ...(["alarm", "cleared", "replica-down", "replica-back", "dead-letter"] as const),
] as const;

export type EventKind = (typeof eventKinds)[number];

export interface Happening {
  readonly kind: EventKind;
  readonly database?: string | undefined;
  /** As the status names it. */
  readonly replica?: string | undefined;
  readonly message: string;
}

export interface LoggedEvent extends Happening {
  /** Ascending, also over restarts: at least the time, in ms. */
  readonly id: number;
  readonly atMs: number;
}

export interface EventLog {
  add(happening: Happening, atMs: number): LoggedEvent;
  /** Those after `id`, ascending. */
  since(id: number): readonly LoggedEvent[];
}

/** Enough for a bad night of one database; one that is loud does not push out what happened to the others. */
const ownMax = 200;

/** Some megabytes at most. */
const allMax = 5000;

/** Words of errors may be long. */
const messageLengthMax = 500;

export function createEventLog(): EventLog {
  const events: LoggedEvent[] = [];
  const counts = new Map<string, number>();
  let lastId = 0;
  const drop = (at: number): void => {
    const [gone] = events.splice(at, 1);
    const database = gone?.database ?? "";
    const left = (counts.get(database) ?? 1) - 1;
    if (left === 0) counts.delete(database);
    else counts.set(database, left);
  };
  return {
    add(happening, atMs) {
      const message = happening.message.slice(0, messageLengthMax);
      const id = Math.max(lastId + 1, Math.floor(atMs));
      lastId = id;
      const event = { ...happening, message, id, atMs };
      const database = happening.database ?? "";
      const count = (counts.get(database) ?? 0) + 1;
      counts.set(database, count);
      events.push(event);
      if (count > ownMax) drop(events.findIndex((one) => (one.database ?? "") === database));
      else if (events.length > allMax) drop(0);
      return event;
    },
    since(id) {
      const at = events.findLastIndex((event) => event.id <= id);
      return events.slice(at + 1);
    },
  };
}
