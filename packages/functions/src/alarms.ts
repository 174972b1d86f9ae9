// What somebody must look at: raised by name, once, until it is cleared. Hosts log them and show them in the status.

/** Something that does not mend itself, or has not for too long. */
export interface Alarm {
  /** What kind: a code of the error table, or `lag`, `silent`, `dead-letter`, `two-agents`, `queue-age`. */
  readonly code: string;
  readonly database?: string;
  readonly replica?: string;
  readonly message: string;
  readonly hint: string;
  readonly sinceMs: number;
}

export interface Alarms {
  /** Raises an alarm; one of the same code, database and replica keeps its time and takes the new words. */
  raise(alarm: Omit<Alarm, "sinceMs">): void;
  clear(alarm: Pick<Alarm, "code"> & Partial<Pick<Alarm, "database" | "replica">>): void;
  list(database?: string): Alarm[];
}

export interface AlarmsOptions {
  readonly now: () => number;
  readonly onRaised?: (alarm: Alarm) => void;
  readonly onCleared?: (alarm: Alarm) => void;
}

export function createAlarms(options: AlarmsOptions): Alarms {
  const raised = new Map<string, Alarm>();
  const keyOf = ({ code, database = "", replica = "" }: Partial<Alarm>) => `${code}\n${database}\n${replica}`;
  return {
    raise(alarm) {
      const key = keyOf(alarm);
      const before = raised.get(key);
      const now = { ...alarm, sinceMs: before?.sinceMs ?? options.now() };
      raised.set(key, now);
      if (before === undefined) options.onRaised?.(now);
    },
    clear(alarm) {
      const before = raised.get(keyOf(alarm));
      if (before === undefined) return;
      raised.delete(keyOf(alarm));
      options.onCleared?.(before);
    },
    list: (database) =>
      [...raised.values()].filter((alarm) => database === undefined || alarm.database === database),
  };
}
